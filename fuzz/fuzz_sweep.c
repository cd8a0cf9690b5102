/* What a user or another machine gives a sweep: a plan file with its rules, or a manifest. The first byte picks one. */
#include "fuzz/fuzz.h"

#include "sweep/sweep.h"

static volatile size_t sink;

/* Every plan that is accepted holds what the grid relies on. */
static void use_plan(const an_plan *plan)
{
    an_grid_point point = {0};
    for (an_axis a = 0; a < AN_AXIS_N; a++) {
        const an_axis_values *v = &plan->axes[a];
        point.texts[a] = v->n && v->texts ? v->texts[0] : "";
        point.numbers[a] = v->n && v->numbers ? v->numbers[0] : 1;
        if (v->n > AN_PLAN_LIST_MAX || (v->n && (v->texts != NULL) == an_axis_is_number(a))) abort();
    }
    if (plan->n_rep < 1 || plan->n_block < 1 || !plan->name || !(plan->memory_share > 0 && plan->memory_share <= 1))
        abort();
    if (plan->axes[AN_AXIS_MODEL].n == 0 && !plan->url) abort();
    sink += an_plan_admits(plan, &point);
}

/* Every manifest that is accepted has an order of its units, and is what it says when it is written again. */
static void use_manifest(const an_sweep *s)
{
    size_t n = s->run.n_cell, *order = malloc(n * sizeof *order);
    if (!order) abort();
    an_sweep_block_order(s, s->n_block - 1, order);
    for (size_t i = 0; i < n; i++) {
        if (order[i] >= n || s->run.cells[i].model >= (int)s->run.n_model || !s->settings[i].kv_type) abort();
        sink += an_sweep_cell_bytes(s, i);
    }
    free(order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    if (size == 0) return 0;
    char *copy = (char *)fuzz_copy(data + 1, size - 1);
    if (data[0] % 2 == 0) {
        an_plan plan;
        if (an_plan_parse(&plan, copy, size - 1, "fuzz", &err) == ANEMO_OK) {
            use_plan(&plan);
            an_plan_free(&plan);
        } else if (!err.message[0])
            abort();
    } else {
        an_sweep s;
        if (an_sweep_parse_manifest(&s, copy, size - 1, "fuzz", &err) == ANEMO_OK) {
            use_manifest(&s);
            an_sweep_free(&s);
        } else if (!err.message[0])
            abort();
    }
    free(copy);
    return 0;
}
