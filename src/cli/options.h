/*
 * The command line: each verb has one table of options and a struct that they fill. The tables generate --help;
 * an unknown option, a missing value or a number out of range is a usage error (exit 2) that names it.
 */
#ifndef AN_CLI_OPTIONS_H
#define AN_CLI_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_opt_kind {
    AN_OPT_FLAG, /* bool */
    AN_OPT_STR,  /* const char *, borrowed from argv */
    AN_OPT_MAYBE, /* the same, "" without a value: one must stand in the same word (--name=value) */
    AN_OPT_I64,  /* int64_t within [min, max] */
    AN_OPT_F64,  /* double within [min, max] */
    AN_OPT_LIST, /* an_opt_list: repeated and comma-separated, borrowed copy */
    AN_OPT_EACH, /* an_opt_list: repeated, each value as it is */
} an_opt_kind;

typedef struct an_opt_list {
    char **items; /* NULL-terminated when n > 0 */
    size_t n;
} an_opt_list;

typedef struct an_option {
    const char *name;   /* long name without dashes: "threads"; NULL when there is only a short one */
    const char *short_name; /* "t", "ngl" (one dash), or NULL */
    an_opt_kind kind;
    size_t offset;      /* of the field in the verb's struct */
    double min, max;    /* for numbers; exact up to 2^53 */
    const char *arg;    /* name of the value in the help: "N" */
    const char *help;   /* one line */
} an_option;

#define AN_OPTION_END {0}

typedef struct an_command {
    const char *name;
    const char *args;    /* "MODEL [TEXT]" */
    const char *summary; /* one line for the list of verbs */
    const char *details; /* paragraphs under the options, or NULL */
    const an_option *options;
    size_t args_bytes;   /* size of the struct that the options fill */
    int (*run)(int argc, char **argv); /* returns the exit status; argv[0] is the verb */
    bool hidden;
} an_command;

typedef struct an_positional {
    char **items; /* borrowed from argv, NULL-terminated */
    size_t n;
} an_positional;

/*
 * Parse argv[1..] by cmd->options into `out` (already holding the defaults). "--" ends options. Options and
 * positionals may mix; "-" alone is a positional; --name=value and --name value are the same; "-h" and "--help"
 * print the help to stdout and set *help.
 * Gives lists inside out and pos->items: free with an_options_free. ERR_INVAL for a usage error.
 */
ANEMO_MUST_CHECK anemo_status an_options_parse(const an_command *cmd, int argc, char **argv, void *out,
                                               an_positional *pos, bool *help, anemo_error *err);
void an_options_free(const an_command *cmd, void *out, an_positional *pos);

void an_options_print_help(const an_command *cmd);

/* Print "anemo VERB: message" to stderr and return the exit status of err->status. */
int an_cli_fail(const char *verb, const anemo_error *err);

#endif
