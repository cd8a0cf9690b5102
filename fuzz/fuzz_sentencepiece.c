/* The bytes of one tokenizer.model. */
#include "fuzz/use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_vocabulary(an_load_spm, data, size);
}
