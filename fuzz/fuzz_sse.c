/* An event stream as a server may send it: cut into pieces by the input itself, then read as completion chunks. */
#include "fuzz/fuzz.h"

#include "drivers/http/completion.h"
#include "net/sse.h"

static anemo_status on_event(void *ctx, const char *data, size_t n, anemo_error *err)
{
    return an_completion_event(ctx, data, n, 1, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_completion c;
    an_sse s = {0};
    an_completion_init(&c);
    for (size_t i = 0; i < size;) {
        size_t n = 1 + data[i] % 61;
        if (n > size - i) n = size - i;
        uint8_t *copy = fuzz_copy(data + i, n);
        anemo_status status = an_sse_feed(&s, (const char *)copy, n, on_event, &c, &err);
        free(copy);
        if (status != ANEMO_OK) break;
        i += n;
    }
    size_t n = an_completion_n_token(&c);
    if (n > 10000) n = 10000;
    for (size_t i = 0; i < n; i++)
        if (an_completion_token_ns(&c, i, n) != 1) abort();
    an_completion_free(&c);
    an_sse_free(&s);
    return 0;
}
