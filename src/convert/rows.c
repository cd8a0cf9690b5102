/* Which kernels rows go through. */
#include "convert/rows.h"

#include "kernels/encode.h"
#include "os/cpu.h"
#include "os/file.h"

#include <stdatomic.h>

/* Asked once: what the CPU has takes long to find out under a hypervisor. Threads that ask at a time find the same. */
static const an_kernels *kernels(void)
{
    static _Atomic(const an_kernels *) chosen;
    const an_kernels *k = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!k) {
        uint32_t mask = an_cpu_isa(), wanted;
        const char *name = an_env("ANEMO_ISA");
        if (name && an_kernels_isa_mask(name, &wanted)) mask &= wanted;
        k = an_kernels_for(mask);
        atomic_store_explicit(&chosen, k, memory_order_relaxed);
    }
    return k;
}

void an_rows_encode(an_dtype type, const float *x, int64_t n_row, int64_t n_col, void *out)
{
    an_kernels_encode_rows(kernels(), type, x, n_row, n_col, out);
}

void an_rows_encode_weighted(an_dtype type, const float *x, int64_t n_col, const float *importance, void *out)
{
    an_kernels_encode_row_weighted(kernels(), type, x, n_col, importance, out);
}

void an_rows_decode(an_dtype type, const void *src, float *dst, int64_t n)
{
    an_kernels_decode(kernels(), type, src, dst, n);
}

void an_rows_of_weight(const an_weight *w, int64_t row, float *out)
{
    if (an_dtype_is_mlx(w->dtype)) an_weight_row_f32(w, row, out);
    else an_rows_decode(w->dtype, (const uint8_t *)w->data + (uint64_t)row * w->row_bytes, out, w->n_col);
}

int64_t an_rows_find_nonfinite(const float *x, int64_t n)
{
    return an_kernels_find_nonfinite(kernels(), x, n);
}

void an_rows_square_sums(const float *x, const float *y, int64_t n, double *sum_sq, double *sum_sq_error)
{
    an_kernels_square_sums(kernels(), x, y, n, sum_sq, sum_sq_error);
}
