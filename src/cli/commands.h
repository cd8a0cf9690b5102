/* The verbs. Each cmd_*.c defines one; main.c lists them. */
#ifndef AN_CLI_COMMANDS_H
#define AN_CLI_COMMANDS_H

#include "cli/options.h"

extern const an_command an_cmd_bench;
extern const an_command an_cmd_compare;
extern const an_command an_cmd_convert;
extern const an_command an_cmd_doctor;
extern const an_command an_cmd_logits;
extern const an_command an_cmd_ls;
extern const an_command an_cmd_pull;
extern const an_command an_cmd_repeat;
extern const an_command an_cmd_report;
extern const an_command an_cmd_results;
extern const an_command an_cmd_rm;
extern const an_command an_cmd_quantize;
extern const an_command an_cmd_run;
extern const an_command an_cmd_show;
extern const an_command an_cmd_sweep;
extern const an_command an_cmd_synth;
extern const an_command an_cmd_tokenize;
extern const an_command an_cmd_worker;

#endif
