/* anemo results compare and gate: one kept run held against another. */
#include "cli/results_compare.h"

#include "cli/arguments.h"
#include "cli/results.h"

#include "os/file.h"
#include "report/side_by_side.h"
#include "store/store.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct compare_args {
    const char *db, *out;
    an_opt_list metrics;
    double margin, noise;
    bool json, md, csv, each;
} compare_args;

static const an_option compare_options[] = {
    {.name = "metric", .kind = AN_OPT_LIST, .offset = offsetof(compare_args, metrics), .arg = "M,…",
     .help = "What to compare: names of docs/metrics.md, or all (default: one of each kind)"},
    {.name = "margin", .kind = AN_OPT_F64, .offset = offsetof(compare_args, margin), .min = 0, .max = 100, .arg = "P",
     .help = "Percent within which two values count as equivalent (1)"},
    {.name = "noise", .kind = AN_OPT_F64, .offset = offsetof(compare_args, noise), .min = 0, .max = 100, .arg = "P",
     .help = "Percent between two runs of the same thing (what an A/A run showed)"},
    {.name = "each", .kind = AN_OPT_FLAG, .offset = offsetof(compare_args, each),
     .help = "Every verdict by itself, without correction for their number"},
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(compare_args, json), .help = "Print JSON (anemo.side-by-side/1)"},
    {.name = "md", .kind = AN_OPT_FLAG, .offset = offsetof(compare_args, md), .help = "Print Markdown"},
    {.name = "csv", .kind = AN_OPT_FLAG, .offset = offsetof(compare_args, csv), .help = "Print CSV, a metric a line"},
    {.name = "output", .short_name = "o", .kind = AN_OPT_STR, .offset = offsetof(compare_args, out), .arg = "FILE",
     .help = "Write to FILE instead of stdout"},
    AN_ROW_DB(offsetof(compare_args, db)),
    AN_OPTION_END,
};

/* The fields that --metric names; *n 0: the usual ones. */
static anemo_status find_fields(const compare_args *a, an_field_id fields[AN_FIELD_N], size_t *n, anemo_error *err)
{
    bool wanted[AN_FIELD_N] = {false};
    *n = 0;
    for (size_t i = 0; i < a->metrics.n; i++) {
        an_field_id f;
        bool all = !strcmp(a->metrics.items[i], "all");
        for (int k = 0; all && k < AN_FIELD_N; k++) wanted[k] = true;
        if (all) continue;
        if (!an_field_find(a->metrics.items[i], &f))
            return an_fail(err, ANEMO_ERR_INVAL, "--metric: '%s' is no metric; docs/metrics.md lists them, decode_tps is one",
                           a->metrics.items[i]);
        wanted[f] = true;
    }
    for (int k = 0; k < AN_FIELD_N; k++)
        if (wanted[k]) fields[(*n)++] = (an_field_id)k;
    return ANEMO_OK;
}

static anemo_status get_two(const char *db, const an_positional *pos, an_run *a, an_run *b, anemo_error *err)
{
    anemo_status status;
    an_store *store = NULL;
    AN_TRY(an_store_open(&store, db, AN_STORE_READ, err));
    AN_TRY(an_store_get(store, pos->items[0], a, err));
    AN_TRY(an_store_get(store, pos->items[1], b, err));
cleanup:
    an_store_close(store);
    return status;
}

static anemo_status compare(const void *args, const an_positional *pos, anemo_error *err)
{
    const compare_args *a = args;
    anemo_status status;
    an_field_id fields[AN_FIELD_N];
    size_t n_field;
    an_run x, y;
    an_side_by_side s = {0};
    an_str text = {0};
    an_run_init(&x);
    an_run_init(&y);
    if (a->json + a->md + a->csv > 1) return an_fail(err, ANEMO_ERR_INVAL, "--json, --md and --csv exclude each other");
    if (pos->n != 2) return an_fail(err, ANEMO_ERR_INVAL, "needs two runs: anemo results compare A B");
    AN_TRY(find_fields(a, fields, &n_field, err));
    AN_TRY(get_two(a->db, pos, &x, &y, err));
    an_side_options o = {.fields = n_field ? fields : NULL,
                         .n_field = n_field,
                         .margin = a->margin / 100,
                         .noise = a->noise < 0 ? an_runs_noise(&x, &y) : log1p(a->noise / 100),
                         .each = a->each};
    AN_TRY(an_side_by_side_make(&s, &x, &y, &o, err));
    AN_TRY(an_side_by_side_write(&s, a->json ? AN_REPORT_JSON : a->md ? AN_REPORT_MD : a->csv ? AN_REPORT_CSV : AN_REPORT_TEXT, &text,
                                 err));
    if (a->out) AN_TRY(an_file_write(a->out, an_str_text(&text), text.len, err));
    else AN_TRY(an_results_print(&text, err));
cleanup:
    an_side_by_side_free(&s);
    an_str_free(&text);
    an_run_free(&x);
    an_run_free(&y);
    return status;
}

static int run_compare(int argc, char **argv)
{
    compare_args args = {.margin = 1, .noise = -1};
    return an_results_run(&an_cmd_results_compare, argc, argv, &args, compare);
}

const an_command an_cmd_results_compare = {
    .name = "results compare",
    .args = "A B",
    .summary = "Hold run B against run A, cell by cell",
    .details = "Cells belong together when engine, model, settings and work are the same. Where only the settings or the weights differ\n"
               "the cells are compared all the same and marked. Repetitions of two runs are not paired: what changed on the machine\n"
               "between them is in the figures, so unlike machines are listed and an A/A run's noise widens every interval.",
    .options = compare_options,
    .args_bytes = sizeof(compare_args),
    .run = run_compare,
};

/* ---- gate */

typedef struct gate_args {
    const char *db;
    an_gate_args gate;
} gate_args;

static const an_option gate_options[] = {
    AN_ROWS_GATE(offsetof(gate_args, gate)),
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(gate_args, gate.json), .help = "Print JSON (anemo.gate/1)"},
    AN_ROW_DB(offsetof(gate_args, db)),
    AN_OPTION_END,
};

static anemo_status gate(const gate_args *a, const an_positional *pos, int *exit_code, anemo_error *err)
{
    anemo_status status;
    an_cli_gate g = {0};
    an_store *store = NULL;
    an_str text = {0};
    an_run run;
    bool failed;
    an_run_init(&run);
    if (pos->n != 1 || !a->gate.baseline) {
        status = an_fail(err, ANEMO_ERR_INVAL, "needs a run and a baseline: anemo results gate RUN --baseline TAG --fail-on decode_tps:-3%%");
        goto cleanup;
    }
    AN_TRY(an_cli_gate_open(&g, &a->gate, a->db, err));
    AN_TRY(an_store_open(&store, a->db, AN_STORE_READ, err));
    AN_TRY(an_store_get(store, pos->items[0], &run, err));
    AN_TRY(an_cli_gate_close(&g, &a->gate, &run, &text, &failed, err));
    AN_TRY(an_results_print(&text, err));
    *exit_code = failed ? AN_EXIT_GATE : an_run_exit_code(&run);
    if (*exit_code == 1) fprintf(stderr, "anemo results gate: the limits hold, but not every cell of the run came out\n");
cleanup:
    an_store_close(store);
    an_cli_gate_free(&g);
    an_str_free(&text);
    an_run_free(&run);
    return status;
}

static int run_gate(int argc, char **argv)
{
    anemo_error err = {0};
    an_positional pos;
    bool help;
    int exit_code = 0;
    gate_args a = {.gate = AN_GATE_ARGS_DEFAULT};
    if (an_options_parse(&an_cmd_results_gate, argc, argv, &a, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("results gate", &err);
    if (!help && gate(&a, &pos, &exit_code, &err) != ANEMO_OK) exit_code = an_cli_fail("results gate", &err);
    an_options_free(&an_cmd_results_gate, &a, &pos);
    return exit_code;
}

const an_command an_cmd_results_gate = {
    .name = "results gate",
    .args = "RUN",
    .summary = "Fail (exit 7) when a run is beyond limits against a baseline",
    .details = "A limit is METRIC:CHANGE: decode_tps:-3% allows a fall of 3 %, rss_peak_bytes:+50MB a rise of 50 MB, ± both ways; without\n"
               "a sign the direction counts that is worse. It fails only when the interval of the change lies beyond the limit. The exit\n"
               "status is 7 then, 1 when the limits hold but a cell of the run failed. docs/gates.md has the method and an example.",
    .options = gate_options,
    .args_bytes = sizeof(gate_args),
    .run = run_gate,
};
