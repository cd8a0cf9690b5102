/* Streams of random bits, and blocks made of them. */
#include "convert/synth_random.h"

#include "base/bytes.h"
#include "base/error.h"
#include "quant/half.h"

#include <math.h>
#include <string.h>

enum { LANES = 4, CODES = 1, SCALES = 2 };

/* One register of any instruction set, as lanes of several widths; gcc and clang make the same of them. */
typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(16)));
typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint8_t bytes8 __attribute__((vector_size(8)));

static uint64_t mix(uint64_t *x)
{
    uint64_t z = *x += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

uint64_t an_synth_key(const char *gguf_name, uint64_t seed)
{
    uint64_t h = 0xCBF29CE484222325u, x = seed;
    for (const char *p = gguf_name; *p; p++) h = (h ^ (unsigned char)*p) * 0x100000001B3u;
    return mix(&x) ^ mix(&h);
}

/* Doty-Humphrey's sfc32, eight generators side by side; 3 words of state of each from splitmix64. */
typedef struct stream {
    lanes a[2], b[2], c[2];
} stream;

static void stream_seed(stream *s, uint64_t key, uint64_t cell, int which)
{
    uint64_t x = key ^ (cell * 4 + (uint64_t)which) * 0xD1342543DE82EF95u;
    lanes *words[] = {s->a, s->b, s->c};
    for (int w = 0; w < 3; w++)
        for (int g = 0; g < 2; g++)
            for (int i = 0; i < LANES; i += 2) {
                uint64_t r = mix(&x);
                words[w][g][i] = (uint32_t)r;
                words[w][g][i + 1] = (uint32_t)(r >> 32);
            }
}

/* n is a multiple of 32. */
static void random_bytes(uint64_t key, uint64_t cell, int which, unsigned char *out, size_t n)
{
    stream s;
    stream_seed(&s, key, cell, which);
    lanes a0 = s.a[0], b0 = s.b[0], c0 = s.c[0], a1 = s.a[1], b1 = s.b[1], c1 = s.c[1];
    lanes count = {1, 1, 1, 1}, one = count;
    for (size_t at = 0; at < n; at += 2 * sizeof(lanes)) {
        lanes r0 = a0 + b0 + count, r1 = a1 + b1 + count;
        count += one;
        a0 = b0 ^ b0 >> 9;
        a1 = b1 ^ b1 >> 9;
        b0 = c0 + (c0 << 3);
        b1 = c1 + (c1 << 3);
        c0 = (c0 << 21 | c0 >> 11) + r0;
        c1 = (c1 << 21 | c1 >> 11) + r1;
        memcpy(out + at, &r0, sizeof r0);
        memcpy(out + at + sizeof r0, &r1, sizeof r1);
    }
}

/* ---------------------------------------------------------------------------------------------------------- the forms */

/*
 * Root mean square of a value whose scale is 1, when its codes are evenly spread and, for types with a minimum, that is half
 * the range. Scales within a K block add theirs: 6 bits from 32 on, 8 bits of magnitude 64 to 128, 6 bits signed, 3 bits
 * from 8 on.
 */
static double code_rms(an_dtype dtype)
{
    switch (dtype) {
    case AN_DTYPE_Q4_0: return 4.64;
    case AN_DTYPE_Q4_1: return 4.61;
    case AN_DTYPE_Q5_0: return 9.25;
    case AN_DTYPE_Q5_1: return 9.23;
    case AN_DTYPE_Q8_0: return 73.6;
    case AN_DTYPE_Q2_K: return 1.118 * 11.7;
    case AN_DTYPE_Q3_K: return 2.345 * 18.5;
    case AN_DTYPE_Q4_K: return 4.61 * 48.4;
    case AN_DTYPE_Q5_K: return 9.23 * 48.4;
    case AN_DTYPE_Q6_K: return 18.5 * 97.8;
    case AN_DTYPE_IQ4_NL: return 69.9;
    case AN_DTYPE_IQ4_XS: return 69.9 * 18.5;
    default: return 1;
    }
}

/* Minimum over scale of the types that have one, so that values are even about zero; 0 for the others. */
static double centre(an_dtype dtype)
{
    switch (dtype) {
    case AN_DTYPE_Q4_1: return -7.5;
    case AN_DTYPE_Q5_1: return -15.5;
    case AN_DTYPE_Q2_K: return 1.5;
    case AN_DTYPE_Q4_K: return 7.5;
    case AN_DTYPE_Q5_K: return 15.5;
    default: return 0;
    }
}

/*
 * Quantiles of the half-normal distribution at the middles of equal shares: with x the quantile and y = exp(x^2 / 2), the
 * share p obeys dx/dp = c y and dy/dp = c x y^2, c = sqrt(pi / 2). Solved by Runge-Kutta steps of additions and products
 * only, which are the same everywhere, as a library's logarithm is not.
 */
static void fill_quantiles(an_synth_form *f, double sigma)
{
    enum { STEPS = 4 };
    const double c = 1.2533141373155001, h = 0.5 / AN_SYNTH_QUANTILES / STEPS;
    double x = 0, y = 1;
    for (int i = 0; i < AN_SYNTH_QUANTILES; i++) {
        for (int k = 0; k < (i ? 2 * STEPS : STEPS); k++) {
            double x1 = c * y, y1 = c * x * y * y;
            double u = x + h / 2 * x1, v = y + h / 2 * y1;
            double x2 = c * v, y2 = c * u * v * v;
            u = x + h / 2 * x2, v = y + h / 2 * y2;
            double x3 = c * v, y3 = c * u * v * v;
            u = x + h * x3, v = y + h * y3;
            x += h / 6 * (x1 + 2 * x2 + 2 * x3 + c * v);
            y += h / 6 * (y1 + 2 * y2 + 2 * y3 + c * u * v * v);
        }
        float value = (float)(x * sigma);
        if (f->dtype == AN_DTYPE_F16) f->quantiles[i] = an_f16_from_f32(value);
        else if (f->dtype == AN_DTYPE_BF16) f->quantiles[i] = an_bf16_from_f32(value);
        else f->quantiles[i] = an_f32_bits(value);
    }
}

/* Bit k of the index as bit 5k + 4. */
static uint64_t spread_byte(unsigned b)
{
    uint64_t v = 0;
    for (int k = 0; k < 8; k++) v |= (uint64_t)(b >> k & 1) << (5 * k + 4);
    return v;
}

void an_synth_form_init(an_synth_form *f, an_dtype dtype, int bits, int group, int64_t n_col)
{
    double sigma = 1 / sqrt((double)n_col), zero = centre(dtype), rms = code_rms(dtype);
    *f = (an_synth_form){.dtype = dtype, .n_col = n_col, .scale_dtype = AN_DTYPE_F16};
    switch (dtype) {
    case AN_DTYPE_Q4_0:
    case AN_DTYPE_Q4_1: f->bits = 4; break;
    case AN_DTYPE_Q5_0:
    case AN_DTYPE_Q5_1: f->bits = 5; break;
    case AN_DTYPE_Q8_0: f->bits = 8; break;
    case AN_DTYPE_Q4_K:
    case AN_DTYPE_Q5_K:
        f->bits = dtype == AN_DTYPE_Q4_K ? 4 : 5;
        f->scale_dtype = AN_DTYPE_F32;
        break;
    case AN_DTYPE_AFFINE:
        f->bits = bits;
        f->scale_dtype = AN_DTYPE_BF16;
        rms = sqrt(((1 << 2 * bits) - 1) / 12.0);
        zero = -((1 << bits) - 1) / 2.0;
        break;
    default: break;
    }
    f->group = dtype == AN_DTYPE_AFFINE ? group : 32;
    for (unsigned b = 0; b < AN_COUNT_OF(f->fifth_bits); b++) f->fifth_bits[b] = spread_byte(b);
    if (dtype <= AN_DTYPE_BF16) {
        fill_quantiles(f, sigma);
        return;
    }
    for (int i = 0; i < AN_SYNTH_LEVELS; i++) {
        /* From three to five quarters of the spread. */
        float d = (float)(sigma / rms * (0.75 + i / 512.0));
        uint16_t (*round)(float) = dtype == AN_DTYPE_AFFINE ? an_bf16_from_f32 : an_f16_from_f32;
        f->levels[i].d = round(d);
        f->levels[i].m = round((float)(zero * (double)d));
        if (dtype == AN_DTYPE_Q4_0 || dtype == AN_DTYPE_Q5_0 || dtype == AN_DTYPE_Q8_0) {
            /* What the affine form adds, exact in f16. */
            float offset = dtype == AN_DTYPE_Q4_0 ? -8 : dtype == AN_DTYPE_Q5_0 ? -16 : -128;
            f->levels[i].m = round(offset * an_f32_from_f16(f->levels[i].d));
        }
    }
}

/* --------------------------------------------------------------------------------------------------------- the blocks */

/* Is the sign of a block's scale random? Where the codes reach further down than up, that takes the lean out of a row. */
static bool is_signed(an_dtype dtype)
{
    return dtype == AN_DTYPE_Q4_0 || dtype == AN_DTYPE_Q5_0 || dtype == AN_DTYPE_Q8_0;
}

enum { SIGN = 0x8000 };

/* The scale and the bias of one block by the 16 bits that the scales' stream has for it. */
static uint16_t level_d(const an_synth_form *f, unsigned r)
{
    return (uint16_t)(f->levels[r % AN_SYNTH_LEVELS].d | (is_signed(f->dtype) ? r & SIGN : 0));
}

static uint16_t level_m(const an_synth_form *f, unsigned r)
{
    return (uint16_t)(f->levels[r % AN_SYNTH_LEVELS].m ^ (is_signed(f->dtype) ? r & SIGN : 0));
}

/* Codes of Q8_0 without -128, which no encoder makes and some kernels do not expect. n is a multiple of 16. */
static void avoid_lowest(unsigned char *p, size_t n)
{
    for (bytes16 v; n > 0; n -= sizeof v, p += sizeof v) {
        memcpy(&v, p, sizeof v);
        v -= (bytes16)(v == 0x80);
        memcpy(p, &v, sizeof v);
    }
}

/* The codes of a cell in GGUF's order, the places of scales filled with rubbish. */
static void raw_blocks(const an_synth_form *f, uint64_t key, uint64_t cell, unsigned char *out)
{
    const an_dtype_info *info = an_dtype_get(f->dtype);
    size_t n = (size_t)(AN_SYNTH_CELL / info->block_elems * info->block_bytes);
    random_bytes(key, cell, CODES, out, n);
    if (f->dtype == AN_DTYPE_Q8_0) avoid_lowest(out, n);
}

/* Q4_K's and Q5_K's eight scales, each at least 32, and the minima equal to them: w holds 2 words. */
static void k_scales(const uint32_t *w, unsigned char *out)
{
    uint32_t low = w[0] | 0xA0A0A0A0u, nibbles = w[1] & 0x0F0F0F0Fu;
    nibbles |= nibbles << 4;
    memcpy(out, &low, 4);
    memcpy(out + 4, &low, 4);
    memcpy(out + 8, &nibbles, 4);
}

enum { K_WORDS = 4, K_BLOCKS = AN_SYNTH_CELL / 256, LEGACY_BLOCKS = AN_SYNTH_CELL / 32 };

static void put_u16(unsigned char *at, unsigned v)
{
    uint16_t u = (uint16_t)v;
    memcpy(at, &u, 2);
}

/* The scales of types that MLX has as well, from the stream of scales. */
static void put_shared_scales(const an_synth_form *f, uint64_t key, uint64_t cell, unsigned char *out)
{
    size_t bytes = (size_t)an_dtype_get(f->dtype)->block_bytes;
    if (f->scale_dtype == AN_DTYPE_F32) {
        uint32_t w[K_BLOCKS * K_WORDS];
        random_bytes(key, cell, SCALES, (unsigned char *)w, sizeof w);
        for (size_t i = 0; i < K_BLOCKS; i++, out += bytes) {
            put_u16(out, f->levels[w[i * K_WORDS] % AN_SYNTH_LEVELS].d);
            put_u16(out + 2, f->levels[w[i * K_WORDS] % AN_SYNTH_LEVELS].m);
            k_scales(w + i * K_WORDS + 1, out + 4);
        }
        return;
    }
    uint16_t r[LEGACY_BLOCKS];
    bool minimum = f->dtype == AN_DTYPE_Q4_1 || f->dtype == AN_DTYPE_Q5_1;
    random_bytes(key, cell, SCALES, (unsigned char *)r, sizeof r);
    for (size_t i = 0; i < LEGACY_BLOCKS; i++, out += bytes) {
        put_u16(out, level_d(f, r[i]));
        if (minimum) put_u16(out + 2, level_m(f, r[i]));
    }
}

/* Scales of the types that GGUF alone has, out of the random bits that lie in their places. */
static void put_own_scales(const an_synth_form *f, unsigned char *out)
{
    const an_dtype_info *info = an_dtype_get(f->dtype);
    size_t bytes = (size_t)info->block_bytes, n = (size_t)(AN_SYNTH_CELL / info->block_elems);
    size_t at = f->dtype == AN_DTYPE_Q2_K ? 80 : f->dtype == AN_DTYPE_Q3_K ? 108 : f->dtype == AN_DTYPE_Q6_K ? 208 : 0;
    bool flip = f->dtype == AN_DTYPE_IQ4_NL;
    for (size_t i = 0; i < n; i++, out += bytes) {
        uint64_t s[2];
        unsigned r = an_load_u16(out + at);
        put_u16(out + at, f->levels[r % AN_SYNTH_LEVELS].d | (flip ? r & SIGN : 0));
        if (f->dtype == AN_DTYPE_Q2_K) { /* scale and minimum alike, 8 to 15 */
            put_u16(out + at + 2, f->levels[r % AN_SYNTH_LEVELS].m);
            memcpy(s, out, 16);
            for (int k = 0; k < 2; k++) {
                s[k] = (s[k] & 0x0707070707070707u) | 0x0808080808080808u;
                s[k] |= s[k] << 4;
            }
            memcpy(out, s, 16);
        }
        if (f->dtype == AN_DTYPE_Q6_K) { /* magnitudes from 64 on, of either sign */
            memcpy(s, out + 192, 16);
            for (int k = 0; k < 2; k++)
                s[k] = (s[k] & 0xBFBFBFBFBFBFBFBFu) | (~s[k] >> 1 & 0x4040404040404040u);
            memcpy(out + 192, s, 16);
        }
    }
}

static void float_cell(const an_synth_form *f, uint64_t key, uint64_t cell, unsigned char *out)
{
    uint16_t r[AN_SYNTH_CELL / 8];
    /* A part of the cell at a time, each part with a number of its own, so that the bits stay near. */
    for (uint64_t part = 0; part < 8; part++) {
        random_bytes(key, cell * 8 + part, CODES, (unsigned char *)r, sizeof r);
        if (f->dtype == AN_DTYPE_F32) {
            for (size_t i = 0; i < AN_COUNT_OF(r); i++, out += 4) {
                uint32_t v = f->quantiles[r[i] % AN_SYNTH_QUANTILES] | (uint32_t)(r[i] & SIGN) << 16;
                memcpy(out, &v, 4);
            }
        } else {
            for (size_t i = 0; i < AN_COUNT_OF(r); i++, out += 2)
                put_u16(out, f->quantiles[r[i] % AN_SYNTH_QUANTILES] | (r[i] & SIGN));
        }
    }
}

/* ------------------------------------------------------------------------------------------------------ affine groups */

/* The low (shift 0) or high (shift 4) halves of 16 bytes as 8 bytes. */
static void pack_nibbles(const unsigned char *qs, int shift, unsigned char *out)
{
    halves v;
    memcpy(&v, qs, sizeof v);
    v = v >> shift & 0x0F0F;
    v = (v | v >> 4) & 0xFF;
    bytes8 packed = __builtin_convertvector(v, bytes8);
    memcpy(out, &packed, sizeof packed);
}

/* 8 codes of 4 bits, drawn apart by halves, and their 8 fifth bits, which `fifth` has spread, as 5 bytes. */
static void put_5_bits(uint32_t low, uint64_t fifth, unsigned char *out)
{
    const uint64_t two = 1 | 1u << 20, four = two | two << 10;
    uint64_t v = low;
    v = (v & 0xFFFF) | (v & 0xFFFF0000u) << 4;
    v = (v & 0xFF * two) | (v & 0xFF00 * two) << 2;
    v = (v & 0xF * four) | (v & 0xF0 * four) << 1 | fifth;
    uint32_t head = (uint32_t)v;
    memcpy(out, &head, 4);
    out[4] = (unsigned char)(v >> 32);
}

/* Bit `which` of each of 8 bytes as one byte. */
static uint32_t gather_bits(uint64_t x, int which)
{
    return (uint32_t)((x >> which & 0x0101010101010101u) * 0x0102040810204080u >> 56);
}

/* 32 codes in MLX's order from 16 bytes that hold them packed, with fifth bits when `spread` is there. */
static void put_group(const unsigned char *low, const uint64_t *spread, uint32_t high, unsigned char *out)
{
    if (!spread) {
        memcpy(out, low, 16);
        return;
    }
    for (int k = 0; k < 4; k++) put_5_bits(an_load_u32(low + 4 * k), spread[high >> 8 * k & 0xFF], out + 5 * k);
}

/* A Q4_0, Q4_1, Q5_0 or Q5_1 block: element e and e + 16 share a byte. */
static void put_legacy_codes(const unsigned char *qs, const uint64_t *spread, uint32_t high, unsigned char *out)
{
    unsigned char low[16];
    pack_nibbles(qs, 0, low);
    pack_nibbles(qs, 4, low + 8);
    put_group(low, spread, high, out);
}

static void put_k_codes(const unsigned char *block, const uint64_t *spread, unsigned char *out)
{
    const unsigned char *qs = block + (spread ? 48 : 16), *qh = block + 16;
    for (int j = 0; j < 8; j++, out += spread ? 20 : 16) {
        unsigned char low[16];
        uint32_t high = 0;
        for (int k = 0; k < 4 && spread; k++) high |= gather_bits(an_load_u64(qh + 8 * k), j) << 8 * k;
        for (int k = 0; k < 2; k++) pack_nibbles(qs + 32 * (j / 2) + 16 * k, j % 2 ? 4 : 0, low + 8 * k);
        put_group(low, spread, high, out);
    }
}

static void put_8_bits(const unsigned char *qs, unsigned char *out)
{
    for (int k = 0; k < 32; k += 8) {
        uint64_t v = an_load_u64(qs + k) ^ 0x8080808080808080u;
        memcpy(out + k, &v, 8);
    }
}

static void code_cell(const an_synth_form *f, uint64_t key, uint64_t cell, unsigned char *out)
{
    unsigned char raw[AN_SYNTH_CELL / 32 * 34];
    const uint64_t *spread = f->bits == 5 ? f->fifth_bits : NULL;
    if (f->dtype == AN_DTYPE_AFFINE) {
        random_bytes(key, cell, CODES, out, (size_t)(AN_SYNTH_CELL / 8 * f->bits));
        return;
    }
    const an_dtype_info *info = an_dtype_get(f->dtype);
    int n = AN_SYNTH_CELL / info->block_elems, code_bytes = info->block_elems / 8 * f->bits;
    raw_blocks(f, key, cell, raw);
    const unsigned char *block = raw;
    for (int i = 0; i < n; i++, block += info->block_bytes, out += code_bytes) {
        switch (f->dtype) {
        case AN_DTYPE_Q4_0: put_legacy_codes(block + 2, NULL, 0, out); break;
        case AN_DTYPE_Q4_1: put_legacy_codes(block + 4, NULL, 0, out); break;
        case AN_DTYPE_Q5_0: put_legacy_codes(block + 6, spread, an_load_u32(block + 2), out); break;
        case AN_DTYPE_Q5_1: put_legacy_codes(block + 8, spread, an_load_u32(block + 4), out); break;
        case AN_DTYPE_Q8_0: put_8_bits(block + 2, out); break;
        default: put_k_codes(block, spread, out); break;
        }
    }
}

/* Scale or bias of every group of a K cell, each the exact product of the block's and the group's. */
static void k_scale_cell(const an_synth_form *f, bool biases, uint64_t key, uint64_t cell, unsigned char *out)
{
    uint32_t w[K_BLOCKS * K_WORDS];
    unsigned char s[12];
    random_bytes(key, cell, SCALES, (unsigned char *)w, sizeof w);
    for (size_t i = 0; i < K_BLOCKS; i++) {
        size_t level = w[i * K_WORDS] % AN_SYNTH_LEVELS;
        float whole = an_f32_from_f16(biases ? f->levels[level].m : f->levels[level].d);
        k_scales(w + i * K_WORDS + 1, s);
        for (int j = 0; j < 8; j++, out += 4) {
            int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
            float v = whole * (float)(biases ? -sc : sc);
            memcpy(out, &v, 4);
        }
    }
}

static void scale_cell(const an_synth_form *f, bool biases, uint64_t key, uint64_t cell, unsigned char *out)
{
    if (f->scale_dtype == AN_DTYPE_F32) {
        k_scale_cell(f, biases, key, cell, out);
        return;
    }
    uint16_t r[LEGACY_BLOCKS];
    int n = AN_SYNTH_CELL / f->group;
    random_bytes(key, cell, SCALES, (unsigned char *)r, sizeof r);
    for (int i = 0; i < n; i++, out += 2) put_u16(out, biases ? level_m(f, r[i]) : level_d(f, r[i]));
}

/* ----------------------------------------------------------------------------------------------------------- the whole */

void an_synth_unit(const an_synth_form *f, an_synth_part part, int *elems, int *bytes)
{
    const an_dtype_info *info = an_dtype_get(f->dtype);
    switch (part) {
    case AN_SYNTH_BLOCKS: *elems = info->block_elems, *bytes = info->block_bytes; break;
    case AN_SYNTH_CODES: *elems = f->group, *bytes = f->group / 8 * f->bits; break;
    case AN_SYNTH_ONES: *elems = 1, *bytes = info->block_bytes; break;
    default: *elems = f->group, *bytes = f->scale_dtype == AN_DTYPE_F32 ? 4 : 2; break;
    }
}

static void ones_cell(an_dtype dtype, unsigned char *out)
{
    const float one = 1;
    for (size_t i = 0; i < AN_SYNTH_CELL; i++) {
        if (dtype == AN_DTYPE_F32) memcpy(out + 4 * i, &one, 4);
        else put_u16(out + 2 * i, dtype == AN_DTYPE_F16 ? 0x3C00 : 0x3F80);
    }
}

void an_synth_cell(const an_synth_form *f, an_synth_part part, uint64_t key, uint64_t cell, unsigned char *out)
{
    switch (part) {
    case AN_SYNTH_BLOCKS:
        if (f->dtype <= AN_DTYPE_BF16) {
            float_cell(f, key, cell, out);
        } else {
            raw_blocks(f, key, cell, out);
            if (f->bits) put_shared_scales(f, key, cell, out);
            else put_own_scales(f, out);
        }
        break;
    case AN_SYNTH_CODES: code_cell(f, key, cell, out); break;
    case AN_SYNTH_SCALES: scale_cell(f, false, key, cell, out); break;
    case AN_SYNTH_BIASES: scale_cell(f, true, key, cell, out); break;
    case AN_SYNTH_ONES: ones_cell(f->dtype, out); break;
    }
}
