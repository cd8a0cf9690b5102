/* Rows for the encoders of a level, which take a fixed number of values at a time. */
#include "kernels/encode.h"

#include "base/error.h"
#include "kernels/table.h"
#include "quant/encode_pack.h"

#include <string.h>

void an_kernels_encode_rows(const an_kernels *k, an_dtype type, const float *x, int64_t n_row, int64_t n_col, void *out)
{
    const an_dtype_info *info = an_dtype_get(type);
    an_encode_fn *encode = k->encode[type];
    if (!encode) {
        an_encode_rows(type, x, n_row, n_col, out);
        return;
    }
    AN_ASSERT(n_col % info->block_elems == 0);
    int64_t n = n_row * n_col, whole = n - n % AN_ENCODE_BATCH;
    size_t batch_bytes = (size_t)(AN_ENCODE_BATCH / info->block_elems * info->block_bytes);
    uint8_t *p = out;
    for (int64_t i = 0; i < whole; i += AN_ENCODE_BATCH, p += batch_bytes) encode(x + i, p);
    if (whole < n) {
        float rest[AN_ENCODE_BATCH] = {0};
        uint8_t bytes[AN_ENCODE_BATCH * sizeof(float)];
        memcpy(rest, x + whole, (size_t)(n - whole) * sizeof *x);
        encode(rest, bytes);
        memcpy(p, bytes, (size_t)((n - whole) / info->block_elems * info->block_bytes));
    }
}

void an_kernels_encode_row_weighted(const an_kernels *k, an_dtype type, const float *x, int64_t n_col,
                                    const float *importance, void *out)
{
    const an_dtype_info *info = an_dtype_get(type);
    an_weighted_fn *encode = k->encode_weighted[type];
    if (!importance || !encode) {
        an_kernels_encode_rows(k, type, x, 1, n_col, out);
        return;
    }
    AN_ASSERT(n_col % info->block_elems == 0);
    float sigma2 = info->block_elems == 32 ? an_sum_of_squares(x, n_col) / (float)n_col : 0;
    size_t batch_bytes = (size_t)(AN_ENCODE_BATCH / info->block_elems * info->block_bytes);
    int64_t whole = n_col - n_col % AN_ENCODE_BATCH;
    uint8_t *p = out;
    for (int64_t i = 0; i < whole; i += AN_ENCODE_BATCH, p += batch_bytes) encode(x + i, importance + i, sigma2, p);
    if (whole < n_col) {
        float rest[AN_ENCODE_BATCH] = {0}, weight[AN_ENCODE_BATCH] = {0};
        uint8_t bytes[AN_ENCODE_BATCH * sizeof(float)];
        memcpy(rest, x + whole, (size_t)(n_col - whole) * sizeof *x);
        memcpy(weight, importance + whole, (size_t)(n_col - whole) * sizeof *x);
        encode(rest, weight, sigma2, bytes);
        memcpy(p, bytes, (size_t)((n_col - whole) / info->block_elems * info->block_bytes));
    }
}

void an_kernels_decode(const an_kernels *k, an_dtype type, const void *src, float *dst, int64_t n)
{
    AN_ASSERT(n % an_dtype_get(type)->block_elems == 0);
    an_decode_fn *decode = k->decode[type];
    enum { PIECE = 1 << 20 };
    if (decode) decode(src, dst, n);
    else if (type == AN_DTYPE_F16 || type == AN_DTYPE_BF16)
        for (int64_t i = 0; i < n; i += PIECE)
            (type == AN_DTYPE_F16 ? k->row_f16 : k->row_bf16)(dst + i, (const uint8_t *)src + 2 * i,
                                                              (int)(n - i < PIECE ? n - i : PIECE));
    else an_dequant(type, src, dst, n);
}

int64_t an_kernels_find_nonfinite(const an_kernels *k, const float *x, int64_t n)
{
    return k->any_nonfinite(x, n) ? an_find_nonfinite(x, n) : -1;
}

void an_kernels_square_sums(const an_kernels *k, const float *x, const float *y, int64_t n, double *sum_sq,
                            double *sum_sq_error)
{
    k->square_sums(x, y, n, sum_sq, sum_sq_error);
}
