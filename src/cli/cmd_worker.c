/* anemo worker: the process that hosts a driver, and the conformance test of other people's
 * drivers. */
#include "cli/commands.h"

#include "base/str.h"
#include "drivers/driver.h"
#include "drivers/http/http_driver.h"
#include "drivers/native.h"

#include <stdio.h>
#include <string.h>

typedef struct worker_args {
    const char *url, *model;
    bool check;
} worker_args;

static const an_option options[] = {
    {.name = "url",
     .kind = AN_OPT_STR,
     .offset = offsetof(worker_args, url),
     .arg = "URL",
     .help = "Address of the server, for http"},
    {.name = "check",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(worker_args, check),
     .help = "Test the driver that the command starts against the protocol"},
    {.name = "model",
     .kind = AN_OPT_STR,
     .offset = offsetof(worker_args, model),
     .arg = "MODEL",
     .help = "The model that --check loads"},
    AN_OPTION_END,
};

static int check(const an_positional *pos, const char *model)
{
    anemo_error err;
    an_str report = {0};
    int n_failed = an_protocol_check((const char *const *)pos->items, model, &report);
    bool whole = an_str_check(&report, &err) == ANEMO_OK;
    if (whole) fputs(report.data, stdout);
    an_str_free(&report);
    if (!whole) return an_cli_fail("worker", &err);
    return n_failed == 0 ? 0 : 1;
}

static int run(int argc, char **argv);

const an_command an_cmd_worker = {
    .name = "worker",
    .args = "native|http|--check COMMAND…",
    .summary = "Host one engine behind the driver protocol, or test a driver",
    .details = "Workers are started by the other verbs. The protocol is described in "
               "docs/driver-protocol.md.\n"
               "With --check, words of the command that begin with a dash go after \"--\":\n"
               "  anemo worker --check --model M -- python3 -u my_driver.py",
    .options = options,
    .args_bytes = sizeof(worker_args),
    .run = run,
    .hidden = true,
};

static int run(int argc, char **argv)
{
    worker_args args = {0};
    an_positional pos;
    bool help;
    anemo_error err = {0};
    int rc = 0;
    if (an_options_parse(&an_cmd_worker, argc, argv, &args, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("worker", &err);
    if (help) goto cleanup;
    const char *what = pos.n > 0 ? pos.items[0] : "";
    if (args.check && pos.n > 0) {
        rc = check(&pos, args.model);
    } else if (!strcmp(what, "native") && pos.n == 1) {
        rc = an_native_driver_main();
    } else if (!strcmp(what, "http") && pos.n == 1 && args.url) {
        rc = an_http_driver_main(args.url);
    } else {
        an_fail(&err, ANEMO_ERR_INVAL,
                "expected 'native', 'http --url URL' or '--check COMMAND'; 'anemo worker --help' "
                "explains");
        rc = an_cli_fail("worker", &err);
    }
cleanup:
    an_options_free(&an_cmd_worker, &args, &pos);
    return rc;
}
