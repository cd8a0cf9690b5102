/* anemo results: what was measured and kept. This file finds the subverb. */
#include "cli/commands.h"
#include "cli/results.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* In the order that the help prints. */
static const an_command *const subverbs[] = {
    &an_cmd_results_list,
    &an_cmd_results_show,
    &an_cmd_results_compare,
    &an_cmd_results_gate,
    &an_cmd_results_tag,
    &an_cmd_results_note,
    &an_cmd_results_export,
    &an_cmd_results_import,
    &an_cmd_results_merge,
    &an_cmd_results_pack,
    &an_cmd_results_rm,
    &an_cmd_results_check,
    NULL,
};

static void print_usage(FILE *to)
{
    fprintf(to, "Usage: anemo results SUBVERB [options]\n\n%s\n\nSubverbs:\n", an_cmd_results.summary);
    for (size_t i = 0; subverbs[i]; i++) {
        const char *name = strchr(subverbs[i]->name, ' ') + 1;
        char left[40];
        int width = 14;
        snprintf(left, sizeof left, "%s %s", name, subverbs[i]->args);
        /* printf counts bytes; "…" has three. */
        for (const char *c = left; *c; c++) width += (*c & 0xc0) == 0x80;
        fprintf(to, "  %-*s %s\n", width, left, subverbs[i]->summary);
    }
    fprintf(to, "\n%s\n\n'anemo results SUBVERB --help' explains one.\n", an_cmd_results.details);
}

anemo_status an_results_print(const an_str *text, anemo_error *err)
{
    anemo_status status = an_str_check(text, err);
    if (status == ANEMO_OK && (fwrite(an_str_text(text), 1, text->len, stdout) != text->len || fflush(stdout) != 0))
        status = an_fail(err, ANEMO_ERR_IO, "stdout cannot be written: %s", strerror(errno));
    return status;
}

int an_results_run(const an_command *cmd, int argc, char **argv, void *args, an_results_work work)
{
    anemo_error err = {0};
    an_positional pos;
    bool help;
    if (an_options_parse(cmd, argc, argv, args, &pos, &help, &err) != ANEMO_OK) return an_cli_fail(cmd->name, &err);
    anemo_status status = help ? ANEMO_OK : work(args, &pos, &err);
    an_options_free(cmd, args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail(cmd->name, &err);
}

static int run(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        print_usage(stdout);
        return 0;
    }
    for (size_t i = 0; subverbs[i]; i++)
        if (strcmp(word, strchr(subverbs[i]->name, ' ') + 1) == 0) return subverbs[i]->run(argc - 1, argv + 1);
    anemo_error err;
    if (!word[0]) print_usage(stderr);
    else an_fail(&err, ANEMO_ERR_INVAL, "unknown subverb '%s'; 'anemo results --help' lists them", word);
    return word[0] ? an_cli_fail("results", &err) : anemo_status_exit_code(ANEMO_ERR_INVAL);
}

const an_command an_cmd_results = {
    .name = "results",
    .args = "SUBVERB",
    .summary = "List, show, name, carry and check what was measured",
    .details = "RUN is a run's id, the beginning of one, a tag, 'last' for the newest or 'last~1' for the one before.",
    .run = run,
};
