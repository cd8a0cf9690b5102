/* Gates on the command line, for the verbs that have one: compare and results gate. */
#include "cli/arguments.h"
#include "cli/results_compare.h"

#include "base/alloc.h"
#include "os/file.h"
#include "report/junit.h"
#include "store/store.h"

#include <math.h>
#include <string.h>

static anemo_status parse_rules(an_cli_gate *g, const an_gate_args *a, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    g->rules = an_calloc(a->fail_on.n + 1, sizeof *g->rules);
    if (!g->rules) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < a->fail_on.n; i++) {
        status = an_gate_rule_parse(&g->rules[i], a->fail_on.items[i], err);
        if (status != ANEMO_OK) return an_fail_prefix(err, status, "--fail-on");
    }
    return status;
}

anemo_status an_cli_gate_open(an_cli_gate *g, const an_gate_args *a, const char *db, anemo_error *err)
{
    static const char *const words[] = {"pass", "fail", NULL};
    anemo_status status;
    an_store *store = NULL;
    AN_TRY(an_cli_one_of("--undecided", a->undecided, words, err));
    AN_TRY(parse_rules(g, a, err));
    if (!a->baseline != (a->fail_on.n == 0)) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s", a->baseline ? "--baseline needs a limit: --fail-on decode_tps:-3%"
                                                                 : "--fail-on needs a run to compare with: --baseline RUN");
        goto cleanup;
    }
    if (a->gate_json && !a->baseline) {
        status = an_fail(err, ANEMO_ERR_INVAL, "--gate-json needs --baseline RUN and --fail-on");
        goto cleanup;
    }
    if (!a->baseline) goto cleanup;
    AN_TRY(an_store_open(&store, db, AN_STORE_READ, err));
    AN_TRY(an_store_get(store, a->baseline, &g->base, err));
    g->has_base = true;
cleanup:
    an_store_close(store);
    return status;
}

static anemo_status append_json(const an_gate *gate, an_str *text, anemo_error *err)
{
    anemo_status status;
    AN_TRY(an_json_write(an_gate_json(gate), JSON_INDENT(1) | JSON_REAL_PRECISION(12), text, err));
    an_str_append_char(text, '\n');
    status = an_str_check(text, err);
cleanup:
    return status;
}

static anemo_status write_json(const an_gate *gate, const char *path, anemo_error *err)
{
    anemo_status status;
    an_str text = {0};
    AN_TRY(append_json(gate, &text, err));
    AN_TRY(an_file_write(path, text.data, text.len, err));
cleanup:
    an_str_free(&text);
    return status;
}

static anemo_status write_junit(const an_run *run, const an_gate *gate, const char *path, anemo_error *err)
{
    anemo_status status;
    an_str text = {0};
    AN_TRY(an_junit_write(run, gate, &text, err));
    AN_TRY(an_file_write(path, text.data, text.len, err));
cleanup:
    an_str_free(&text);
    return status;
}

anemo_status an_cli_gate_close(const an_cli_gate *g, const an_gate_args *a, const an_run *run, an_str *text, bool *failed,
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_gate gate = {0};
    bool made = false;
    *failed = false;
    if (g->has_base) {
        an_gate_options o = {.noise = a->noise < 0 ? an_runs_noise(&g->base, run) : log1p(a->noise / 100),
                             .unlike = a->unlike,
                             .undecided_fails = !strcmp(a->undecided, "fail")};
        status = an_gate_make(&gate, &g->base, run, g->rules, a->fail_on.n, &o, err);
        made = status == ANEMO_OK;
        /* A run of which nothing came out fails by itself: that is the message, and JUnit shows which cells. */
        if (status == ANEMO_ERR_INVAL && an_run_exit_code(run) != 0) {
            an_str_append(text, "Gate: nothing of the run came out that could be held against the baseline\n");
            status = an_str_check(text, err);
        }
        if (status != ANEMO_OK) goto cleanup;
    }
    if (made) {
        *failed = an_gate_failed(&gate);
        if (a->json) AN_TRY(append_json(&gate, text, err));
        else an_gate_text(&gate, text);
        AN_TRY(an_str_check(text, err));
        if (a->gate_json) AN_TRY(write_json(&gate, a->gate_json, err));
    }
    if (a->junit) AN_TRY(write_junit(run, made ? &gate : NULL, a->junit, err));
cleanup:
    an_gate_free(&gate);
    return status;
}

void an_cli_gate_free(an_cli_gate *g)
{
    if (g->has_base) an_run_free(&g->base);
    an_free(g->rules);
    *g = (an_cli_gate){0};
}
