// The C interface of mlx_bridge.h over libmlx's C++ one. Every entry point runs its body inside
// guarded(), which turns exceptions into a status and a message; nothing else of C++ is visible
// outside.
#include "drivers/mlx/mlx_bridge.h"

#include <mlx/backend/metal/metal.h>
#include <mlx/mlx.h>
#include <mlx/version.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iterator>
#include <new>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mx = mlx::core;

namespace
{

using weight_map = std::unordered_map<std::string, mx::array>;

// The only variable of the program that outlives a call: a handle that is never freed can be seen
// no other way.
std::atomic<std::int64_t> live_handles{0};

anemo_status fail(anemo_error *err, anemo_status status, const char *what, const char *message)
{
    if (err != nullptr) {
        err->status = status;
        std::snprintf(err->message, sizeof err->message, "mlx: %s: %s", what, message);
    }
    return status;
}

template <typename Body>
anemo_status guarded(const char *what, anemo_error *err, Body &&body) noexcept
{
    try {
        body();
        return ANEMO_OK;
    } catch (const std::bad_alloc &) {
        return fail(err, ANEMO_ERR_NOMEM, what, "out of memory");
    } catch (const std::exception &e) {
        return fail(err, ANEMO_ERR_ENGINE, what, e.what());
    } catch (...) {
        return fail(err, ANEMO_ERR_ENGINE, what, "unknown exception");
    }
}

const mx::array &ref(an_mlx_array a)
{
    if (a.ctx == nullptr) throw std::invalid_argument("empty array handle");
    return *static_cast<const mx::array *>(a.ctx);
}

void give(an_mlx_array *out, mx::array &&a)
{
    out->ctx = new mx::array(std::move(a));
    live_handles++;
}

mx::Shape shape_of(const int *dims, std::size_t n)
{
    return mx::Shape(dims, dims + n);
}

mx::Dtype dtype_to_mlx(an_mlx_dtype dtype)
{
    switch (dtype) {
    case AN_MLX_BOOL:
        return mx::bool_;
    case AN_MLX_I32:
        return mx::int32;
    case AN_MLX_U32:
        return mx::uint32;
    case AN_MLX_F32:
        return mx::float32;
    case AN_MLX_F16:
        return mx::float16;
    case AN_MLX_BF16:
        return mx::bfloat16;
    case AN_MLX_OTHER:
        break;
    }
    throw std::invalid_argument("no such element type");
}

an_mlx_dtype dtype_from_mlx(mx::Dtype dtype)
{
    switch (dtype.val()) {
    case mx::Dtype::Val::bool_:
        return AN_MLX_BOOL;
    case mx::Dtype::Val::int32:
        return AN_MLX_I32;
    case mx::Dtype::Val::uint32:
        return AN_MLX_U32;
    case mx::Dtype::Val::float32:
        return AN_MLX_F32;
    case mx::Dtype::Val::float16:
        return AN_MLX_F16;
    case mx::Dtype::Val::bfloat16:
        return AN_MLX_BF16;
    default:
        return AN_MLX_OTHER;
    }
}

std::vector<mx::array> list_of(const an_mlx_array *a, std::size_t n)
{
    std::vector<mx::array> list;
    list.reserve(n);
    for (std::size_t i = 0; i < n; i++)
        list.push_back(ref(a[i]));
    return list;
}

} // namespace

extern "C" {

const char *an_mlx_version(void)
{
    return mx::version();
}

#define AN_MLX_TEXT_OF(x) #x
#define AN_MLX_TEXT(x)    AN_MLX_TEXT_OF(x)

const char *an_mlx_version_built(void)
{
    return AN_MLX_TEXT(MLX_VERSION_MAJOR) "." AN_MLX_TEXT(MLX_VERSION_MINOR) "." AN_MLX_TEXT(
        MLX_VERSION_PATCH);
}

std::int64_t an_mlx_live_handles(void)
{
    return live_handles.load();
}

const char *an_mlx_gpu_name(void)
{
    const char *name = nullptr;
    anemo_status status = guarded("gpu", nullptr, [&] {
        if (mx::is_available(mx::Device(mx::Device::gpu)))
            name = mx::metal::is_available() ? "metal" : "cuda";
    });
    return status == ANEMO_OK ? name : nullptr;
}

anemo_status an_mlx_use_gpu(bool gpu, anemo_error *err)
{
    return guarded("choice of device", err, [&] {
        mx::set_default_device(mx::Device(gpu ? mx::Device::gpu : mx::Device::cpu));
    });
}

anemo_status an_mlx_memory_get(an_mlx_memory *out, anemo_error *err)
{
    return guarded("memory figures", err, [&] {
        *out = {mx::get_active_memory(), mx::get_peak_memory(), mx::get_cache_memory()};
    });
}

anemo_status an_mlx_clear_cache(anemo_error *err)
{
    return guarded("clear_cache", err, [&] { mx::clear_cache(); });
}

anemo_status an_mlx_weights_load(an_mlx_weights *w, const char *file, anemo_error *err)
{
    return guarded("load_safetensors", err, [&] {
        auto loaded = mx::load_safetensors(std::string(file)).first;
        if (w->ctx == nullptr) {
            w->ctx = new weight_map(std::move(loaded));
            live_handles++;
        } else {
            auto *map = static_cast<weight_map *>(w->ctx);
            for (auto &entry : loaded)
                map->insert_or_assign(entry.first, std::move(entry.second));
        }
    });
}

anemo_status an_mlx_weights_get(an_mlx_array *out, an_mlx_weights w, const char *name,
                                anemo_error *err)
{
    bool found = false;
    anemo_status status = guarded("weights", err, [&] {
        const auto *map = static_cast<const weight_map *>(w.ctx);
        if (map == nullptr) return;
        auto entry = map->find(name);
        if (entry == map->end()) return;
        give(out, mx::array(entry->second));
        found = true;
    });
    if (status == ANEMO_OK && !found) return fail(err, ANEMO_ERR_NOTFOUND, "no tensor named", name);
    return status;
}

void an_mlx_weights_free(an_mlx_weights *w)
{
    if (w->ctx == nullptr) return;
    delete static_cast<weight_map *>(w->ctx);
    w->ctx = nullptr;
    live_handles--;
}

anemo_status an_mlx_array_new(an_mlx_array *out, const void *data, const int *shape,
                              std::size_t n_dim, an_mlx_dtype dtype, anemo_error *err)
{
    return guarded("array", err, [&] {
        mx::Shape dims = shape_of(shape, n_dim);
        switch (dtype) {
        case AN_MLX_BOOL:
            give(out, mx::array(static_cast<const bool *>(data), dims));
            break;
        case AN_MLX_I32:
            give(out, mx::array(static_cast<const std::int32_t *>(data), dims));
            break;
        case AN_MLX_U32:
            give(out, mx::array(static_cast<const std::uint32_t *>(data), dims));
            break;
        case AN_MLX_F32:
            give(out, mx::array(static_cast<const float *>(data), dims));
            break;
        default:
            throw std::invalid_argument("element type cannot be made from data");
        }
    });
}

anemo_status an_mlx_zeros(an_mlx_array *out, const int *shape, std::size_t n_dim,
                          an_mlx_dtype dtype, anemo_error *err)
{
    return guarded("zeros", err,
                   [&] { give(out, mx::zeros(shape_of(shape, n_dim), dtype_to_mlx(dtype))); });
}

void an_mlx_array_free(an_mlx_array *a)
{
    if (a->ctx == nullptr) return;
    delete static_cast<mx::array *>(a->ctx);
    a->ctx = nullptr;
    live_handles--;
}

std::size_t an_mlx_n_dim(an_mlx_array a)
{
    return a.ctx == nullptr ? 0 : static_cast<const mx::array *>(a.ctx)->ndim();
}

int an_mlx_dim(an_mlx_array a, std::size_t i)
{
    return i < an_mlx_n_dim(a) ? static_cast<const mx::array *>(a.ctx)->shape()[i] : 0;
}

an_mlx_dtype an_mlx_dtype_of(an_mlx_array a)
{
    return a.ctx == nullptr ? AN_MLX_OTHER
                            : dtype_from_mlx(static_cast<const mx::array *>(a.ctx)->dtype());
}

anemo_status an_mlx_async_eval(const an_mlx_array *a, std::size_t n, anemo_error *err)
{
    return guarded("async_eval", err, [&] { mx::async_eval(list_of(a, n)); });
}

anemo_status an_mlx_eval(const an_mlx_array *a, std::size_t n, anemo_error *err)
{
    return guarded("eval", err, [&] { mx::eval(list_of(a, n)); });
}

anemo_status an_mlx_synchronize(anemo_error *err)
{
    return guarded("synchronize", err, [&] { mx::synchronize(); });
}

anemo_status an_mlx_copy_f32(float *out, std::size_t n, an_mlx_array a, anemo_error *err)
{
    return guarded("copy out", err, [&] {
        mx::array flat = mx::contiguous(mx::astype(ref(a), mx::float32));
        if (flat.size() != n) throw std::invalid_argument("wrong number of elements");
        flat.eval();
        std::memcpy(out, flat.data<float>(), n * sizeof(float));
    });
}

anemo_status an_mlx_item_i32(std::int32_t *out, an_mlx_array a, anemo_error *err)
{
    return guarded("item", err, [&] {
        mx::array value = mx::astype(ref(a), mx::int32);
        *out = value.item<std::int32_t>();
    });
}

anemo_status an_mlx_astype(an_mlx_array *out, an_mlx_array a, an_mlx_dtype dtype, anemo_error *err)
{
    return guarded("astype", err, [&] { give(out, mx::astype(ref(a), dtype_to_mlx(dtype))); });
}

anemo_status an_mlx_reshape(an_mlx_array *out, an_mlx_array a, const int *shape, std::size_t n_dim,
                            anemo_error *err)
{
    return guarded("reshape", err, [&] { give(out, mx::reshape(ref(a), shape_of(shape, n_dim))); });
}

anemo_status an_mlx_transpose(an_mlx_array *out, an_mlx_array a, const int *axes, std::size_t n_dim,
                              anemo_error *err)
{
    return guarded("transpose", err,
                   [&] { give(out, mx::transpose(ref(a), std::vector<int>(axes, axes + n_dim))); });
}

anemo_status an_mlx_concatenate(an_mlx_array *out, an_mlx_array a, an_mlx_array b, int axis,
                                anemo_error *err)
{
    return guarded("concatenate", err, [&] { give(out, mx::concatenate({ref(a), ref(b)}, axis)); });
}

anemo_status an_mlx_slice(an_mlx_array *out, an_mlx_array a, const int *start, const int *stop,
                          std::size_t n_dim, anemo_error *err)
{
    return guarded("slice", err, [&] {
        give(out, mx::slice(ref(a), shape_of(start, n_dim), shape_of(stop, n_dim)));
    });
}

anemo_status an_mlx_slice_update(an_mlx_array *out, an_mlx_array a, an_mlx_array update,
                                 const int *start, const int *stop, std::size_t n_dim,
                                 anemo_error *err)
{
    return guarded("slice_update", err, [&] {
        give(out,
             mx::slice_update(ref(a), ref(update), shape_of(start, n_dim), shape_of(stop, n_dim)));
    });
}

anemo_status an_mlx_take(an_mlx_array *out, an_mlx_array a, an_mlx_array idx, anemo_error *err)
{
    return guarded("take", err, [&] { give(out, mx::take(ref(a), ref(idx), 0)); });
}

anemo_status an_mlx_add(an_mlx_array *out, an_mlx_array a, an_mlx_array b, anemo_error *err)
{
    return guarded("add", err, [&] { give(out, mx::add(ref(a), ref(b))); });
}

anemo_status an_mlx_multiply(an_mlx_array *out, an_mlx_array a, an_mlx_array b, anemo_error *err)
{
    return guarded("multiply", err, [&] { give(out, mx::multiply(ref(a), ref(b))); });
}

anemo_status an_mlx_sigmoid(an_mlx_array *out, an_mlx_array a, anemo_error *err)
{
    return guarded("sigmoid", err, [&] { give(out, mx::sigmoid(ref(a))); });
}

anemo_status an_mlx_argmax(an_mlx_array *out, an_mlx_array a, anemo_error *err)
{
    return guarded("argmax", err, [&] { give(out, mx::argmax(ref(a), -1)); });
}

anemo_status an_mlx_matmul(an_mlx_array *out, an_mlx_array a, an_mlx_array b, anemo_error *err)
{
    return guarded("matmul", err, [&] { give(out, mx::matmul(ref(a), ref(b))); });
}

anemo_status an_mlx_quantized_matmul(an_mlx_array *out, an_mlx_array x, an_mlx_array w,
                                     an_mlx_array scales, an_mlx_array biases, int group, int bits,
                                     anemo_error *err)
{
    return guarded("quantized_matmul", err, [&] {
        give(out, mx::quantized_matmul(ref(x), ref(w), ref(scales), ref(biases), true, group, bits,
                                       "affine"));
    });
}

anemo_status an_mlx_dequantize(an_mlx_array *out, an_mlx_array w, an_mlx_array scales,
                               an_mlx_array biases, int group, int bits, anemo_error *err)
{
    return guarded("dequantize", err, [&] {
        give(out, mx::dequantize(ref(w), ref(scales), ref(biases), group, bits, "affine"));
    });
}

anemo_status an_mlx_rms_norm(an_mlx_array *out, an_mlx_array x, an_mlx_array weight, float eps,
                             anemo_error *err)
{
    return guarded("rms_norm", err,
                   [&] { give(out, mx::fast::rms_norm(ref(x), ref(weight), eps)); });
}

anemo_status an_mlx_rope(an_mlx_array *out, an_mlx_array x, int n_dims, int offset,
                         an_mlx_array periods, anemo_error *err)
{
    return guarded("rope", err, [&] {
        give(out, mx::fast::rope(ref(x), n_dims, false, std::nullopt, 1.0f, offset, ref(periods)));
    });
}

anemo_status an_mlx_attention(an_mlx_array *out, an_mlx_array q, an_mlx_array k, an_mlx_array v,
                              float scale, an_mlx_mask kind, an_mlx_array mask, anemo_error *err)
{
    return guarded("attention", err, [&] {
        const char *mode = kind == AN_MLX_MASK_CAUSAL  ? "causal"
                           : kind == AN_MLX_MASK_ARRAY ? "array"
                                                       : "";
        std::optional<mx::array> given;
        if (kind == AN_MLX_MASK_ARRAY) given = ref(mask);
        give(out,
             mx::fast::scaled_dot_product_attention(ref(q), ref(k), ref(v), scale, mode, given));
    });
}

} // extern "C"
