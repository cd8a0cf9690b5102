/* Two readers into one list of entries. */
#include "convert/imatrix.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/str.h"
#include "format/gguf.h"
#include "os/file.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    an_imatrix_entry e;
    char *name; /* owned */
    size_t order;
} entry;

struct an_imatrix {
    entry *entries;
    size_t n, cap;
    char *dataset;
    int64_t n_chunk;
};

static anemo_status out_of_memory(const char *path, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
}

/* Gives *out an entry with room for n values. `n` is backed by the bytes of the file. */
static anemo_status add(an_imatrix *m, const char *name, size_t n_name, uint64_t n, entry **out, const char *path,
                        anemo_error *err)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 64;
        entry *grown = an_realloc(m->entries, cap * sizeof *grown);
        if (!grown) return out_of_memory(path, err);
        m->entries = grown;
        m->cap = cap;
    }
    entry *e = &m->entries[m->n];
    *e = (entry){.order = m->n, .name = an_strndup(name, n_name), .e.n = n, .e.values = an_malloc(n * sizeof(float))};
    if (!e->name || !e->e.values) {
        an_free(e->name);
        an_free(e->e.values);
        return out_of_memory(path, err);
    }
    m->n++;
    *out = e;
    return ANEMO_OK;
}

static anemo_status check_values(const entry *e, const char *path, anemo_error *err)
{
    for (uint64_t i = 0; i < e->e.n; i++)
        if (!isfinite(e->e.values[i]) || e->e.values[i] < 0)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: entry %.64s: value %" PRIu64 " is %g; an importance is finite and not negative", path,
                           e->name, i, (double)e->e.values[i]);
    return ANEMO_OK;
}

/* ---- the older form */

static anemo_status read_old_entry(an_imatrix *m, an_reader *r, uint32_t number, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint32_t n_name, n_call, n_value;
    uint64_t at = r->pos;
    const char *name;
    const void *values;
    entry *e;
    if (!an_read_u32(r, &n_name) || n_name > INT32_MAX || !(name = an_read_view(r, n_name)))
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: offset %" PRIu64 ": the name of entry %" PRIu32 " is cut off; the file is no importance matrix or "
                       "is damaged",
                       path, at, number);
    if (!an_read_u32(r, &n_call) || !an_read_u32(r, &n_value) || n_value < 1 || n_value > INT32_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: offset %" PRIu64 ": entry %" PRIu32 " has no number of values", path, r->pos,
                       number);
    values = an_read_view(r, (uint64_t)n_value * sizeof(float));
    if (!values)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: offset %" PRIu64 ": entry %" PRIu32 " has %" PRIu32 " values, but the file ends before them", path,
                       r->pos, number, n_value);
    AN_TRY(add(m, name, strnlen(name, n_name), n_value, &e, path, err));
    memcpy(e->e.values, values, (size_t)n_value * sizeof(float));
    if (n_call > 0 && n_call <= INT32_MAX)
        for (uint32_t i = 0; i < n_value; i++) e->e.values[i] /= (float)n_call;
    AN_TRY(check_values(e, path, err));
cleanup:
    return status;
}

static anemo_status read_old(an_imatrix *m, an_reader *r, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint32_t n = 0, n_chunk, n_name;
    const char *name;
    if (!an_read_u32(r, &n) || n < 1 || n > INT32_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: no importance matrix: it begins with no number of entries", path);
    for (uint32_t i = 0; i < n; i++) AN_TRY(read_old_entry(m, r, i, path, err));
    /* What follows came later and may be missing. */
    if (!an_read_u32(r, &n_chunk)) goto cleanup;
    m->n_chunk = (int32_t)n_chunk;
    if (!an_read_u32(r, &n_name) || n_name < 1 || n_name > INT32_MAX || !(name = an_read_view(r, n_name))) goto cleanup;
    m->dataset = an_strndup(name, strnlen(name, n_name));
    if (!m->dataset) status = out_of_memory(path, err);
cleanup:
    return status;
}

/* ---- GGUF */

static const char sums_suffix[] = ".in_sum2", counts_suffix[] = ".counts";

static uint64_t n_elem(const an_gguf_tensor *t)
{
    uint64_t n = 1;
    for (int d = 0; d < t->n_dim; d++) n *= (uint64_t)t->shape[d];
    return n;
}

/* The tensor of the same matrix that ends in `other` instead of `suffix`; NULL when there is none. */
static const an_gguf_tensor *twin(const an_gguf *g, const char *name, const char *suffix, const char *other)
{
    an_str s = {0};
    an_str_append_bytes(&s, name, strlen(name) - strlen(suffix));
    an_str_append(&s, other);
    const an_gguf_tensor *t = s.failed ? NULL : an_gguf_find_tensor(g, an_str_text(&s));
    an_str_free(&s);
    return t;
}

static anemo_status read_sums(an_imatrix *m, const an_gguf *g, const an_gguf_tensor *sums, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *path = an_gguf_path(g);
    const an_gguf_tensor *counts = twin(g, sums->name, sums_suffix, counts_suffix);
    entry *e;
    if (!counts) return an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %s has no counts beside it", path, sums->name);
    uint64_t n = n_elem(sums), n_count = n_elem(counts);
    if (sums->dtype != AN_DTYPE_F32 || counts->dtype != AN_DTYPE_F32)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %s and its counts must be F32", path, sums->name);
    if (n == 0 || n_count == 0 || n % n_count != 0)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %s has %" PRIu64 " sums for %" PRIu64 " counts", path, sums->name, n,
                       n_count);
    AN_TRY(add(m, sums->name, strlen(sums->name) - strlen(sums_suffix), n, &e, path, err));
    for (uint64_t c = 0; c < n_count; c++) {
        float stored = an_load_f32((const char *)counts->data + 4 * c);
        if (!(fabsf(stored) < 9e18f)) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %s: count %" PRIu64 " is %g", path, counts->name, c,
                             (double)stored);
            goto cleanup;
        }
        float count = (float)lroundf(stored);
        for (uint64_t i = c * (n / n_count); i < (c + 1) * (n / n_count); i++)
            e->e.values[i] = count > 0 ? an_load_f32((const char *)sums->data + 4 * i) / count : 1;
    }
    AN_TRY(check_values(e, path, err));
cleanup:
    return status;
}

static anemo_status read_gguf(an_imatrix *m, const an_gguf *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *path = an_gguf_path(g);
    const an_gguf_kv *datasets = an_gguf_find(g, "imatrix.datasets");
    int64_t chunk_size;
    uint64_t pos = 0;
    if (!datasets || datasets->type != AN_GGUF_ARRAY || datasets->elem_type != AN_GGUF_STRING)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: no importance matrix: the key imatrix.datasets, a list of strings, is not there", path);
    AN_TRY(an_gguf_get_i64(g, "imatrix.chunk_count", true, 0, UINT32_MAX, &m->n_chunk, err));
    AN_TRY(an_gguf_get_i64(g, "imatrix.chunk_size", true, 0, UINT32_MAX, &chunk_size, err));
    if (datasets->n > 0) {
        an_bytes first = an_gguf_array_next_str(datasets, &pos);
        m->dataset = an_strndup(first.data, strnlen(first.data, (size_t)first.len));
        if (!m->dataset) return out_of_memory(path, err);
    }
    for (size_t i = 0; i < an_gguf_n_tensor(g); i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(g, i);
        if (an_str_ends_with(t->name, sums_suffix)) {
            AN_TRY(read_sums(m, g, t, err));
        } else if (an_str_ends_with(t->name, counts_suffix) && !twin(g, t->name, counts_suffix, sums_suffix)) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %s has no sums beside it", path, t->name);
            goto cleanup;
        }
    }
    if (m->n == 0) status = an_fail(err, ANEMO_ERR_FORMAT, "%s: the importance matrix has no entries", path);
cleanup:
    return status;
}

/* ---- both */

static int by_name(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : x->order < y->order ? -1 : x->order > y->order;
}

/* By name, and of several with one name the last that was read. */
static void sort(an_imatrix *m)
{
    size_t kept = 0;
    qsort(m->entries, m->n, sizeof *m->entries, by_name);
    for (size_t i = 0; i < m->n; i++) {
        if (i + 1 < m->n && !strcmp(m->entries[i].name, m->entries[i + 1].name)) {
            an_free(m->entries[i].name);
            an_free(m->entries[i].e.values);
            continue;
        }
        m->entries[kept] = m->entries[i];
        m->entries[kept].e.name = m->entries[kept].name;
        kept++;
    }
    m->n = kept;
}

anemo_status an_imatrix_open_bytes(an_imatrix **out, const void *data, uint64_t size, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_gguf *g = NULL;
    an_reader r = {.data = data, .size = size};
    an_imatrix *m = an_calloc(1, sizeof *m);
    if (!m) return out_of_memory(name, err);
    if (size >= 4 && !memcmp(data, "GGUF", 4)) {
        AN_TRY(an_gguf_open_bytes(&g, data, size, name, err));
        AN_TRY(read_gguf(m, g, err));
    } else {
        AN_TRY(read_old(m, &r, name, err));
    }
    sort(m);
    *out = m;
cleanup:
    an_gguf_close(g);
    if (status != ANEMO_OK) an_imatrix_close(m);
    return status;
}

anemo_status an_imatrix_open(an_imatrix **out, const char *path, anemo_error *err)
{
    an_file_map map;
    anemo_status status = an_file_map_open(&map, path, err);
    if (status != ANEMO_OK) return status;
    status = an_imatrix_open_bytes(out, map.data, map.size, path, err);
    an_file_unmap(&map);
    return status;
}

void an_imatrix_close(an_imatrix *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->n; i++) {
        an_free(m->entries[i].name);
        an_free(m->entries[i].e.values);
    }
    an_free(m->entries);
    an_free(m->dataset);
    an_free(m);
}

size_t an_imatrix_n(const an_imatrix *m)
{
    return m->n;
}

const an_imatrix_entry *an_imatrix_at(const an_imatrix *m, size_t i)
{
    return &m->entries[i].e;
}

const an_imatrix_entry *an_imatrix_find(const an_imatrix *m, const char *name)
{
    size_t lo = 0, hi = m->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(m->entries[mid].name, name);
        if (order == 0) return &m->entries[mid].e;
        if (order < 0) lo = mid + 1;
        else hi = mid;
    }
    return NULL;
}

const char *an_imatrix_dataset(const an_imatrix *m)
{
    return m->dataset ? m->dataset : "";
}

int64_t an_imatrix_n_chunk(const an_imatrix *m)
{
    return m->n_chunk;
}
