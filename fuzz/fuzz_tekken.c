/* The bytes of one tekken.json (or tokenizer.json: content decides); those that open encode their own bytes. */
#include "fuzz/fuzz.h"
#include "fuzz/use_tokenizer.h"

#include "token/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_tokenizer *t;
    uint8_t *copy = fuzz_copy(data, size);
    anemo_status status = an_load_json(&t, (char *)copy, size, "fuzz", &err);
    free(copy); /* nothing of the file may be needed any more */
    if (status != ANEMO_OK) {
        if (!err.message[0]) abort();
        return 0;
    }
    use_tokenizer(t, (const char *)data, size < 4096 ? size : 4096);
    an_tokenizer_close(t);
    return 0;
}
