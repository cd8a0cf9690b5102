/* Rows of tensors that are no plain view: strided, in several files, FP8 with scales. */
#include "convert/source_internal.h"

#include "os/file.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { CHUNK = 256 };

/* An E4M3 code (no infinities, NaN is 0x7F) is an f32 of the same fields, 120 powers of two too
 * small: exact. */
static float e4m3_value(unsigned char code)
{
    uint32_t bits = (uint32_t)(code & 0x80) << 24 | (uint32_t)(code & 0x7F) << 20;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f * 0x1p120f;
}

static float scale_at(const source_scale *s, int64_t row, int64_t col)
{
    float f;
    int64_t i = row / s->block_rows * s->n_col + col / s->block_cols;
    an_dequant(s->dtype, (const unsigned char *)s->data + i * an_dtype_get(s->dtype)->block_bytes,
               &f, 1);
    return f;
}

/* n <= CHUNK elements of a row of a piece, in a row: where they lie, or gathered into room. */
static const unsigned char *elements(const source_piece *p, int64_t row, int64_t col, int64_t n,
                                     int64_t size, unsigned char room[CHUNK * 4])
{
    const unsigned char *at = p->data + (row * p->row_stride + col * p->col_stride) * size;
    if (p->col_stride == 1) return at;
    for (int64_t i = 0; i < n; i++)
        memcpy(room + i * size, at + i * p->col_stride * size, (size_t)size);
    return room;
}

/* The first NaN among n codes, or -1. */
static int64_t find_nan(const unsigned char *codes, int64_t n)
{
    unsigned char any = 0;
    for (int64_t i = 0; i < n; i++)
        any |= (codes[i] & 0x7F) == 0x7F;
    for (int64_t i = 0; any && i < n; i++)
        if ((codes[i] & 0x7F) == 0x7F) return i;
    return -1;
}

/*
 * Row `row` of a piece into out[p->n_col]. -1, or the column of an FP8 code that is no number.
 */
static int64_t piece_row(const an_source_form *form, const source_piece *p, int64_t row, float *out)
{
    unsigned char room[CHUNK * 4];
    int64_t size = an_dtype_get(p->dtype)->block_bytes;
    bool fp8 = p->dtype == AN_DTYPE_F8_E4M3;
    if (!fp8 && p->col_stride == 1) {
        an_dequant(p->dtype, elements(p, row, 0, p->n_col, size, room), out, p->n_col);
        return -1;
    }
    for (int64_t col = 0, n; col < p->n_col; col += n) {
        n = p->n_col - col < CHUNK ? p->n_col - col : CHUNK;
        if (!fp8) {
            an_dequant(p->dtype, elements(p, row, col, n, size, room), out + col, n);
            continue;
        }
        int64_t block = form->scale.block_cols - col % form->scale.block_cols;
        if (n > block) n = block;
        const unsigned char *codes = elements(p, row, col, n, size, room);
        int64_t nan = find_nan(codes, n);
        if (nan >= 0) return col + nan;
        float scale = scale_at(&form->scale, row, col);
        for (int64_t i = 0; i < n; i++)
            out[col + i] = e4m3_value(codes[i]) * scale;
    }
    return -1;
}

anemo_status an_source_form_rows(const an_source *s, const an_source_tensor *t, int64_t row,
                                 int64_t n, float *out, anemo_error *err)
{
    (void)s;
    for (int k = 0; k < t->form->n_piece; k++) {
        const source_piece *p = &t->form->pieces[k];
        int64_t begin = row > p->row0 ? row : p->row0;
        int64_t end = row + n < p->row0 + p->n_row ? row + n : p->row0 + p->n_row;
        for (int64_t r = begin; r < end; r++) {
            int64_t nan = piece_row(t->form, p, r - p->row0, out + (r - row) * t->n_col + p->col0);
            if (nan >= 0)
                return an_fail(err, ANEMO_ERR_FORMAT,
                               "%s: tensor %s: element [%" PRId64 ", %" PRId64
                               "] is the FP8 code of NaN; the file is damaged: fetch it again",
                               p->path, t->name, r, nan);
        }
    }
    return ANEMO_OK;
}

/* The first row whose scales are not all finite, or -1. */
static int64_t bad_scale_row(const an_source_tensor *t)
{
    const source_scale *s = &t->form->scale;
    for (int64_t row = 0; s->data && row < t->n_row; row += s->block_rows)
        for (int64_t col = 0; col < t->n_col; col += s->block_cols)
            if (!isfinite(scale_at(s, row, col))) return row;
    return -1;
}

int64_t an_source_form_find_nonfinite(const an_source_tensor *t)
{
    unsigned char room[CHUNK * 4];
    float values[CHUNK];
    int64_t bad = bad_scale_row(t);
    for (int k = 0; bad < 0 && k < t->form->n_piece; k++) {
        const source_piece *p = &t->form->pieces[k];
        int64_t size = an_dtype_get(p->dtype)->block_bytes;
        for (int64_t row = 0; row < p->n_row; row++)
            for (int64_t col = 0, n; col < p->n_col; col += n) {
                n = p->n_col - col < CHUNK ? p->n_col - col : CHUNK;
                const unsigned char *at = elements(p, row, col, n, size, room);
                if (p->dtype == AN_DTYPE_F8_E4M3) {
                    if (find_nan(at, n) >= 0) return p->row0 + row;
                    continue;
                }
                float sum = 0; /* 0 * x is NaN for what is not finite */
                an_dequant(p->dtype, at, values, n);
                for (int64_t i = 0; i < n; i++)
                    sum += 0 * values[i];
                if (!(sum == 0)) return p->row0 + row;
            }
    }
    return bad;
}

void an_source_form_release(const an_source_tensor *t)
{
    for (int k = 0; k < t->form->n_piece; k++) {
        const source_piece *p = &t->form->pieces[k];
        int64_t last = (p->n_row - 1) * p->row_stride + (p->n_col - 1) * p->col_stride;
        an_file_release(p->data,
                        (uint64_t)(last + 1) * (uint64_t)an_dtype_get(p->dtype)->block_bytes);
    }
}
