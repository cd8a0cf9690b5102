/* Made-up runs. Figures come from a small generator of its own, so that they are the same everywhere. */
#include "unit/report/scene.h"

#include "base/alloc.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t state;

/* Uniform in 0..1 (splitmix64). */
static double uniform(void)
{
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* Nearly normal, mean 0, standard deviation 1. */
static double noise(void)
{
    double sum = 0;
    for (int i = 0; i < 12; i++) sum += uniform();
    return sum - 6;
}

scene_kind scene_find(const char *name)
{
    static const char *const names[SCENE_N] = {"compare", "aa", "bench", "sweep", "hostile", "ordered", "empty"};
    int k = 0;
    while (k < SCENE_N && strcmp(names[k], name) != 0) k++;
    return (scene_kind)k;
}

static char *copy(const char *text)
{
    char *out = an_strdup(text);
    AN_ASSERT(out);
    return out;
}

static void begin(an_run *run, const char *kind)
{
    an_environment *e = &run->environment;
    state = 7;
    an_run_init(run);
    snprintf(run->id, sizeof run->id, "20261125-174501-3f9a");
    snprintf(run->kind, sizeof run->kind, "%s", kind);
    snprintf(e->date, sizeof e->date, "2026-11-25T17:45:01Z");
    snprintf(e->anemo_version, sizeof e->anemo_version, "0.1.0");
    snprintf(e->build_type, sizeof e->build_type, "release");
    snprintf(e->compiler, sizeof e->compiler, "a C compiler");
    snprintf(e->host, sizeof e->host, "bench1");
    snprintf(e->os, sizeof e->os, "Linux 6.1");
    snprintf(e->cpu, sizeof e->cpu, "Example CPU 8 cores");
    snprintf(e->isa, sizeof e->isa, "avx2 fma f16c");
    snprintf(e->governor, sizeof e->governor, "performance");
    e->cpus_online = e->cpus_usable = 8;
    e->mem_total_bytes = 32000000000u;
    e->mem_available_bytes = 25000000000u;
    e->load_average = 0.1;
    e->peak_bandwidth_bps = 25e9;
    e->peak_flops = 400e9;
    run->workload = json_pack("{s:s, s:[i, i, i], s:i, s:s, s:b, s:i, s:i, s:{s:i}}", "prompt",
                              "Who invented the light bulb?", "prompt_ids", 1, 2, 3, "n_predict", 120, "chat_format",
                              "none", "fixed_length", 1, "n_rep", 20, "n_warmup", 1, "settings", "threads", 8);
    run->command = copy("anemo compare smollm2-135m-instruct-q4_1 --blocks 20");
    run->kept_loaded = true;
}

static void add_model(an_run *run, const char *name, const char *container, double mb)
{
    an_run_model *m = an_run_add_model(run);
    AN_ASSERT(m);
    m->name = copy(name);
    m->path = copy(name);
    m->read_by = copy("native, llama.cpp");
    snprintf(m->container, sizeof m->container, "%s", container);
    m->bytes = (uint64_t)(mb * 1e6);
    m->weight_bytes = (uint64_t)(mb * 0.9e6);
    m->n_param = 134515008;
}

static an_cell *add_cell(an_run *run, const char *engine, int model, const char *label)
{
    an_cell *cell = an_run_add_cell(run);
    AN_ASSERT(cell);
    snprintf(cell->engine, sizeof cell->engine, "%s", engine);
    snprintf(cell->label, sizeof cell->label, "%s", label);
    snprintf(cell->engine_version, sizeof cell->engine_version, "1.2");
    snprintf(cell->quantization, sizeof cell->quantization, "Q4_1");
    snprintf(cell->compute_dtype, sizeof cell->compute_dtype, "q8");
    snprintf(cell->device, sizeof cell->device, "cpu");
    cell->model = model;
    cell->ids_exact = cell->threads_settable = true;
    cell->check.same_every_rep = true;
    cell->check.repeated_4grams = 0.02;
    return cell;
}

static void add_rep(an_cell *cell, an_rep *rep)
{
    anemo_error err;
    /* Loads come before all others and what is watched after them. */
    if (rep->kind != AN_REP_TIMED) rep->order = (int64_t)cell->n_rep + (rep->kind == AN_REP_LOAD ? 0 : 100000);
    AN_ASSERT(an_cell_add_rep(cell, rep, &err) == ANEMO_OK);
}

static void add_load(an_cell *cell, double seconds, bool cold)
{
    an_rep rep;
    an_rep_init(&rep);
    rep.kind = AN_REP_LOAD;
    rep.values[cold ? AN_FIELD_ID_load_cold_s : AN_FIELD_ID_load_warm_s] = seconds;
    snprintf(rep.page_cache, sizeof rep.page_cache, cold ? "cold" : "warm");
    add_rep(cell, &rep);
}

/* n ids at `gap` seconds each after a prefill of `first` seconds, every gap with noise of its own. */
static void set_tokens(an_rep *rep, size_t n, double first, double gap, const char *text)
{
    rep->n_token = n;
    rep->token_ids = an_calloc(n, sizeof *rep->token_ids);
    rep->token_times_s = an_calloc(n, sizeof *rep->token_times_s);
    AN_ASSERT(rep->token_ids && rep->token_times_s);
    double t = first;
    for (size_t i = 0; i < n; i++) {
        rep->token_ids[i] = (int32_t)(100 + i % 50);
        rep->token_times_s[i] = t;
        t += gap * (1 + 0.04 * noise()) * (uniform() < 0.02 ? 2.5 : 1);
    }
    rep->text = copy(text);
    rep->text_bytes = rep->text_bytes_before_eos = strlen(text);
}

/* A timed generation: `slow` is the cell's factor, `weather` the machine's. */
static void add_generation(an_cell *cell, int block, int64_t order, double slow, double weather, size_t n_token,
                           const char *text)
{
    an_rep rep;
    an_rep_init(&rep);
    double f = slow * weather * (1 + 0.01 * noise());
    rep.block = block;
    rep.order = order;
    rep.start_s = (double)order * 1.5;
    rep.values[AN_FIELD_ID_n_prompt] = 3;
    set_tokens(&rep, n_token, 0.045 * f, 0.0072 * f, text);
    double total = rep.token_times_s[n_token - 1];
    rep.values[AN_FIELD_ID_cpu_s] = 7.4 * total;
    rep.values[AN_FIELD_ID_cpu_user_s] = 7.2 * total;
    rep.values[AN_FIELD_ID_cpu_system_s] = 0.2 * total;
    rep.values[AN_FIELD_ID_ctx_involuntary] = floor(5 + 3 * uniform());
    rep.values[AN_FIELD_ID_ctx_voluntary] = floor(900 + 30 * uniform());
    rep.values[AN_FIELD_ID_faults_minor] = floor(200 + 30 * uniform());
    rep.values[AN_FIELD_ID_faults_major] = 0;
    rep.values[AN_FIELD_ID_rss_peak_bytes] = 160e6 * (1 + 0.3 * (slow - 1)) + 1e6 * uniform();
    rep.values[AN_FIELD_ID_rss_anon_bytes] = 55e6;
    rep.values[AN_FIELD_ID_rss_file_bytes] = 98e6;
    rep.values[AN_FIELD_ID_bandwidth_bps] = 22e9 / weather * (1 + 0.02 * noise());
    rep.values[AN_FIELD_ID_mbu] = 0.62 / slow;
    rep.values[AN_FIELD_ID_mfu] = 0.21 / slow;
    rep.values[AN_FIELD_ID_cpu_hz] = 3.1e9;
    an_rep_derive(&rep, 8);
    snprintf(rep.stop_reason, sizeof rep.stop_reason, "length");
    add_rep(cell, &rep);
}

static void add_observed(an_cell *cell, double slow)
{
    an_rep rep;
    an_rep_init(&rep);
    rep.kind = AN_REP_OBSERVED;
    rep.n_curve = 90;
    rep.curve = an_calloc(rep.n_curve, sizeof *rep.curve);
    AN_ASSERT(rep.curve);
    for (size_t i = 0; i < rep.n_curve; i++) {
        double t = (double)i * 0.01 * slow;
        rep.curve[i] = (an_curve_point){.t_s = t,
                                        .rss_anon_bytes = 30e6 + 25e6 * fmin(1, t / 0.2),
                                        .rss_file_bytes = 98e6,
                                        .cpu_percent = i < 2 ? 120 : 730 + 30 * noise(),
                                        .cpu_hz = 3.1e9};
    }
    add_rep(cell, &rep);
}

static const char text_a[] =
    "Thomas Edison did, in 1879, with a filament of carbonized bamboo that burned for over a thousand hours.";
static const char text_b[] =
    "Thomas Edison did, in 1880, with a thread of carbon. Joseph Swan showed one in England before him.";

static void make_compare(an_run *run)
{
    static const struct {
        const char *engine, *label;
        double slow;
    } arms[] = {{"native", "native", 1},
                {"llama.cpp", "llama.cpp", 1.11},
                {"mlx", "mlx · smollm2-135m-instruct-q4_1-mlx", 1.0}};
    begin(run, "compare");
    add_model(run, "smollm2-135m-instruct-q4_1.gguf", "gguf", 98);
    add_model(run, "smollm2-135m-instruct-q4_1-mlx", "mlx", 99);
    for (int i = 0; i < 3; i++) {
        an_cell *cell = add_cell(run, arms[i].engine, i == 2, arms[i].label);
        for (int k = 0; k < 3; k++) add_load(cell, 0.05 * arms[i].slow + 0.002 * uniform(), false);
        add_load(cell, 0.4 * arms[i].slow, true);
        cell->work = (an_work){AN_WORK_GENERATE, 3, 120, 0};
    }
    an_cell *lost = add_cell(run, "mlx-lm", 1, "mlx-lm");
    lost->status = AN_CELL_FAILED;
    lost->work = (an_work){AN_WORK_GENERATE, 3, 120, 0};
    lost->reason = copy("the worker was ended by SIGSEGV");
    lost->stderr_tail = copy("Fatal Python error: Segmentation fault");
    for (int b = 0; b < 20; b++)
        for (int i = 0; i < 3; i++) {
            int which = (i + b) % 3;
            int64_t order = 3 * b + i;
            double weather = (1 + 0.10 * (double)order / 60) * (which == 1 && b == 7 ? 1.5 : 1);
            an_cell *cell = &run->cells[which];
            add_generation(cell, b, order + 4, arms[which].slow, weather, 120, which == 1 ? text_b : text_a);
            if (which == 1 && b == 7) cell->reps[cell->n_rep - 1].values[AN_FIELD_ID_ctx_involuntary] = 412;
        }
    for (int i = 0; i < 3; i++) {
        add_observed(&run->cells[i], arms[i].slow);
        run->cells[i].missing = json_pack("{s:s, s:s, s:s}", "energy_j", "no RAPL counters", "energy_per_token_j",
                                          "no RAPL counters", "temperature_c", "no sensor");
    }
    run->n_block = 20;
    run->n_look = 4;
    snprintf(run->stop_reason, sizeof run->stop_reason, "precise");
    run->agreements = an_calloc(2, sizeof *run->agreements);
    AN_ASSERT(run->agreements);
    run->n_agreement = 2;
    run->agreements[0] = (an_agreement){.a = 0,
                                        .b = 1,
                                        .n = 120,
                                        .n_same = 41,
                                        .examined = true,
                                        .near_tie = true,
                                        .logit_gap = 0.125,
                                        .prob_margin = 0.02,
                                        .examined_by = 0,
                                        .text_same = 26};
    run->agreements[1] =
        (an_agreement){.a = 0, .b = 2, .n = 120, .n_same = 120, .identical = true, .text_same = sizeof text_a - 1};
}

static void make_two(an_run *run, bool aa)
{
    begin(run, "compare");
    add_model(run, "smollm2-135m-instruct-q4_1.gguf", "gguf", 98);
    add_cell(run, "native", 0, aa ? "native (A)" : "native");
    add_cell(run, "llama.cpp", 0, aa ? "native (B)" : "llama.cpp");
    for (int c = 0; c < 2; c++)
        for (int b = 0; b < 12; b++)
            add_generation(&run->cells[c], b, aa ? 2 * b + (c ^ (b & 1)) : 12 * c + b, aa || c == 0 ? 1 : 1.2, 1, 40,
                           text_a);
    run->n_block = 12;
    run->n_look = 2;
    run->aa = aa;
}

static void add_steps(an_cell *cell, int n_block, double tps, int64_t first_order)
{
    for (int b = 0; b < n_block; b++) {
        an_rep rep;
        an_rep_init(&rep);
        rep.block = b;
        rep.order = first_order + b * 4;
        rep.values[AN_FIELD_ID_step_tps] = tps * (1 + 0.01 * noise());
        rep.values[AN_FIELD_ID_rss_peak_bytes] = 150e6 + 20e3 * cell->work.n_depth + 1e6 * uniform();
        rep.values[AN_FIELD_ID_cpu_percent] = 740;
        add_rep(cell, &rep);
    }
}

static void add_bench_cell(an_run *run, const char *engine, an_work work, int threads, int n_batch, double tps,
                           int n_block)
{
    char label[96], of[48];
    an_work_label(&work, of, sizeof of);
    snprintf(label, sizeof label, "%s · %s · t%d b%d", engine, of, threads, n_batch);
    an_cell *cell = add_cell(run, engine, 0, label);
    cell->work = work;
    cell->ids_exact = false;
    cell->settings = json_pack("{s:i, s:i, s:i}", "threads", threads, "n_batch", n_batch, "n_ubatch", 512);
    add_steps(cell, n_block, tps, (int64_t)run->n_cell % 4);
}

static void make_bench(an_run *run)
{
    static const char *const engines[] = {"native", "llama.cpp"};
    begin(run, "bench");
    add_model(run, "smollm2-135m-instruct-q4_1.gguf", "gguf", 98);
    for (int e = 0; e < 2; e++) {
        double f = e ? 0.9 : 1;
        for (int d = 0; d <= 4096; d = d ? d * 2 : 512)
            add_bench_cell(run, engines[e], (an_work){AN_WORK_STEP, 0, 128, d}, 8, 512, f * 140 / (1 + d / 5000.0), 9);
        for (int p = 32; p <= 1024; p *= 2)
            add_bench_cell(run, engines[e], (an_work){AN_WORK_STEP, p, 0, 0}, 8, 512, f * 900 * p / (p + 60.0), 9);
        for (int b = 16; b <= 256; b *= 4)
            add_bench_cell(run, engines[e], (an_work){AN_WORK_STEP, 512, 0, 0}, 8, b, f * 800 * b / (b + 20.0), 9);
        for (int t = 1; t <= 4; t *= 2)
            add_bench_cell(run, engines[e], (an_work){AN_WORK_STEP, 0, 128, 0}, t, 512, f * 40 * t / (1 + t / 20.0), 9);
    }
    run->n_block = 9;
    run->n_look = 2;
}

static void make_sweep(an_run *run)
{
    static const char *const engines[] = {"native", "llama.cpp", "mlx", "llama-cpp-python", "mlx-lm"};
    static const char *const quants[] = {"Q4_0", "Q4_1", "Q5_K_M", "Q8_0", "F16"};
    begin(run, "sweep");
    for (int m = 0; m < 5; m++) add_model(run, quants[m], "gguf", 90 + 20 * m);
    for (int i = 0; i < 1000; i++) {
        char label[96];
        int e = i % 5, m = i / 5 % 5, t = 1 << (i / 25 % 4), d = 1024 * (i / 100 % 5);
        bool prompt = i >= 500;
        an_work work = {AN_WORK_GENERATE, prompt ? 512 : 32, 60, d};
        snprintf(label, sizeof label, "%s · %s · t%d", engines[e], quants[m], t);
        an_cell *cell = add_cell(run, engines[e], m, label);
        cell->work = work;
        cell->settings = json_pack("{s:i}", "threads", t);
        if (i % 97 == 5) {
            cell->status = AN_CELL_SKIPPED;
            cell->reason = copy("does not fit in memory");
            continue;
        }
        for (int b = 0; b < 6; b++)
            add_generation(cell, b, b * 1000 + (i * 37 + b * 11) % 1000, (1 + 0.2 * e + 0.1 * m) / (0.4 + 0.15 * t), 1,
                           60, i % 3 ? text_a : text_b);
    }
    run->n_block = 6;
    run->n_look = 1;
}

static void make_hostile(an_run *run)
{
    static const char evil[] =
        "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--\x1b[2J\xff\xfe\xe2\x80\xae";
    begin(run, "compare");
    add_model(run, "</title><svg onload=alert(3)>|`\n=cmd()", "gguf", 98);
    snprintf(run->environment.cpu, sizeof run->environment.cpu, "<b>%s", "CPU\x1b]0;title\x07");
    an_free(run->command);
    run->command = copy("anemo compare '</code><script>alert(4)</script>'");
    run->note = copy("</p><script>alert(5)</script>");
    json_object_set_new(run->workload, "prompt", an_json_text(evil, sizeof evil - 1));
    json_object_set_new(run->workload, "<key onclick=\"x\">", json_string("</dd><script>alert(6)</script>"));
    add_cell(run, "<i>eng", 0, "<script>alert(7)</script>|native\xc3");
    add_cell(run, "llama.cpp", 0, "\" onmouseover=\"alert(8)");
    for (int c = 0; c < 2; c++)
        for (int b = 0; b < 6; b++) add_generation(&run->cells[c], b, 2 * b + c, 1 + 0.1 * c, 1, 20, c ? evil : text_a);
    run->cells[0].missing = json_pack("{s:s}", "<script>alert(9)</script>", "<script>alert(10)</script>");
    an_cell *lost = add_cell(run, "mlx", 0, "mlx<!--");
    lost->status = AN_CELL_FAILED;
    lost->reason = copy(evil);
    lost->stderr_tail = copy("]]></script><script>alert(11)</script>");
    run->n_block = 6;
}

void scene_make(an_run *run, scene_kind kind)
{
    switch (kind) {
    case SCENE_COMPARE: make_compare(run); break;
    case SCENE_AA: make_two(run, true); break;
    case SCENE_BENCH: make_bench(run); break;
    case SCENE_SWEEP: make_sweep(run); break;
    case SCENE_HOSTILE: make_hostile(run); break;
    case SCENE_ORDERED: make_two(run, false); break;
    case SCENE_EMPTY:
        begin(run, "compare");
        add_cell(run, "native", -1, "native")->status = AN_CELL_MISSING;
        break;
    case SCENE_N: break;
    }
}
