/* What the verbs that hold one run against another share. */
#ifndef AN_CLI_RESULTS_COMPARE_H
#define AN_CLI_RESULTS_COMPARE_H

#include "cli/options.h"
#include "report/gate.h"

enum { AN_EXIT_GATE = 7 }; /* docs/exit-codes.md */

/* The options of a gate; --noise is a percentage, below 0 where it was not given. */
typedef struct an_gate_args {
    const char *baseline, *undecided, *junit, *gate_json;
    an_opt_list fail_on;
    double noise;
    bool unlike;
    bool json; /* what is appended to the text is JSON; no row sets it */
} an_gate_args;

/* Rows for an option table; `at` is the offset of an an_gate_args in the verb's struct. */
#define AN_ROWS_GATE(at)                                                                                                          \
    {.name = "baseline", .kind = AN_OPT_STR, .offset = (at) + offsetof(an_gate_args, baseline), .arg = "RUN",                    \
     .help = "A run that is kept: its id, the beginning of one, or a tag"},                                                      \
        {.name = "fail-on", .kind = AN_OPT_EACH, .offset = (at) + offsetof(an_gate_args, fail_on), .arg = "METRIC:CHANGE",       \
         .help = "Exit 7 when it changed by more: decode_tps:-3%, rss_peak_bytes:+50MB; may be repeated"},                       \
        {.name = "undecided", .kind = AN_OPT_STR, .offset = (at) + offsetof(an_gate_args, undecided), .arg = "WHAT",             \
         .help = "When the repetitions cannot tell: pass (default) or fail"},                                                    \
        {.name = "noise", .kind = AN_OPT_F64, .offset = (at) + offsetof(an_gate_args, noise), .min = 0, .max = 100, .arg = "P",  \
         .help = "Percent between two runs of the same thing (what an A/A run showed)"},                                         \
        {.name = "unlike", .kind = AN_OPT_FLAG, .offset = (at) + offsetof(an_gate_args, unlike),                                 \
         .help = "Hold cells against each other whose settings or weights differ, too"},                                         \
        {.name = "junit", .kind = AN_OPT_STR, .offset = (at) + offsetof(an_gate_args, junit), .arg = "FILE",                     \
         .help = "Write cells and limits as JUnit XML there"},                                                                   \
        {.name = "gate-json", .kind = AN_OPT_STR, .offset = (at) + offsetof(an_gate_args, gate_json), .arg = "FILE",             \
         .help = "Write what the gate found as JSON (anemo.gate/1) there"}

/* What the rows need before the options are parsed. */
#define AN_GATE_ARGS_DEFAULT {.undecided = "pass", .noise = -1}

/* The parsed rules and the baseline. Zero-initialise; an_cli_gate_free. */
typedef struct an_cli_gate {
    an_run base;
    bool has_base;
    an_gate_rule *rules;
} an_cli_gate;

/*
 * Everything that can be wrong is found here, before anything is measured: rules, the baseline in the database `db`, options that
 * belong together. Does nothing without --baseline, --fail-on and --junit.
 */
ANEMO_MUST_CHECK anemo_status an_cli_gate_open(an_cli_gate *g, const an_gate_args *a, const char *db, anemo_error *err);

/*
 * Hold the run against the baseline: writes --junit and --gate-json, appends the findings to *text, sets *failed. Without a baseline
 * only --junit is written.
 */
ANEMO_MUST_CHECK anemo_status an_cli_gate_close(const an_cli_gate *g, const an_gate_args *a, const an_run *run, an_str *text,
                                                bool *failed, anemo_error *err);
void an_cli_gate_free(an_cli_gate *g);

#endif
