/*
 * The bytes of a file of runs, as `results import` reads them: what comes out of it is a run that can be written, and read again
 * is the same.
 */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "base/json.h"
#include "store/run_file.h"

static char *text_of(const an_run *run)
{
    an_str text = {0};
    if (an_json_write(an_run_json(run), JSON_COMPACT | JSON_REAL_PRECISION(17), &text, NULL) != ANEMO_OK) abort();
    return an_str_take(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_run *runs, *again;
    size_t n = 0, n_again = 0;
    uint8_t *copy = fuzz_copy(data, size);
    if (an_run_file_parse((const char *)copy, size, "fuzz", &runs, &n, &err) == ANEMO_OK) {
        for (size_t i = 0; i < n; i++) {
            char *first = text_of(&runs[i]);
            if (an_run_file_parse(first, strlen(first), "again", &again, &n_again, &err) != ANEMO_OK || n_again != 1) abort();
            char *second = text_of(&again[0]);
            if (strcmp(first, second) != 0) abort();
            an_free(first);
            an_free(second);
            an_run_list_free(again, n_again);
        }
        an_run_list_free(runs, n);
    } else if (!err.message[0]) {
        abort();
    }
    an_run_file_is((const char *)copy, size);
    free(copy);
    return 0;
}
