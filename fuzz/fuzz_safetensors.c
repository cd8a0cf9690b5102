/* The bytes of one safetensors file: open, then use everything that the reader hands out. */
#include "fuzz/fuzz.h"

#include "format/safetensors.h"

static volatile unsigned sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_safetensors *st;
    uint8_t *copy = fuzz_copy(data, size);
    if (an_safetensors_open_bytes(&st, copy, size, "fuzz", &err) == ANEMO_OK) {
        uint64_t sum = 0;
        for (size_t i = 0; i < an_safetensors_n_tensor(st); i++) {
            const an_st_tensor *t = an_safetensors_tensor_at(st, i);
            sink +=
                fuzz_touch(t->data, t->bytes) + fuzz_touch(t->dtype_name, strlen(t->dtype_name));
            sum += t->bytes;
            if (an_safetensors_find(st, t->name) != t) abort();
        }
        if (sum > size) abort(); /* tensors may not overlap */
        an_safetensors_close(st);
    } else if (!err.message[0]) {
        abort();
    }
    free(copy);
    return 0;
}
