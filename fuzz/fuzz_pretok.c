/* The first byte chooses a pre-tokenizer, the rest is text: its words must be the text, cut between characters. */
#include "fuzz/fuzz.h"

#include "base/utf8.h"
#include "token/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"default", "smollm", "gpt-2", "falcon", "llama-bpe", "qwen2", "tekken"};
    anemo_error err;
    an_pretok p;
    an_pretok_work w = {0};
    bool ignore_merges, add_bos;
    if (size == 0) return 0;
    if (!an_pretok_by_name(names[data[0] % 7], &p, &ignore_merges, &add_bos)) abort();
    if (data[0] & 128) {
        p.unicode = AN_UNICODE_16;
        p.ascii_case = false;
    }
    uint8_t *copy = fuzz_copy(data + 1, size - 1);
    const char *text = (const char *)copy;
    size_t n = an_utf8_valid_prefix(text, size - 1), n_end, at = 0;
    const uint32_t *ends;
    if (an_pretok_split(&p, &w, text, n, &ends, &n_end, &err) != ANEMO_OK) abort();
    for (size_t i = 0; i < n_end; i++) {
        if (ends[i] <= at || ends[i] > n) abort();
        if (ends[i] < n && (text[ends[i]] & 0xC0) == 0x80) abort();
        at = ends[i];
    }
    if (at != n) abort();
    an_pretok_work_free(&w);
    free(copy);
    return 0;
}
