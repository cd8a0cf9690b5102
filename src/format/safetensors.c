/* Reading safetensors: the header of one file, checked whole, and sets of files in a folder. */
#include "format/safetensors.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/num.h"
#include "base/str.h"
#include "format/json_scan.h"
#include "format/name_index.h"
#include "format/weight_list.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS_MAX = 1 << 18, FILES_MAX = 4096, NAME_SHOWN = 100 };
#define HEADER_BYTES_MAX UINT64_C(100000000)

static const struct {
    const char *name;
    an_dtype dtype;
    int bits;
} dtypes[] = {
    {"F32", AN_DTYPE_F32, 32},
    {"F16", AN_DTYPE_F16, 16},
    {"BF16", AN_DTYPE_BF16, 16},
    {"U32", AN_DTYPE_U32, 32},
    {"BOOL", AN_DTYPE_BOOL, 8},
    {"U8", AN_DTYPE_U8, 8},
    {"I8", AN_DTYPE_I8, 8},
    {"F8_E5M2", AN_DTYPE_F8_E5M2, 8},
    {"F8_E4M3", AN_DTYPE_F8_E4M3, 8},
    {"F8_E8M0", AN_DTYPE_OTHER, 8},
    {"F8_E4M3FNUZ", AN_DTYPE_OTHER, 8},
    {"F8_E5M2FNUZ", AN_DTYPE_OTHER, 8},
    {"I16", AN_DTYPE_I16, 16},
    {"U16", AN_DTYPE_U16, 16},
    {"I32", AN_DTYPE_I32, 32},
    {"I64", AN_DTYPE_I64, 64},
    {"U64", AN_DTYPE_U64, 64},
    {"F64", AN_DTYPE_F64, 64},
    {"C64", AN_DTYPE_OTHER, 64},
    {"F4", AN_DTYPE_OTHER, 4},
    {"F6_E2M3", AN_DTYPE_OTHER, 6},
    {"F6_E3M2", AN_DTYPE_OTHER, 6},
};

typedef struct st_file {
    char *name; /* as the user or the folder names it */
    char *path;
    an_file_map map;
    const unsigned char *data;
    uint64_t size;
    uint64_t data_start;
    char *strings; /* decoded names and dtypes; as long as the header */
} st_file;

struct an_safetensors {
    st_file *files;
    size_t n_file;
    an_st_tensor *tensors;
    an_name_entry *index;
    size_t n_tensor, cap_tensor;
};

static anemo_status no_memory(const char *path, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory while reading the header", path);
}

static anemo_status scan_failed(const st_file *f, const an_json_scan *s, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: header, at byte %" PRIu64 ": %s", f->path, s->at + 8,
                   s->error);
}

/* Where decoded strings go: a cursor into a block that has room for the rest of the header. */
typedef struct string_sink {
    char *at;
} string_sink;

static bool take_string(an_json_scan *s, string_sink *sink, const char **out, uint64_t *len)
{
    if (!an_json_scan_string(s, sink->at, len)) return false;
    *out = sink->at;
    sink->at += *len + 1;
    return true;
}

static bool scan_shape(an_json_scan *s, an_st_tensor *t)
{
    bool more;
    uint64_t dim;
    if (!an_json_scan_char(s, '[')) return false;
    more = !an_json_scan_peek(s, ']');
    if (!more) return an_json_scan_char(s, ']');
    while (more) {
        uint64_t at = s->pos;
        if (!an_json_scan_u64(s, &dim)) return false;
        if (t->n_dim == AN_ST_DIMS_MAX) return an_json_scan_fail(s, at, "more than 8 dimensions");
        if (dim > INT64_MAX) return an_json_scan_fail(s, at, "a dimension above 2^63 - 1");
        t->shape[t->n_dim++] = (int64_t)dim;
        if (!an_json_scan_next(s, ']', &more)) return false;
    }
    return true;
}

static bool scan_offsets(an_json_scan *s, uint64_t *begin, uint64_t *end)
{
    bool more;
    if (!an_json_scan_char(s, '[') || !an_json_scan_u64(s, begin) ||
        !an_json_scan_next(s, ']', &more))
        return false;
    if (!more) return an_json_scan_fail(s, s->pos, "data_offsets must hold two numbers");
    if (!an_json_scan_u64(s, end) || !an_json_scan_next(s, ']', &more)) return false;
    return !more || an_json_scan_fail(s, s->pos, "data_offsets must hold two numbers");
}

/* One tensor's object. *begin and *end are relative to the data. */
static bool scan_entry(an_json_scan *s, string_sink *sink, an_st_tensor *t, uint64_t *begin,
                       uint64_t *end)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
    int seen = 0;
    bool more = true;
    uint64_t start = s->pos, len;
    if (!an_json_scan_char(s, '{')) return false;
    while (more) {
        const char *key;
        int bit;
        string_sink scratch = *sink; /* the key itself is not kept */
        uint64_t at = s->pos;
        if (!take_string(s, &scratch, &key, &len) || !an_json_scan_char(s, ':')) return false;
        if (!strcmp(key, "dtype"))
            bit = DTYPE;
        else if (!strcmp(key, "shape"))
            bit = SHAPE;
        else if (!strcmp(key, "data_offsets"))
            bit = OFFSETS;
        else
            return an_json_scan_fail(s, at, "a key other than dtype, shape and data_offsets");
        if (seen & bit) return an_json_scan_fail(s, at, "a key occurs twice");
        seen |= bit;
        if (bit == DTYPE && !take_string(s, sink, &t->dtype_name, &len)) return false;
        if (bit == SHAPE && !scan_shape(s, t)) return false;
        if (bit == OFFSETS && !scan_offsets(s, begin, end)) return false;
        if (!an_json_scan_next(s, '}', &more)) return false;
    }
    if (seen != (DTYPE | SHAPE | OFFSETS))
        return an_json_scan_fail(s, start, "a tensor needs dtype, shape and data_offsets");
    return true;
}

/*
 * __metadata__: strings to strings. The keys are kept in the sink until the end, to find one that
 * occurs twice. Sets *no_memory when that is why it fails.
 */
static bool scan_metadata(an_json_scan *s, string_sink *sink, bool *no_memory)
{
    bool more, ok = false;
    uint64_t len, start = s->pos;
    an_name_entry *keys = NULL;
    size_t n = 0, cap = 0;
    if (!an_json_scan_char(s, '{')) return false;
    more = !an_json_scan_peek(s, '}');
    if (!more) return an_json_scan_char(s, '}');
    while (more) {
        if (n == cap) {
            cap = cap ? cap * 2 : 16;
            an_name_entry *grown = an_realloc(keys, cap * sizeof *keys);
            *no_memory = !grown;
            if (!grown) goto cleanup;
            keys = grown;
        }
        keys[n].idx = n;
        if (!take_string(s, sink, &keys[n].name, &keys[n].len) || !an_json_scan_char(s, ':'))
            goto cleanup;
        n++;
        if (!an_json_scan_peek(s, '"')) {
            an_json_scan_fail(s, s->pos, "__metadata__ may hold strings only");
            goto cleanup;
        }
        if (!an_json_scan_string(s, NULL, &len) || !an_json_scan_next(s, '}', &more)) goto cleanup;
    }
    ok = !an_name_index_sort(keys, n) ||
         an_json_scan_fail(s, start, "a key of __metadata__ occurs twice");
cleanup:
    an_free(keys);
    return ok;
}

/* Type and size of one entry against its range of `bytes`. */
static anemo_status check_entry(const st_file *f, an_st_tensor *t, uint64_t begin, uint64_t end,
                                anemo_error *err)
{
    uint64_t elems = 1, bits;
    for (const unsigned char *c = (const unsigned char *)t->name; *c; c++)
        if (*c < 0x20 || *c == 0x7F)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: a tensor name holds a control character",
                           f->path);
    if (!t->name[0])
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: a tensor has an empty name", f->path);
    if (begin > end || end > f->size - f->data_start)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: tensor %.*s: data_offsets %" PRIu64 " to %" PRIu64
                       " do not lie in the %" PRIu64
                       " bytes of data; the download may be incomplete",
                       f->path, NAME_SHOWN, t->name, begin, end, f->size - f->data_start);
    t->bytes = end - begin;
    t->offset = f->data_start + begin;
    t->data = f->data + f->data_start + begin;
    t->dtype = AN_DTYPE_OTHER;
    size_t k = 0;
    while (k < AN_COUNT_OF(dtypes) && strcmp(dtypes[k].name, t->dtype_name))
        k++;
    if (k == AN_COUNT_OF(dtypes))
        return ANEMO_OK; /* an unknown type matters only to who wants the tensor */
    t->dtype = dtypes[k].dtype;
    t->dtype_name = dtypes[k].name;
    bool ok = true;
    for (int i = 0; i < t->n_dim; i++)
        ok = ok && an_mul_u64(elems, (uint64_t)t->shape[i], &elems);
    if (!ok || elems > INT64_MAX || !an_mul_u64(elems, (uint64_t)dtypes[k].bits, &bits))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %.*s: the number of elements overflows",
                       f->path, NAME_SHOWN, t->name);
    if (bits % 8 || bits / 8 != t->bytes)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: tensor %.*s: its shape needs %" PRIu64
                       " bits of %s, data_offsets hold %" PRIu64 " bytes",
                       f->path, NAME_SHOWN, t->name, bits, t->dtype_name, t->bytes);
    return ANEMO_OK;
}

static int cmp_data(const void *pa, const void *pb)
{
    const an_st_tensor *const *a = pa, *const *b = pb;
    if ((*a)->data != (*b)->data) return (*a)->data < (*b)->data ? -1 : 1;
    return (*a)->bytes < (*b)->bytes ? -1 : (*a)->bytes > (*b)->bytes;
}

/* The n tensors of one file cover its data from first to last byte. */
static anemo_status check_coverage(const st_file *f, const an_st_tensor *t, size_t n,
                                   anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const unsigned char *at = f->data + f->data_start;
    const an_st_tensor **order = an_calloc(n, sizeof *order);
    if (!order) return no_memory(f->path, err);
    for (size_t i = 0; i < n; i++)
        order[i] = &t[i];
    qsort(order, n, sizeof *order, cmp_data);
    for (size_t i = 0; i < n; i++) {
        const unsigned char *data = order[i]->data;
        if (data != at) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %.*s: its data %s at byte %" PRIu64,
                             f->path, NAME_SHOWN, order[i]->name,
                             data < at ? "overlap another tensor's" : "leave a hole before them",
                             (uint64_t)(data - f->data));
            goto cleanup;
        }
        at = data + order[i]->bytes;
    }
    if (at != f->data + f->size)
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: %" PRIu64 " bytes behind the last tensor",
                         f->path, (uint64_t)(f->data + f->size - at));
cleanup:
    an_free(order);
    return status;
}

static anemo_status grow_tensors(an_safetensors *st, const st_file *f, anemo_error *err)
{
    if (st->n_tensor < st->cap_tensor) return ANEMO_OK;
    if (st->n_tensor == TENSORS_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d tensors", f->path, TENSORS_MAX);
    size_t cap = st->cap_tensor ? st->cap_tensor * 2 : 64;
    an_st_tensor *grown = an_realloc(st->tensors, cap * sizeof *grown);
    if (!grown) return no_memory(f->path, err);
    st->tensors = grown;
    st->cap_tensor = cap;
    return ANEMO_OK;
}

/* Parse one file whose bytes are in place; appends its tensors. */
static anemo_status parse_file(an_safetensors *st, size_t file, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    st_file *f = &st->files[file];
    an_json_scan s;
    size_t first = st->n_tensor;
    bool more, metadata = false, out_of_memory = false;
    uint64_t len, n;
    if (f->size < 8)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: not a safetensors file: shorter than 8 bytes",
                       f->path);
    n = an_load_u64(f->data);
    if (n < 2 || n > HEADER_BYTES_MAX || n > f->size - 8)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: not a safetensors file, or cut short: a header of %" PRIu64
                       " bytes in a file of %" PRIu64,
                       f->path, n, f->size);
    f->data_start = 8 + n;
    f->strings = an_malloc((size_t)n + 1);
    if (!f->strings) return no_memory(f->path, err);
    string_sink sink = {f->strings};
    if (f->data[8] != '{')
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: header, at byte 8: expected '{'", f->path);
    if (!an_json_scan_init(&s, (const char *)f->data + 8, n) || !an_json_scan_char(&s, '{'))
        return scan_failed(f, &s, err);
    more = !an_json_scan_peek(&s, '}');
    if (!more) an_json_scan_char(&s, '}');
    while (more) {
        const char *name;
        uint64_t begin = 0, end = 0, at = s.pos;
        if (!take_string(&s, &sink, &name, &len) || !an_json_scan_char(&s, ':'))
            return scan_failed(f, &s, err);
        if (!strcmp(name, "__metadata__")) {
            if (metadata) an_json_scan_fail(&s, at, "__metadata__ occurs twice");
            metadata = true;
            if (s.error || !scan_metadata(&s, &sink, &out_of_memory))
                return out_of_memory ? no_memory(f->path, err) : scan_failed(f, &s, err);
        } else {
            AN_TRY(grow_tensors(st, f, err));
            an_st_tensor *t = &st->tensors[st->n_tensor];
            *t = (an_st_tensor){.name = name, .file = (int)file};
            if (!scan_entry(&s, &sink, t, &begin, &end)) return scan_failed(f, &s, err);
            AN_TRY(check_entry(f, t, begin, end, err));
            st->n_tensor++;
        }
        if (!an_json_scan_next(&s, '}', &more)) return scan_failed(f, &s, err);
    }
    if (!an_json_scan_end(&s)) return scan_failed(f, &s, err);
    AN_TRY(check_coverage(f, first ? st->tensors + first : st->tensors, st->n_tensor - first, err));
cleanup:
    return status;
}

static int cmp_name(const void *pa, const void *pb)
{
    return strcmp(((const an_st_tensor *)pa)->name, ((const an_st_tensor *)pb)->name);
}

/* Put the tensors of all files in name order and refuse names that occur twice. */
static anemo_status build_index(an_safetensors *st, anemo_error *err)
{
    if (st->n_tensor > 1) qsort(st->tensors, st->n_tensor, sizeof *st->tensors, cmp_name);
    st->index = an_calloc(st->n_tensor, sizeof *st->index);
    if (!st->index) return no_memory(st->files[0].path, err);
    for (size_t i = 0; i < st->n_tensor; i++)
        st->index[i] = (an_name_entry){st->tensors[i].name, strlen(st->tensors[i].name), i};
    const an_name_entry *twice = an_name_index_sort(st->index, st->n_tensor);
    if (twice) {
        const an_st_tensor *t = &st->tensors[twice->idx];
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %.*s occurs twice (also in %s)",
                       st->files[t->file].path, NAME_SHOWN, t->name, st->files[t[-1].file].name);
    }
    return ANEMO_OK;
}

/* Take over `name` and `path` (both freed on failure too) as the next file, map and parse it. */
static anemo_status add_file(an_safetensors *st, char *name, char *path, const void *data,
                             uint64_t size, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    st_file *grown = NULL;
    if (name && path) grown = an_realloc(st->files, (st->n_file + 1) * sizeof *grown);
    if (!grown) {
        an_free(name);
        an_free(path);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory while opening a safetensors file");
    }
    st->files = grown;
    st_file *f = &grown[st->n_file++];
    *f = (st_file){.name = name, .path = path, .data = data, .size = size};
    if (!data) {
        AN_TRY(an_file_map_open(&f->map, path, err));
        f->data = f->map.data;
        f->size = f->map.size;
    }
    AN_TRY(parse_file(st, st->n_file - 1, err));
cleanup:
    return status;
}

typedef struct index_check {
    const an_safetensors *st;
    const char *dir;
} index_check;

/* A tensor of the index is in the file that the index says. */
static anemo_status check_pair(void *ctx, const char *tensor, const char *file, anemo_error *err)
{
    const index_check *c = ctx;
    const an_st_tensor *t = an_safetensors_find(c->st, tensor);
    if (!t || strcmp(an_safetensors_file_name(c->st, (size_t)t->file), file))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s/%s: tensor %.100s is not in %.100s", c->dir,
                       an_weight_set_safetensors.index, tensor, file);
    return ANEMO_OK;
}

anemo_status an_safetensors_open_bytes(an_safetensors **out, const void *data, uint64_t size,
                                       const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_safetensors *st = an_calloc(1, sizeof *st);
    if (!st) return no_memory(name, err);
    AN_TRY(add_file(st, an_strdup(an_path_base(name)), an_strdup(name), data ? data : "",
                    data ? size : 0, err));
    AN_TRY(build_index(st, err));
    *out = st;
cleanup:
    if (status != ANEMO_OK) an_safetensors_close(st);
    return status;
}

anemo_status an_safetensors_open(an_safetensors **out, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_weight_list names = {0};
    an_safetensors *st = an_calloc(1, sizeof *st);
    if (!st) return no_memory(path, err);
    if (an_path_probe(path) != AN_PATH_DIR) {
        AN_TRY(add_file(st, an_strdup(an_path_base(path)), an_strdup(path), NULL, 0, err));
        AN_TRY(build_index(st, err));
    } else {
        AN_TRY(an_weight_list_open(&names, path, &an_weight_set_safetensors, err));
        if (names.n > FILES_MAX) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d files of weights", path,
                             FILES_MAX);
            goto cleanup;
        }
        for (size_t i = 0; i < names.n; i++)
            AN_TRY(add_file(st, an_strdup(names.items[i]), an_path_join(path, names.items[i]), NULL,
                            0, err));
        AN_TRY(build_index(st, err));
        index_check check = {st, path};
        AN_TRY(an_weight_list_pairs(&names, path, &an_weight_set_safetensors, check_pair, &check, err));
    }
    *out = st;
cleanup:
    an_weight_list_free(&names);
    if (status != ANEMO_OK) an_safetensors_close(st);
    return status;
}

void an_safetensors_close(an_safetensors *st)
{
    if (!st) return;
    for (size_t i = 0; i < st->n_file; i++) {
        an_file_unmap(&st->files[i].map);
        an_free(st->files[i].name);
        an_free(st->files[i].path);
        an_free(st->files[i].strings);
    }
    an_free(st->files);
    an_free(st->tensors);
    an_free(st->index);
    an_free(st);
}

size_t an_safetensors_n_tensor(const an_safetensors *st)
{
    return st->n_tensor;
}

const an_st_tensor *an_safetensors_tensor_at(const an_safetensors *st, size_t i)
{
    return &st->tensors[i];
}

const an_st_tensor *an_safetensors_find(const an_safetensors *st, const char *name)
{
    size_t i = an_name_index_find(st->index, st->n_tensor, name, strlen(name));
    return i == SIZE_MAX ? NULL : &st->tensors[i];
}

size_t an_safetensors_n_file(const an_safetensors *st)
{
    return st->n_file;
}

const char *an_safetensors_file_name(const an_safetensors *st, size_t i)
{
    return st->files[i].name;
}

const an_file_map *an_safetensors_file_map(const an_safetensors *st, size_t i)
{
    return &st->files[i].map;
}

uint64_t an_safetensors_file_bytes(const an_safetensors *st)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < st->n_file; i++)
        sum += st->files[i].size;
    return sum;
}
