/* The entry point: find the verb and run it. */
#include "cli/commands.h"

#include "base/json.h"
#include "os/map_watch.h"
#include "os/process.h"

#include <stdio.h>
#include <string.h>

/* In the order that the help prints. */
static const an_command *const commands[] = {
    &an_cmd_run,
    &an_cmd_compare,
    &an_cmd_report,
    &an_cmd_bench,
    &an_cmd_results,
    &an_cmd_repeat,
    &an_cmd_sweep,
    &an_cmd_tokenize,
    &an_cmd_show,
    &an_cmd_pull,
    &an_cmd_ls,
    &an_cmd_rm,
    &an_cmd_convert,
    &an_cmd_quantize,
    &an_cmd_synth,
    &an_cmd_logits,
    &an_cmd_doctor,
    &an_cmd_worker,
    NULL,
};

static void print_usage(FILE *to)
{
    fprintf(to, "Usage: anemo VERB [options]\n\n"
                "Which quantized Mistral runs best on this machine, in which format, on which engine?\n\n"
                "Verbs:\n");
    for (size_t i = 0; commands[i]; i++)
        if (!commands[i]->hidden) fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "  %-10s %s\n", "version", "Print the version");
    fprintf(to, "\n'anemo VERB --help' explains a verb.\n");
}

int main(int argc, char **argv)
{
    an_maps_watch();
    an_file_limit_is_error();
    an_json_watch_memory();
    if (argc < 2) {
        print_usage(stderr);
        return anemo_status_exit_code(ANEMO_ERR_INVAL);
    }
    const char *verb = argv[1];
    if (!strcmp(verb, "version") || !strcmp(verb, "--version") || !strcmp(verb, "-V")) {
        printf("anemo %s\n", ANEMO_VERSION);
        return 0;
    }
    if (!strcmp(verb, "help") || !strcmp(verb, "--help") || !strcmp(verb, "-h")) {
        print_usage(stdout);
        return 0;
    }
    for (size_t i = 0; commands[i]; i++)
        if (!strcmp(verb, commands[i]->name)) return commands[i]->run(argc - 1, argv + 1);
    fprintf(stderr, "anemo: unknown verb '%s'; 'anemo --help' lists them\n", verb);
    return anemo_status_exit_code(ANEMO_ERR_INVAL);
}
