/*
 * Packed weights of any bytes. Byte 0 chooses the type, byte 1 the MLX width, group and scale type; the rest are two
 * rows of blocks (and scales and biases). Decoded rows must equal code * scale + minimum, and every byte of the
 * packed data must be inside what was given.
 */
#include "fuzz/fuzz.h"

#include "quant/codes.h"

#include <math.h>

enum { N_ROW = 2, COL_MAX = 4096 };

/* Two rows of the input, in blocks of exact size; false when there are too few bytes for one group. */
static bool take_weight(an_weight *w, const uint8_t *data, size_t size, uint8_t *part[3])
{
    static const int bits[6] = {2, 3, 4, 5, 6, 8};
    static const an_dtype scale_types[3] = {AN_DTYPE_F16, AN_DTYPE_BF16, AN_DTYPE_F32};
    w->dtype = (an_dtype)(data[0] % (AN_DTYPE_AFFINE + 1));
    w->affine.bits = bits[data[1] % 6];
    w->affine.group = 32 << (data[1] / 6 % 3);
    w->affine.scale_dtype = scale_types[data[1] / 18 % 3];
    data += 2;
    size -= 2;
    const an_dtype_info *info = an_dtype_get(w->dtype);
    bool affine = w->dtype == AN_DTYPE_AFFINE;
    size_t scale = affine ? (size_t)an_dtype_get(w->affine.scale_dtype)->block_bytes : 0;
    size_t unit = affine ? (size_t)w->affine.group : (size_t)info->block_elems;
    size_t bytes = affine ? unit * (size_t)w->affine.bits / 8 : (size_t)info->block_bytes;
    size_t n = size / (N_ROW * (bytes + 2 * scale));
    if (n > COL_MAX / unit) n = COL_MAX / unit;
    if (n == 0) return false;
    size_t sizes[3] = {N_ROW * n * bytes, N_ROW * n * scale, N_ROW * n * scale};
    for (int i = 0; i < 3; i++) {
        part[i] = fuzz_copy(data, sizes[i]);
        data += sizes[i];
    }
    w->n_row = N_ROW;
    w->n_col = (int64_t)(n * unit);
    w->row_bytes = n * bytes;
    w->data = part[0];
    w->affine.scales = part[1];
    w->affine.biases = part[2];
    if (an_weight_bytes(w) != sizes[0] + sizes[1] + sizes[2]) abort();
    return true;
}

/* Sums of products with these must not overflow, whatever the bytes are. */
static void check_super_range(const an_weight *w, int64_t row, int64_t col)
{
    uint8_t codes[AN_SUPER];
    an_super numbers;
    an_codes_read_super(w, row, col, codes, &numbers);
    for (int g = 0; g < AN_SUPER / 16; g++)
        if (numbers.scales[g] < -128 || numbers.scales[g] > 127 || numbers.mins[g] < 0 || numbers.mins[g] > 63) abort();
}

/* Finite scales: the codes say the same as the decoder, to the bit (8-bit affine adds 128 scales to its bias). */
static void compare_codes(const an_weight *w, int64_t row, const float *decoded, bool finite)
{
    an_code_kind kind;
    if (!an_codes_kind(w, &kind)) return;
    int group = an_codes_group(kind);
    for (int64_t col = 0; col < w->n_col; col += AN_CODES_STEP) {
        uint8_t codes[AN_CODES_STEP];
        float scales[AN_CODES_STEP / 16], mins[AN_CODES_STEP / 16];
        int n = w->n_col - col < AN_CODES_STEP ? (int)(w->n_col - col) : AN_CODES_STEP;
        an_codes_read(w, row, col, n, codes, scales, mins);
        if (an_codes_super(kind)) check_super_range(w, row, col);
        for (int i = 0; finite && kind != AN_CODES_I8_MIN && i < n; i++) {
            int code = an_codes_int8(kind) ? (int8_t)codes[i] : codes[i] - an_codes_offset(kind);
            float scaled = (float)code * scales[i / group], value = scaled + mins[i / group];
            if (isfinite(value) && value != decoded[col + i]) abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float row[COL_MAX];
    an_weight w = {0};
    uint8_t *part[3] = {NULL, NULL, NULL};
    if (size < 2 || !take_weight(&w, data, size, part)) return 0;
    int64_t bad = an_weight_find_nonfinite(&w);
    if (bad < -1 || bad >= N_ROW) abort();
    for (int64_t r = 0; r < N_ROW; r++) {
        an_weight_row_f32(&w, r, row);
        if (bad == -1 && w.dtype < AN_DTYPE_AFFINE)
            for (int64_t i = 0; i < w.n_col; i++)
                if (!isfinite(row[i])) abort();
        compare_codes(&w, r, row, bad == -1);
    }
    for (int i = 0; i < 3; i++) free(part[i]);
    return 0;
}
