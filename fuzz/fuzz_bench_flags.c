/* The words of a benchmark's flags: a list comes out within its limits, or an error with words. */
#include "fuzz/fuzz.h"

#include "bench/grammar.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_ints list = {0};
    int pair[2], n_cpu;
    uint8_t mask[AN_CPU_MASK_BYTES];
    char *text = (char *)malloc(size + 1);
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (an_grammar_ints("-x", text, -1, 1 << 20, &list, &err) == ANEMO_OK) {
        if (list.n == 0 || list.n > AN_GRAMMAR_VALUES_MAX) abort();
        for (size_t i = 0; i < list.n; i++)
            if (list.v[i] < -1 || list.v[i] > 1 << 20) abort();
    } else if (!strstr(err.message, "-x")) {
        abort();
    }
    an_ints_free(&list);
    if (an_grammar_pair("-x", text, 1 << 20, pair, &err) == ANEMO_OK &&
        (pair[0] < 0 || pair[1] < 0 || pair[0] + pair[1] == 0 || pair[0] > 1 << 20 || pair[1] > 1 << 20))
        abort();
    if (an_grammar_cpu_mask("-x", text, mask, &n_cpu, &err) == ANEMO_OK) {
        int n = 0;
        for (size_t i = 0; i < sizeof mask; i++)
            for (int bit = 0; bit < 8; bit++) n += mask[i] >> bit & 1;
        if (n != n_cpu) abort();
    }
    free(text);
    return 0;
}
