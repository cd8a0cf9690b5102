/*
 * PyTorch checkpoints (.bin .pth .pt) as validated views: the ZIP form of torch 1.6 and later and
 * the stream of pickles before it (formats.md 5). The pickles are read by a machine that knows data
 * only: tensors, plain containers and numbers. Any other opcode or global is refused by its name
 * and position; nothing is ever called. Tar files are refused by name.
 */
#ifndef AN_FORMAT_TORCH_H
#define AN_FORMAT_TORCH_H

#include "base/error.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AN_TORCH_DIMS_MAX = 8 };

typedef struct an_torch_tensor {
    const char *name; /* owned by the handle, NUL-terminated */
    an_dtype dtype;
    int n_dim;
    int64_t shape[AN_TORCH_DIMS_MAX];
    int64_t stride[AN_TORCH_DIMS_MAX]; /* in elements */
    const void *data; /* of element 0; any alignment. Tensors may share their storage */
    bool contiguous;  /* row-major without gaps */
    uint64_t bytes;   /* of the contiguous form */
} an_torch_tensor;

typedef struct an_torch an_torch;

/*
 * Open a file, or borrow its bytes until close. ERR_FORMAT: damaged; ERR_UNSUPPORTED: a compressed
 * or encrypted archive, TorchScript, big-endian data, a tar file, or a pickle with more than data
 * in it. Gives *out: an_torch_close.
 */
ANEMO_MUST_CHECK anemo_status an_torch_open(an_torch **out, const char *path, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_torch_open_bytes(an_torch **out, const void *data, uint64_t size,
                                                  const char *name, anemo_error *err);
void an_torch_close(an_torch *t);

size_t an_torch_n_tensor(const an_torch *t);
const an_torch_tensor *an_torch_tensor_at(const an_torch *t, size_t i); /* in name order */
const an_torch_tensor *an_torch_find(const an_torch *t, const char *name);

#endif
