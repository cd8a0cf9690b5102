/* Made-up runs. */
#include "store/made_run.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(anemo_status status)
{
    if (status != ANEMO_OK) abort();
}

void made_rep(an_run *run, int cell, int64_t *order, uint64_t seed)
{
    an_rep rep;
    an_rng rng;
    an_rng_seed(&rng, seed + (uint64_t)*order * 1000003);
    an_rep_init(&rep);
    rep.kind = AN_REP_TIMED;
    rep.block = (int)(*order % 7);
    rep.order = (*order)++;
    rep.start_s = (double)rep.order * 0.5;
    snprintf(rep.page_cache, sizeof rep.page_cache, "warm");
    snprintf(rep.stop_reason, sizeof rep.stop_reason, "length");
    rep.n_token = 4;
    rep.token_ids = an_calloc(4, sizeof *rep.token_ids);
    rep.token_times_s = an_calloc(4, sizeof *rep.token_times_s);
    rep.text = an_strdup("a b\xff c");
    rep.text_bytes = 6;
    rep.text_bytes_before_eos = 3;
    rep.n_curve = 2;
    rep.curve = an_calloc(2, sizeof *rep.curve);
    if (!rep.token_ids || !rep.token_times_s || !rep.text || !rep.curve) abort();
    for (int i = 0; i < 4; i++) {
        rep.token_ids[i] = i == 2 ? -1 : (int32_t)(an_rng_u64(&rng) % 32000);
        rep.token_times_s[i] = 0.1 * (i + 1);
    }
    for (int i = 0; i < 2; i++)
        rep.curve[i] = (an_curve_point){.t_s = i, .rss_anon_bytes = 1e8, .rss_file_bytes = NAN, .cpu_percent = 99.5, .cpu_hz = 2e9};
    /* Every third metric is not known. */
    for (int f = 0; f < AN_FIELD_N; f++) {
        double v = (double)(an_rng_u64(&rng) % 1000000);
        if (f % 3 != 2) rep.values[f] = an_field_get((an_field_id)f)->kind == AN_FIELD_COUNT ? v : v / 1024;
    }
    must(an_cell_add_rep(&run->cells[cell], &rep, NULL));
}

void made_run(an_run *run, const char *id, int n_cell, int n_rep, uint64_t seed)
{
    int64_t order = 0;
    an_run_init(run);
    snprintf(run->id, sizeof run->id, "%s", id);
    snprintf(run->kind, sizeof run->kind, "compare");
    snprintf(run->stop_reason, sizeof run->stop_reason, "precise");
    run->command = an_strdup("anemo compare 'a model.gguf'");
    run->note = an_strdup("a note");
    run->workload = json_pack("{s:s, s:i}", "prompt", "Hello", "n_gen", 4);
    run->extra = json_pack("{s:[i,i]}", "more", 1, 2);
    run->n_block = 6;
    run->n_look = 1;
    run->aa_noise = 0.015625;
    snprintf(run->environment.date, sizeof run->environment.date, "2026-11-25T17:45:01Z");
    snprintf(run->environment.host, sizeof run->environment.host, "host-a");
    run->environment.cpus_online = 2;
    run->environment.more = json_pack("{s:s}", "virtualization", "kvm");
    if (!run->command || !run->note || !run->workload || !run->extra || !run->environment.more) abort();
    for (int i = 0; i < 2; i++) {
        an_run_model *m = an_run_add_model(run);
        if (!m) abort();
        m->name = an_strdup(i ? "Model-B" : "Model-A");
        m->path = an_strdup(i ? "b" : "a.gguf");
        m->read_by = an_strdup("native, llama.cpp");
        snprintf(m->container, sizeof m->container, i ? "mlx" : "gguf");
        snprintf(m->sha256, sizeof m->sha256, "%064d", i + 1);
        m->bytes = 98362432;
        m->flop_per_token = 2.5e8;
    }
    for (int c = 0; c < n_cell; c++) {
        an_cell *cell = an_run_add_cell(run);
        if (!cell) abort();
        snprintf(cell->engine, sizeof cell->engine, c % 2 ? "llama.cpp" : "native");
        snprintf(cell->label, sizeof cell->label, "cell %d", c);
        cell->model = c % 3 - 1;
        cell->work = (an_work){AN_WORK_GENERATE, 16, 4, c / 2};
        cell->settings = json_pack("{s:i}", "threads", c / 2 + 1);
        cell->status = AN_CELL_OK;
        if (!cell->settings) abort();
        must(an_cell_make_key(run, cell, NULL));
    }
    for (int r = 0; r < n_rep; r++)
        for (int c = 0; c < n_cell; c++) made_rep(run, c, &order, seed);
    if (n_cell < 2) return;
    run->agreements = an_calloc(1, sizeof *run->agreements);
    if (!run->agreements) abort();
    run->n_agreement = 1;
    run->agreements[0] = (an_agreement){.a = 0, .b = 1, .n_same = 3, .n = 4, .examined = true, .near_tie = true,
                                        .logit_gap = 0.25, .prob_margin = 0.03125, .examined_by = 1, .text_same = 5};
}
