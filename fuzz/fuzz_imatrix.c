/* The bytes of one importance matrix, in either form. */
#include "fuzz/fuzz.h"

#include "convert/imatrix.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_imatrix *m;
    uint8_t *copy = fuzz_copy(data, size);
    if (an_imatrix_open_bytes(&m, copy, size, "fuzz", &err) == ANEMO_OK) {
        for (size_t i = 0; i < an_imatrix_n(m); i++) {
            const an_imatrix_entry *e = an_imatrix_at(m, i);
            if (e->n * sizeof *e->values > size || an_imatrix_find(m, e->name) != e) abort();
            for (uint64_t k = 0; k < e->n; k++)
                if (!isfinite(e->values[k]) || e->values[k] < 0) abort();
        }
        an_imatrix_close(m);
    } else if (!err.message[0]) {
        abort();
    }
    free(copy);
    return 0;
}
