/* record: a run goes through its JSON and comes back the same; what is not a run is refused. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/json.h"
#include "record/run.h"

#include <math.h>

/* A run with two cells, every kind of repetition, and text in each place that may hold some. */
static void make(an_run *run)
{
    anemo_error err;
    an_run_init(run);
    an_run_new_id(1764092701000000000u, 0x13f9a, run->id);
    snprintf(run->kind, sizeof run->kind, "compare");
    run->command = an_strdup("anemo compare 'a b'");
    run->note = an_strdup("a note");
    run->tags = json_pack("[s]", "base");
    run->workload = json_pack("{s:s}", "prompt", "Who?");
    snprintf(run->environment.cpu, sizeof run->environment.cpu, "a CPU");
    run->environment.more = json_pack("{s:s}", "thp", "madvise");
    run->environment.peak_bandwidth_bps = 2e10;
    run->n_block = 2;
    run->n_look = 1;
    snprintf(run->stop_reason, sizeof run->stop_reason, "blocks");
    an_run_model *m = an_run_add_model(run);
    m->name = an_strdup("x.gguf");
    m->weight_bytes = 1u << 30;
    for (int i = 0; i < 2; i++) {
        an_cell *cell = an_run_add_cell(run);
        snprintf(cell->engine, sizeof cell->engine, "%s", i ? "llama.cpp" : "native");
        snprintf(cell->label, sizeof cell->label, "%s", cell->engine);
        cell->model = 0;
        cell->work = (an_work){.kind = AN_WORK_GENERATE, .n_prompt = 3, .n_gen = 2};
        cell->settings = json_pack("{s:i}", "threads", 2);
        cell->missing = json_pack("{s:s}", "energy_j", "no counter");
        assert_ok(an_cell_make_key(run, cell, &err), &err);
        for (int r = 0; r < AN_REP_KIND_N; r++) {
            an_rep rep;
            an_rep_init(&rep);
            rep.kind = (an_rep_kind)r;
            rep.block = r == AN_REP_TIMED ? 0 : -1;
            rep.order = 4 * i + r;
            rep.n_token = 2;
            rep.token_ids = an_calloc(2, sizeof *rep.token_ids);
            rep.token_times_s = an_calloc(2, sizeof *rep.token_times_s);
            rep.token_ids[1] = -1;
            rep.token_times_s[0] = 0.5;
            rep.token_times_s[1] = 0.75 + 0.01 * i;
            rep.values[AN_FIELD_ID_n_prompt] = 3;
            rep.text = an_strdup("ok");
            rep.text_bytes = rep.text_bytes_before_eos = 2;
            if (r == AN_REP_OBSERVED) {
                rep.curve = an_calloc(1, sizeof *rep.curve);
                rep.n_curve = 1;
                rep.curve[0] = (an_curve_point){0.1, 1e6, 2e6, 99, NAN};
            }
            an_rep_derive(&rep, 2);
            assert_ok(an_cell_add_rep(cell, &rep, &err), &err);
        }
    }
    run->cells[1].copy_of = 0;
    run->refused = an_strdup("they differ");
    snprintf(run->aa_from, sizeof run->aa_from, "20251124-081500-0b1c");
    run->agreements = an_calloc(1, sizeof *run->agreements);
    run->n_agreement = 1;
    run->agreements[0] = (an_agreement){.a = 0, .b = 1, .n_same = 1, .n = 2, .examined = true, .near_tie = true,
                                        .logit_gap = 0.25, .prob_margin = 0.125, .examined_by = 1};
}

static void a_run_survives_its_json(void **state)
{
    (void)state;
    anemo_error err;
    an_run run, back;
    make(&run);
    json_t *doc = an_run_json(&run);
    assert_ok(an_run_from_json(&back, doc, "test", &err), &err);
    json_t *again = an_run_json(&back);
    assert_true(json_equal(doc, again));
    assert_string_equal(back.id, "20251125-174501-3f9a");
    assert_int_equal(an_cell_n_timed(&back.cells[1]), 1);
    assert_int_equal(back.cells[1].copy_of, 0);
    assert_string_equal(back.refused, "they differ");
    assert_string_equal(back.aa_from, "20251124-081500-0b1c");
    assert_true(fabs(an_cell_paired(&back, 0, 1, AN_FIELD_ID_total_s, false).ratio - 0.75 / 0.76) < 1e-12);
    assert_string_equal(back.cells[0].key, run.cells[0].key);
    assert_string_not_equal(back.cells[0].key, back.cells[1].key);
    json_decref(doc);
    json_decref(again);
    an_run_free(&run);
    an_run_free(&back);
}

static void wrong_documents_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]", "{}", "{\"schema\":\"anemo.run/2\"}", "{\"schema\":\"anemo.run/1\"}",
        "{\"schema\":\"anemo.run/1\",\"environment\":{},\"cells\":{}}",
        "{\"schema\":\"anemo.run/1\",\"environment\":{},\"cells\":[{\"model_index\":0}]}",
        "{\"schema\":\"anemo.run/1\",\"environment\":{},\"cells\":[{\"status\":\"fine\"}]}",
        "{\"schema\":\"anemo.run/1\",\"environment\":{},\"cells\":[{\"reps\":[{\"token_ids\":[1]}]}]}",
        "{\"schema\":\"anemo.run/1\",\"environment\":{},\"agreements\":[{\"a\":0,\"b\":0}]}",
        "{\"schema\":\"anemo.run/1\",\"environment\":{},\"tags\":[1]}",
        "{\"schema\":\"anemo.run/1\",\"environment\":{},\"cells\":[{\"copy_of\":0}]}",
    };
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        anemo_error err = {0};
        an_run run;
        json_t *doc;
        assert_ok(an_json_parse(&doc, bad[i], strlen(bad[i]), "test", &err), &err);
        if (an_run_from_json(&run, doc, "some.json", &err) != ANEMO_ERR_FORMAT) fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(err.message, "some.json"));
        json_decref(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_survives_its_json),
        cmocka_unit_test(wrong_documents_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
