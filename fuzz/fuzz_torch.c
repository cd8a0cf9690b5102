/* The bytes of one PyTorch checkpoint: its archive, its pickle, and everything that the reader hands out. */
#include "fuzz/fuzz.h"

#include "format/torch.h"

static volatile unsigned sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_torch *t;
    uint8_t *copy = fuzz_copy(data, size);
    if (an_torch_open_bytes(&t, copy, size, "fuzz", &err) == ANEMO_OK) {
        for (size_t i = 0; i < an_torch_n_tensor(t); i++) {
            const an_torch_tensor *x = an_torch_tensor_at(t, i);
            int64_t last = 0;
            for (int d = 0; d < x->n_dim; d++) last += (x->shape[d] - 1) * x->stride[d];
            uint64_t elem = (uint64_t)an_dtype_get(x->dtype)->block_bytes;
            if (x->bytes > size || an_torch_find(t, x->name) != x) abort();
            if (x->bytes)
                sink += fuzz_touch(x->data, elem) +
                        fuzz_touch((const uint8_t *)x->data + (uint64_t)last * elem, elem);
        }
        an_torch_close(t);
    } else if (!err.message[0]) {
        abort();
    }
    free(copy);
    return 0;
}
