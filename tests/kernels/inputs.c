/* Memory with guard pages, random weights and activations. */
#include "kernels/kcheck.h"

#include "quant/half.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const struct fp_mode fp_modes[FP_MODES] = {
    {AN_DTYPE_MXFP4, {.bits = 4, .group = 32, .scale_dtype = AN_DTYPE_U8}},
    {AN_DTYPE_MXFP8, {.bits = 8, .group = 32, .scale_dtype = AN_DTYPE_U8}},
    {AN_DTYPE_NVFP4, {.bits = 4, .group = 16, .scale_dtype = AN_DTYPE_U8}},
};

guarded guarded_alloc(size_t n, bool at_start)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (n + page - 1) / page * page;
    guarded g = {.n = n, .map_bytes = body + 2 * page};
    g.map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    mprotect(g.map, page, PROT_NONE);
    mprotect((char *)g.map + page + body, page, PROT_NONE);
    g.p = (char *)g.map + page + (at_start ? 0 : body - n);
    return g;
}

void guarded_free(guarded *g)
{
    if (g->map) munmap(g->map, g->map_bytes);
    memset(g, 0, sizeof *g);
}

float random_normal(kcheck *c)
{
    double u = 1 - an_rng_f64(&c->rng), v = an_rng_f64(&c->rng);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

void fill_floats(kcheck *c, float *x, size_t n, int style)
{
    for (size_t i = 0; i < n; i++) x[i] = style == 3 ? 0 : random_normal(c);
    switch (style) {
    case 1: /* heavy outliers */
        for (size_t i = 0; i < n; i += 1 + an_rng_below(&c->rng, 64)) x[i] *= 300;
        break;
    case 2: /* one-hot, at either end of every 32 */
        for (size_t i = 0; i < n; i++) x[i] = i % 32 == (i / 32 % 2 ? 31 : 0) ? x[i] : 0;
        break;
    case 4: /* magnitudes from 1e-20 to 1e10 */
        for (size_t i = 0; i < n; i++) x[i] *= (float)pow(10, (double)(i / 32 % 31) - 20);
        break;
    default: break;
    }
}

/* A finite number of a float type, of a size that weights' scales have. */
static void put_scale(kcheck *c, an_dtype type, uint8_t *p, int style)
{
    float f = random_normal(c) * 0.02f;
    if (style == 4) f = (float)ldexp(an_rng_f64(&c->rng) - 0.5, (int)an_rng_below(&c->rng, 28) - 20);
    if (style == 3 && an_rng_below(&c->rng, 4) == 0) f = 0;
    uint16_t h = type == AN_DTYPE_BF16 ? an_bf16_from_f32(f) : an_f16_from_f32(f);
    if (type == AN_DTYPE_F32) memcpy(p, &f, 4);
    else memcpy(p, &h, 2);
}

static void f16_fields(an_dtype type, int at[2])
{
    at[0] = type == AN_DTYPE_Q2_K ? 80 : type == AN_DTYPE_Q3_K ? 108 : type == AN_DTYPE_Q6_K ? 208 : 0;
    at[1] = type == AN_DTYPE_Q2_K ? 82 : -1;
    if (type == AN_DTYPE_Q4_1 || type == AN_DTYPE_Q5_1 || type == AN_DTYPE_Q4_K || type == AN_DTYPE_Q5_K)
        at[1] = 2;
}

static void fill_blocks(kcheck *c, const test_weight *t, int style)
{
    const an_dtype_info *info = an_dtype_get(t->w.dtype);
    uint8_t *p = t->data.p;
    for (size_t i = 0; i < t->data.n; i++)
        p[i] = style == 1 ? 0xFF : style == 2 ? 0x80 : (uint8_t)an_rng_u64(&c->rng);
    if (t->w.dtype == AN_DTYPE_AFFINE) {
        int size = an_dtype_get(t->w.affine.scale_dtype)->block_bytes;
        for (size_t i = 0; i < t->scales.n; i += (size_t)size) {
            put_scale(c, t->w.affine.scale_dtype, (uint8_t *)t->scales.p + i, style);
            put_scale(c, t->w.affine.scale_dtype, (uint8_t *)t->biases.p + i, style);
        }
        return;
    }
    if (an_dtype_is_fp_mode(t->w.dtype)) {
        /* Scales of a byte are exponents, which any byte would make too large, or E4M3 numbers, of which two are NaN. */
        bool nv = t->w.dtype == AN_DTYPE_NVFP4;
        for (size_t i = 0; i < t->scales.n; i++) {
            uint8_t *scale = (uint8_t *)t->scales.p + i;
            *scale = (uint8_t)(nv ? an_rng_below(&c->rng, 127) | an_rng_below(&c->rng, 2) << 7 : 115 + an_rng_below(&c->rng, 16));
            if (style == 3 && an_rng_below(&c->rng, 4) == 0) *scale = 0;
        }
        /* Of MXFP8's codes two are NaN as well. */
        for (size_t i = 0; t->w.affine.bits == 8 && i < t->data.n; i++)
            if ((p[i] & 0x7F) == 0x7F) p[i] ^= 1;
        return;
    }
    if (info->block_elems == 1) {
        for (size_t i = 0; i < t->data.n; i += (size_t)info->block_bytes) put_scale(c, t->w.dtype, p + i, style);
        return;
    }
    if (t->w.dtype == AN_DTYPE_GGML_MXFP4) {
        /* An exponent of two is its scale; any byte would give sums beyond the range of a float. */
        for (size_t i = 0; i < t->data.n; i += (size_t)info->block_bytes) p[i] = (uint8_t)(115 + an_rng_below(&c->rng, 16));
        return;
    }
    int at[2];
    f16_fields(t->w.dtype, at);
    for (size_t i = 0; i < t->data.n; i += (size_t)info->block_bytes)
        for (int f = 0; f < 2; f++)
            if (at[f] >= 0) put_scale(c, AN_DTYPE_F16, p + i + at[f], style);
}

test_weight weight_make(kcheck *c, an_dtype type, an_affine affine, int64_t n_row, int64_t n_col, int style,
                        bool at_start)
{
    const an_dtype_info *info = an_dtype_get(type);
    test_weight t = {.w = {.dtype = type, .n_row = n_row, .n_col = n_col, .affine = affine}};
    t.w.row_bytes = an_dtype_is_mlx(type) ? (uint64_t)(n_col * affine.bits / 8)
                                          : (uint64_t)(n_col / info->block_elems * info->block_bytes);
    t.data = guarded_alloc((size_t)n_row * t.w.row_bytes, at_start);
    t.w.data = t.data.p;
    if (an_dtype_is_mlx(type)) {
        size_t n = (size_t)(n_row * (n_col / affine.group) * an_dtype_get(affine.scale_dtype)->block_bytes);
        t.scales = guarded_alloc(n, at_start);
        t.w.affine.scales = t.scales.p;
        if (type == AN_DTYPE_AFFINE) t.biases = guarded_alloc(n, at_start);
        t.w.affine.biases = t.biases.p;
    }
    fill_blocks(c, &t, style);
    return t;
}

void weight_free(test_weight *t)
{
    guarded_free(&t->data);
    guarded_free(&t->scales);
    guarded_free(&t->biases);
}
