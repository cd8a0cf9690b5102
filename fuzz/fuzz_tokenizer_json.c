/* The bytes of one tokenizer.json (or tekken.json: content decides). */
#include "fuzz/use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_vocabulary(fuzz_load_json, data, size);
}
