/*
 * The public side of the kernels: which level serves a CPU, and what is one call of its table. Products are in matmul.c.
 * All arithmetic is in body/, compiled once per level.
 */
#include "kernels/kernels.h"

#include "base/error.h"
#include "base/isa.h"
#include "kernels/act.h"
#include "kernels/table.h"

#include <string.h>

static const an_kernels *const levels[] = {
    &an_kernels_scalar,
#if defined(__x86_64__)
    &an_kernels_avx2,
    &an_kernels_avxvnni,
    &an_kernels_avx512vnni,
    &an_kernels_avx512bf16,
    &an_kernels_amx,
#elif defined(__aarch64__)
    &an_kernels_neon,
    &an_kernels_dotprod,
    &an_kernels_i8mm,
#endif
};

const an_kernels *const *an_kernels_levels(int *n)
{
    *n = (int)AN_COUNT_OF(levels);
    return levels;
}

const an_kernels *an_kernels_for(uint32_t isa_mask)
{
    const an_kernels *best = levels[0];
    for (size_t i = 1; i < AN_COUNT_OF(levels); i++)
        if ((levels[i]->needs & ~isa_mask) == 0) best = levels[i];
    return best;
}

bool an_kernels_isa_mask(const char *name, uint32_t *mask)
{
    enum {
        AVX2 = AN_ISA_SSE42 | AN_ISA_AVX2,
        AVXVNNI = AVX2 | AN_ISA_AVX_VNNI,
        AVX512 = AVX2 | AN_ISA_AVX512,
        AVX512VNNI = AVX512 | AN_ISA_AVX512_VNNI,
        AVX512BF16 = AVX512VNNI | AN_ISA_AVX512_BF16,
        AMX = AVX512BF16 | AN_ISA_AVX512_VBMI | AN_ISA_AMX_BF16,
        DOTPROD = AN_ISA_NEON | AN_ISA_DOTPROD,
    };
    static const struct {
        const char *name;
        uint32_t mask;
    } names[] = {
        {"scalar", 0},
        {"avx2", AVX2},
        {"avxvnni", AVXVNNI},
        {"avx512", AVX512},
        {"avx512vnni", AVX512VNNI},
        {"avx512bf16", AVX512BF16},
        {"amx", AMX},
        {"neon", AN_ISA_NEON},
        {"dotprod", DOTPROD},
        {"i8mm", DOTPROD | AN_ISA_I8MM},
    };
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        if (!strcmp(name, names[i].name)) {
            *mask = names[i].mask;
            return true;
        }
    }
    return false;
}

const char *an_kernels_name(const an_kernels *k)
{
    return k->name;
}

an_compute an_kernels_default_compute(const an_kernels *k)
{
    return k->default_compute;
}

bool an_kernels_can(const an_kernels *k, an_compute compute)
{
    if (compute == AN_COMPUTE_BF16) return k->wide;
    return compute == AN_COMPUTE_F32 || k->default_compute != AN_COMPUTE_F32;
}

an_compute an_kernels_compute(an_compute asked, int n_tok)
{
    return asked == AN_COMPUTE_BF16 && n_tok <= AN_SMALL_TOKENS ? AN_COMPUTE_Q8 : asked;
}

static const char *const compute_names[] = {
    [AN_COMPUTE_F32] = "f32", [AN_COMPUTE_Q8] = "q8", [AN_COMPUTE_BF16] = "q8+bf16"};

const char *an_compute_name(an_compute compute)
{
    return compute_names[compute];
}

bool an_compute_from_name(const char *name, an_compute *compute)
{
    for (size_t i = 0; i < AN_COUNT_OF(compute_names); i++) {
        if (!strcmp(name, compute_names[i])) {
            *compute = (an_compute)i;
            return true;
        }
    }
    return false;
}

const char *an_kernels_serving(const an_kernels *k, const char *op)
{
    static const char *const plain[] = {"rms_norm", "silu_mul", "rope", "kv_store", "quantize",
                                        "attention_f32", "attention_f16", "attention_bf16", "attention_q8_0",
                                        "matmul_affine"};
    for (size_t i = 0; i < AN_COUNT_OF(plain); i++)
        if (!strcmp(op, plain[i])) return k->name;
    if (strncmp(op, "matmul_", 7)) return NULL;
    for (int type = 0; type < AN_DTYPE_N; type++) {
        const an_dtype_info *info = an_dtype_get((an_dtype)type);
        if (!info->weight) continue;
        size_t i = 0;
        while (info->name[i] && (info->name[i] | 0x20) == (op[7 + i] | 0x20)) i++;
        if (!info->name[i] && !op[7 + i]) return k->name;
    }
    return NULL;
}

void an_rms_norm(const an_kernels *k, float *out, const float *x, const float *weight, int n, float eps)
{
    k->rms_norm(out, x, weight, n, eps);
}

void an_silu_mul(const an_kernels *k, float *out, const float *gate, const float *up, int n)
{
    k->silu_mul(out, gate, up, n);
}

void an_rope_head(const an_kernels *k, float *out, const float *x, an_rope_rows rows, const float *cos,
                  const float *sin, int head_dim)
{
    k->rope_head(out, x, rows, cos, sin, head_dim);
}
