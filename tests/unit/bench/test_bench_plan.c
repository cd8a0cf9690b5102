/* The order of a benchmark's cells: that of llama-bench's own loops, written out. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "bench/bench_plan.h"

#include <stdio.h>

static const char *const f16[] = {"f16"}, *const types[] = {"f16", "q8_0"}, *const any[] = {"auto"}, *const no_mask[] = {"0x0"};

static void fill(an_ints *list, const int *v, size_t n)
{
    anemo_error err = {0};
    for (size_t i = 0; i < n; i++) assert_ok(an_ints_push(list, v[i], &err), &err);
}

#define FILL(list, ...)                                                                                                \
    do {                                                                                                               \
        static const int values[] = {__VA_ARGS__};                                                                     \
        fill(list, values, sizeof values / sizeof *values);                                                            \
    } while (0)

static void add_model(an_run *run, const char *name, const char *container)
{
    an_run_model *m = an_run_add_model(run);
    m->name = an_strdup(name);
    m->path = an_strdup(name);
    snprintf(m->container, sizeof m->container, "%s", container);
}

/* One of everything. */
static an_bench_grid small(const an_engine_info **engines, size_t n)
{
    an_bench_grid g = {.engines = engines, .n_engine = n, .kv_k = f16, .kv_v = f16, .devices = any, .masks = no_mask,
                       .n_kv_k = 1, .n_kv_v = 1, .n_device = 1, .n_mask = 1};
    FILL(&g.n_depth, 0);
    FILL(&g.n_batch, 2048);
    FILL(&g.n_ubatch, 512);
    FILL(&g.threads, 2);
    FILL(&g.n_gpu_layers, -1);
    FILL(&g.flash_attn, AN_AUTO);
    return g;
}

static void release(an_bench_grid *g)
{
    an_ints *const lists[] = {&g->n_prompt, &g->n_gen,        &g->n_depth,    &g->n_batch, &g->n_ubatch,
                              &g->threads,  &g->n_gpu_layers, &g->flash_attn};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) an_ints_free(lists[i]);
}

static void test_order(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_run run;
    an_bench_point *points = NULL;
    const an_engine_info *engines[] = {an_engine_find("llama.cpp"), an_engine_find("mlx")};
    an_bench_grid g = small(engines, 2);
    int pg[1][2] = {{64, 8}};
    an_run_init(&run);
    add_model(&run, "a.gguf", "gguf");
    add_model(&run, "b-mlx", "mlx");
    FILL(&g.n_prompt, 0, 512);
    FILL(&g.n_gen, 16, 0, 32);
    an_ints_free(&g.n_depth);
    FILL(&g.n_depth, 0, 100);
    an_ints_free(&g.threads);
    FILL(&g.threads, 1, 4);
    g.kv_k = types;
    g.n_kv_k = 2;
    g.pg = pg;
    g.n_pg = 1;
    assert_ok(an_bench_plan(&run, &g, &points, &err), &err);
    /* 2 models with one engine each, 2 types, 2 threads, 2 depths, and pp512 tg16 tg32 pp64+tg8. */
    assert_int_equal(run.n_cell, 2 * 2 * 2 * 2 * 4);
    for (size_t i = 0; i < run.n_cell; i++) {
        const an_cell *c = &run.cells[i];
        static const char *const tests[] = {"pp512", "tg16", "tg32", "pp64+tg8"};
        char label[64], want[64];
        an_work_label(&c->work, label, sizeof label);
        snprintf(want, sizeof want, "%s%s", tests[i % 4], i / 4 % 2 ? " @ d100" : "");
        assert_string_equal(label, want);
        assert_int_equal(points[i].settings.threads, i / 8 % 2 ? 4 : 1);
        assert_int_equal(points[i].settings.threads_batch, i / 8 % 2 ? 4 : 1);
        assert_string_equal(points[i].settings.kv_type, types[i / 16 % 2]);
        assert_string_equal(points[i].settings.kv_type_v, "f16");
        assert_string_equal(c->engine, i < 32 ? "llama.cpp" : "mlx");
        assert_int_equal(c->model, i < 32 ? 0 : 1);
    }
    an_free(points);
    an_run_free(&run);
    release(&g);
}

static void test_faults(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_run run;
    an_bench_point *points = NULL;
    const an_engine_info *engines[] = {an_engine_find("native"), an_engine_find("mlx")};
    an_run_init(&run);
    add_model(&run, "a.gguf", "gguf");
    an_bench_grid g = small(engines, 2);
    FILL(&g.n_prompt, 0);
    assert_fails(an_bench_plan(&run, &g, &points, &err), &err, ANEMO_ERR_INVAL, "every test has 0 tokens");
    FILL(&g.n_gen, 4);
    g.named = true;
    assert_fails(an_bench_plan(&run, &g, &points, &err), &err, ANEMO_ERR_INVAL, "'mlx' reads MLX directories");
    an_run_free(&run);
    add_model(&run, "a.gguf", "gguf");
    g.named = false;
    assert_ok(an_bench_plan(&run, &g, &points, &err), &err);
    assert_int_equal(run.n_cell, 1);
    assert_int_equal(run.cells[0].status, AN_CELL_PENDING);
    assert_int_equal(run.cells[0].work.kind, AN_WORK_STEP);
    an_free(points);
    an_run_free(&run);
    assert_fails(an_bench_plan(&run, &g, &points, &err), &err, ANEMO_ERR_INVAL, "no model");
    release(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
