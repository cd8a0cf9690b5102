/*
 * A narrow C interface to libmlx, whose own public interface is C++: just the operations that the
 * Mistral model of mlx_model.c needs. mlx_bridge.cpp, the project's only C++ file, implements it.
 *
 * Handles are passed by value and hold one owned C++ object; `{NULL}` is the empty handle. Each
 * handle that a call gives is freed once with its own _free. Operations are lazy, as in MLX: shapes
 * are checked at once, values come into being in an_mlx_eval, an_mlx_async_eval or the calls that
 * read them. No C++ exception leaves the bridge: each becomes a status and a message. Calls come
 * from one thread.
 */
#ifndef AN_DRIVERS_MLX_BRIDGE_H
#define AN_DRIVERS_MLX_BRIDGE_H

#include "anemo/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct an_mlx_array {
    void *ctx;
} an_mlx_array;

/* Named arrays from safetensors files. */
typedef struct an_mlx_weights {
    void *ctx;
} an_mlx_weights;

typedef enum an_mlx_dtype {
    AN_MLX_BOOL, /* one byte */
    AN_MLX_I32,
    AN_MLX_U32,
    AN_MLX_F32,
    AN_MLX_F16,
    AN_MLX_BF16,
    AN_MLX_OTHER /* any other; never an argument */
} an_mlx_dtype;

const char *an_mlx_version(void);       /* of the library that is loaded: "0.32.4" */
const char *an_mlx_version_built(void); /* of the headers that this was compiled against */
int64_t an_mlx_live_handles(void);      /* handles given and not yet freed, for leak checks */

/* "metal" or "cuda" when the library can use a GPU, else NULL. */
const char *an_mlx_gpu_name(void);
/* What later calls run on. */
ANEMO_MUST_CHECK anemo_status an_mlx_use_gpu(bool gpu, anemo_error *err);

typedef struct an_mlx_memory {
    uint64_t active_bytes, peak_bytes, cache_bytes; /* of MLX's allocator */
} an_mlx_memory;
ANEMO_MUST_CHECK anemo_status an_mlx_memory_get(an_mlx_memory *out, anemo_error *err);
/* Give unused buffers back to the system. A failure may be ignored. */
anemo_status an_mlx_clear_cache(anemo_error *err);

/* Add all tensors of one safetensors file to *w, which is made when it is empty. Data are read when
 * evaluated. */
ANEMO_MUST_CHECK anemo_status an_mlx_weights_load(an_mlx_weights *w, const char *file,
                                                  anemo_error *err);
/* ERR_NOTFOUND when there is none of that name. */
ANEMO_MUST_CHECK anemo_status an_mlx_weights_get(an_mlx_array *out, an_mlx_weights w,
                                                 const char *name, anemo_error *err);
void an_mlx_weights_free(an_mlx_weights *w);

/* Copies the data: shape's product elements of dtype, which is one of BOOL, I32, U32, F32. */
ANEMO_MUST_CHECK anemo_status an_mlx_array_new(an_mlx_array *out, const void *data,
                                               const int *shape, size_t n_dim, an_mlx_dtype dtype,
                                               anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_zeros(an_mlx_array *out, const int *shape, size_t n_dim,
                                           an_mlx_dtype dtype, anemo_error *err);
void an_mlx_array_free(an_mlx_array *a); /* empties the handle; an empty one is fine */

size_t an_mlx_n_dim(an_mlx_array a);
int an_mlx_dim(an_mlx_array a, size_t i); /* 0 when there is no such dimension */
an_mlx_dtype an_mlx_dtype_of(an_mlx_array a);

/* Start, or finish, the computation of n arrays. */
ANEMO_MUST_CHECK anemo_status an_mlx_async_eval(const an_mlx_array *a, size_t n, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_eval(const an_mlx_array *a, size_t n, anemo_error *err);
/* Wait for all that was started. A failure may be ignored by who is about to close. */
anemo_status an_mlx_synchronize(anemo_error *err);

/* Evaluate and copy out as f32, row-major; n must be the number of elements. */
ANEMO_MUST_CHECK anemo_status an_mlx_copy_f32(float *out, size_t n, an_mlx_array a,
                                              anemo_error *err);
/* Evaluate and read the only element of an integer array. */
ANEMO_MUST_CHECK anemo_status an_mlx_item_i32(int32_t *out, an_mlx_array a, anemo_error *err);

ANEMO_MUST_CHECK anemo_status an_mlx_astype(an_mlx_array *out, an_mlx_array a, an_mlx_dtype dtype,
                                            anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_reshape(an_mlx_array *out, an_mlx_array a, const int *shape,
                                             size_t n_dim, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_transpose(an_mlx_array *out, an_mlx_array a, const int *axes,
                                               size_t n_dim, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_concatenate(an_mlx_array *out, an_mlx_array a, an_mlx_array b,
                                                 int axis, anemo_error *err);
/* [start, stop) in every dimension. */
ANEMO_MUST_CHECK anemo_status an_mlx_slice(an_mlx_array *out, an_mlx_array a, const int *start,
                                           const int *stop, size_t n_dim, anemo_error *err);
/* `a` with that part replaced by `update`; done in place when nothing else holds `a`. */
ANEMO_MUST_CHECK anemo_status an_mlx_slice_update(an_mlx_array *out, an_mlx_array a,
                                                  an_mlx_array update, const int *start,
                                                  const int *stop, size_t n_dim, anemo_error *err);
/* Rows of a: out[..., :] = a[idx, :]. The caller has checked the indices. */
ANEMO_MUST_CHECK anemo_status an_mlx_take(an_mlx_array *out, an_mlx_array a, an_mlx_array idx,
                                          anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_add(an_mlx_array *out, an_mlx_array a, an_mlx_array b,
                                         anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_multiply(an_mlx_array *out, an_mlx_array a, an_mlx_array b,
                                              anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_sigmoid(an_mlx_array *out, an_mlx_array a, anemo_error *err);
/* Index of the largest element of the last dimension; the smallest index on a tie. */
ANEMO_MUST_CHECK anemo_status an_mlx_argmax(an_mlx_array *out, an_mlx_array a, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_matmul(an_mlx_array *out, an_mlx_array a, an_mlx_array b,
                                            anemo_error *err);
/* x w^T for w [n_out, n_in] in affine groups. */
ANEMO_MUST_CHECK anemo_status an_mlx_quantized_matmul(an_mlx_array *out, an_mlx_array x,
                                                      an_mlx_array w, an_mlx_array scales,
                                                      an_mlx_array biases, int group, int bits,
                                                      anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_dequantize(an_mlx_array *out, an_mlx_array w,
                                                an_mlx_array scales, an_mlx_array biases, int group,
                                                int bits, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_mlx_rms_norm(an_mlx_array *out, an_mlx_array x,
                                              an_mlx_array weight, float eps, anemo_error *err);
/*
 * Rotate the leading n_dims of the last dimension of x [batch, head, position, head_dim] in
 * half-split order. The angle of pair i is (offset + position) / periods[i], periods being f32
 * [n_dims / 2].
 */
ANEMO_MUST_CHECK anemo_status an_mlx_rope(an_mlx_array *out, an_mlx_array x, int n_dims, int offset,
                                          an_mlx_array periods, anemo_error *err);

typedef enum an_mlx_mask {
    AN_MLX_MASK_NONE,
    AN_MLX_MASK_CAUSAL, /* the last query sees all keys, the one before all but one, ... */
    AN_MLX_MASK_ARRAY   /* boolean, true = may see; broadcast to [batch, head, n_q, n_k] */
} an_mlx_mask;

/* softmax(scale q k^T + mask) v. q [batch, n_head, n_q, d]; k, v [batch, n_head_kv, n_k, d], heads
 * in groups. */
ANEMO_MUST_CHECK anemo_status an_mlx_attention(an_mlx_array *out, an_mlx_array q, an_mlx_array k,
                                               an_mlx_array v, float scale, an_mlx_mask kind,
                                               an_mlx_array mask, anemo_error *err);

#ifdef __cplusplus
}
#endif

#endif
