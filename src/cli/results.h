/* The subverbs of `anemo results`: results_*.c define them, cmd_results.c lists them. */
#ifndef AN_CLI_RESULTS_H
#define AN_CLI_RESULTS_H

#include "base/error.h"
#include "base/str.h"
#include "cli/options.h"

extern const an_command an_cmd_results_list;
extern const an_command an_cmd_results_show;
extern const an_command an_cmd_results_tag;
extern const an_command an_cmd_results_note;
extern const an_command an_cmd_results_export;
extern const an_command an_cmd_results_import;
extern const an_command an_cmd_results_merge;
extern const an_command an_cmd_results_rm;
extern const an_command an_cmd_results_check;
extern const an_command an_cmd_results_compare;
extern const an_command an_cmd_results_gate;
extern const an_command an_cmd_results_pack;

/*
 * What every subverb does around its work: parse the options into args (cmd->args_bytes, zeroed), call `work` unless help was
 * asked for, print the error. Returns the exit code.
 */
typedef anemo_status (*an_results_work)(const void *args, const an_positional *pos, anemo_error *err);
int an_results_run(const an_command *cmd, int argc, char **argv, void *args, an_results_work work);

/* Print text to stdout and flush it. ERR_IO. */
ANEMO_MUST_CHECK anemo_status an_results_print(const an_str *text, anemo_error *err);

#endif
