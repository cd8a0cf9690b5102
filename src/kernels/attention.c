/* The cache's types and sizes, and attention: what is one call of a level's table. All arithmetic is in body/. */
#include "base/error.h"
#include "kernels/kv_layout.h"
#include "kernels/table.h"

#include <string.h>

static const char *const names[AN_KV_N] = {
    [AN_KV_F32] = "f32", [AN_KV_F16] = "f16", [AN_KV_BF16] = "bf16", [AN_KV_Q8_0] = "q8_0"};

const char *an_kv_name(an_kv_dtype type)
{
    return names[type];
}

bool an_kv_named(const char *name, an_kv_dtype *type)
{
    for (int i = 0; i < AN_KV_N; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *type = (an_kv_dtype)i;
        return true;
    }
    return false;
}

static size_t n_block(int n_pos)
{
    return ((size_t)n_pos + AN_KV_BLOCK - 1) / AN_KV_BLOCK;
}

size_t an_kv_key_bytes(an_kv_dtype type, int head_dim, int n_pos)
{
    return n_block(n_pos) * an_kv_key_block(type, head_dim);
}

size_t an_kv_value_bytes(an_kv_dtype type, int head_dim, int n_pos)
{
    return n_block(n_pos) * an_kv_value_block(type, head_dim);
}

void an_kv_store_key(const an_kernels *k, an_kv_dtype type, void *keys, int pos, const float *src, int head_dim)
{
    k->store_key(type, keys, pos, src, head_dim);
}

void an_kv_store_value(const an_kernels *k, an_kv_dtype type, void *values, int pos, const float *src, int head_dim)
{
    k->store_value(type, values, pos, src, head_dim);
}

size_t an_attention_part_floats(int head_dim)
{
    return AN_PART_HEAD + (size_t)an_kv_dim(head_dim);
}

size_t an_attention_scratch_bytes(int n_query, int head_dim)
{
    an_attention_plan plan = an_attention_plan_for(n_query, head_dim);
    return plan.n_float * sizeof(float);
}

void an_attention(const an_kernels *k, const an_attention_job *job)
{
    AN_ASSERT(job->head_dim % 2 == 0);
    k->attention(job);
}

void an_attention_chunks(const an_kernels *k, const an_attention_job *job, int first, int n_chunk, float *parts)
{
    AN_ASSERT(job->head_dim % 2 == 0);
    k->attention_chunks(job, first, n_chunk, parts);
}

void an_attention_merge(const an_kernels *k, float *out, float *parts, size_t stride, int n_chunk, int head_dim)
{
    k->attention_merge(out, parts, stride, n_chunk, head_dim);
}
