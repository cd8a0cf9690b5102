/* The bytes of one file of results. What was read is written as JSON and read again. */
#include "fuzz/fuzz.h"

#include "base/json.h"
#include "base/str.h"
#include "store/import.h"
#include "store/run_file.h"



/* Nothing points out of the run; rows of other tools (not `ours`) have a key and figures above 0. */
static void check_run(const an_run *run, bool ours)
{
    anemo_error err = {0};
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *cell = &run->cells[i];
        if (cell->model >= (int)run->n_model) abort();
        if (ours) continue;
        if (strlen(cell->key) != 64 || (cell->status == AN_CELL_OK) != (cell->n_rep > 0)) abort();
        for (size_t r = 0; r < cell->n_rep; r++) {
            const double *v = cell->reps[r].values;
            if (v[AN_FIELD_ID_step_tps] <= 0 || v[AN_FIELD_ID_prefill_tps] <= 0 || v[AN_FIELD_ID_total_s] <= 0) abort();
        }
    }
    an_str text = {0};
    an_run again;
    json_t *doc;
    if (an_json_write(an_run_json(run), JSON_COMPACT, &text, &err) != ANEMO_OK) abort();
    if (an_json_parse(&doc, text.data, text.len, "again", &err) != ANEMO_OK) abort();
    if (an_run_from_json(&again, doc, "again", &err) != ANEMO_OK) abort();
    if (again.n_cell != run->n_cell || again.n_model != run->n_model) abort();
    an_run_free(&again);
    json_decref(doc);
    an_str_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_run *runs;
    size_t n;
    uint8_t *copy = fuzz_copy(data, size);
    bool ours = false;
    for (size_t i = 0; i + 6 < size; i++) ours = ours || !memcmp(copy + i, "schema", 6);
    if (an_import_bytes((const char *)copy, size, "fuzz", &runs, &n, &err) == ANEMO_OK) {
        if (n == 0) abort();
        for (size_t i = 0; i < n; i++) check_run(&runs[i], ours);
        an_run_list_free(runs, n);
    } else if (!err.message[0]) {
        abort();
    }
    free(copy);
    return 0;
}
