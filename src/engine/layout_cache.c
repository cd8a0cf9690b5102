/*
 * The layout cache. A file is believed when its header is whole, was written for these files as they are now, and holds what
 * the matrices' first and last panels give when they are made again; it got its name only after all of it was on the disk.
 */
#include "engine/layout_cache.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/sha256.h"
#include "base/str.h"
#include "engine/layout_file.h"
#include "kernels/panels.h"
#include "os/clock.h"

#include <inttypes.h>
#include <string.h>

/* "DIR/name-0123456789abcdef.panels": the digits tell models of one name apart. Gives *path: an_free. */
static anemo_status file_path(const an_model_file *m, const char *dir, char **path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str name = {0};
    char hex[65], *cache = dir ? NULL : an_dir_cache(), *real = an_path_real(m->path);
    if (!dir && !cache)
        status = an_fail_no_dir(err, ANEMO_ERR_NOTFOUND,
                                "there is no cache folder (HOME is not set); name one: --cache-layout=DIR");
    else if (!real || !an_sha256_hex(real, strlen(real), hex))
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
    if (status != ANEMO_OK) goto cleanup;
    an_str_appendf(&name, "%s%s/%.100s-%.16s.panels", dir ? dir : cache, dir ? "" : "/layout", an_path_base(real), hex);
    AN_TRY(an_str_check(&name, err));
    *path = an_str_take(&name);
cleanup:
    an_str_free(&name);
    an_free(real);
    an_free(cache);
    return status;
}

/* What a file is made from: sizes and times of the weight files. */
static anemo_status digest_source(const an_model_file *m, char out[65], anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    size_t n = m->gguf ? (size_t)an_gguf_n_shard(m->gguf) : an_safetensors_n_file(m->st);
    for (size_t i = 0; i < n; i++) {
        const an_file_map *f = m->gguf ? an_gguf_shard_map(m->gguf, (int)i) : an_safetensors_file_map(m->st, i);
        an_str_appendf(&text, "%" PRIu64 " %" PRId64 "\n", f->size, f->mtime_ns);
    }
    AN_TRY(an_str_check(&text, err));
    if (!an_sha256_hex(text.data, text.len, out)) status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
cleanup:
    an_str_free(&text);
    return status;
}

static an_layout_entry entry_of(const an_laid_matrix *m, uint64_t base)
{
    const an_weight *w = m->from;
    an_layout_entry e = {.dtype = (uint16_t)w->dtype,
                         .n_row = (uint64_t)w->n_row,
                         .n_col = (uint64_t)w->n_col,
                         .offset = base + m->offset,
                         .bytes = m->bytes};
    if (!an_dtype_is_mlx(w->dtype)) return e;
    e.bits = (uint16_t)w->affine.bits;
    e.group = (uint16_t)w->affine.group;
    e.scale_dtype = (uint16_t)w->affine.scale_dtype;
    return e;
}

/* The header that a file for this model has. Gives h->entries: an_layout_header_free. */
static anemo_status expect_header(an_layout_header *h, const an_model_file *m, const an_layout_list *list, anemo_error *err)
{
    anemo_status status;
    *h = (an_layout_header){.header_bytes = an_layout_header_bytes(list->n), .n = list->n};
    h->file_bytes = h->header_bytes + list->bytes + AN_LAYOUT_TAIL;
    AN_TRY(digest_source(m, h->source, err));
    h->entries = an_calloc(list->n, sizeof *h->entries);
    if (!h->entries) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
        goto cleanup;
    }
    for (size_t i = 0; i < list->n; i++) h->entries[i] = entry_of(&list->items[i], h->header_bytes);
cleanup:
    return status;
}

/* Does the file hold the panels that rows begin.. of this matrix give now? */
static bool same_panel(const an_laid_matrix *m, const unsigned char *panels, int64_t begin, const an_kernels *k,
                       unsigned char *scratch)
{
    int64_t end = begin + AN_ROW_GRAIN < m->from->n_row ? begin + AN_ROW_GRAIN : m->from->n_row;
    an_weight part = an_layout_rows(m->from, begin, end);
    an_panels_write(k, &part, scratch, 0, part.n_row);
    bool same = memcmp(scratch, panels + an_panels_offset(m->from, begin), (size_t)an_panels_bytes(&part)) == 0;
    an_file_release(part.data, (uint64_t)part.n_row * part.row_bytes);
    return same;
}

static anemo_status check_samples(const an_layout_list *list, const unsigned char *panels, const an_kernels *k,
                                  const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t most = 0;
    for (size_t i = 0; i < list->n; i++) {
        an_weight part = an_layout_rows(list->items[i].from, 0, an_min_i64(AN_ROW_GRAIN, list->items[i].from->n_row));
        uint64_t bytes = an_panels_bytes(&part);
        if (bytes > most) most = bytes;
    }
    unsigned char *scratch = an_malloc_aligned((size_t)most);
    if (!scratch) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < list->n && status == ANEMO_OK; i++) {
        const an_laid_matrix *m = &list->items[i];
        int64_t last = (m->from->n_row - 1) / AN_ROW_GRAIN * AN_ROW_GRAIN;
        if (!same_panel(m, panels + m->offset, 0, k, scratch) || !same_panel(m, panels + m->offset, last, k, scratch))
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: was made from other weights or in another form", path);
    }
    an_free_aligned(scratch);
    return status;
}

static anemo_status open_file(an_file_map *map, const char *path, const an_layout_header *expected,
                              const an_layout_list *list, const an_kernels *k, anemo_error *err)
{
    anemo_status status;
    an_layout_header found = {0};
    AN_TRY(an_file_map_open(map, path, err));
    AN_TRY(an_layout_header_read(&found, map->data, map->size, path, err));
    if (memcmp(found.source, expected->source, sizeof found.source) != 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: is older than the model", path);
        goto cleanup;
    }
    if (found.n != expected->n || found.file_bytes != expected->file_bytes ||
        memcmp(found.entries, expected->entries, found.n * sizeof *found.entries) != 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: holds other matrices than the model", path);
        goto cleanup;
    }
    AN_TRY(check_samples(list, map->data + expected->header_bytes, k, path, err));
cleanup:
    an_layout_header_free(&found);
    if (status != ANEMO_OK) an_file_unmap(map);
    return status;
}

static anemo_status make_file(const char *path, const an_layout_header *h, const an_layout_list *list, const an_kernels *k,
                              an_pool *pool, anemo_error *err)
{
    anemo_status status;
    unsigned char *header = NULL, tail[AN_LAYOUT_TAIL];
    an_file_writer w = {.fd = -1};
    char *dir = an_path_dir(path);
    if (!dir) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    AN_TRY(an_layout_header_build(h, &header, tail, err));
    AN_TRY(an_dir_make(dir, err));
    AN_TRY(an_file_writer_open(&w, path, err));
    AN_TRY(an_file_writer_reserve(&w, h->file_bytes, err));
    AN_TRY(an_layout_write(list, k, pool, NULL, &w, h->header_bytes, err));
    AN_TRY(an_file_writer_put_at(&w, h->file_bytes - AN_LAYOUT_TAIL, tail, sizeof tail, err));
    AN_TRY(an_file_writer_put_at(&w, 0, header, (size_t)h->header_bytes, err));
    AN_TRY(an_file_writer_commit(&w, err));
cleanup:
    an_file_writer_close(&w);
    an_free(header);
    an_free(dir);
    return status;
}

anemo_status an_layout_cache_open(an_file_map *map, uint64_t *base, const an_model_file *m, const an_layout_list *list,
                                  const an_weights_options *o, an_pool *pool, anemo_error *err)
{
    anemo_status status;
    anemo_error why = {0};
    char *path = NULL;
    an_layout_header expected = {0};
    AN_TRY(expect_header(&expected, m, list, err));
    AN_TRY(file_path(m, o->cache_dir, &path, err));
    *base = expected.header_bytes;
    status = open_file(map, path, &expected, list, o->kernels, &why);
    if (status == ANEMO_OK) goto cleanup;
    if (status == ANEMO_ERR_NOTFOUND)
        an_layout_note(o, "writing %.1f GB of laid out weights to %s", (double)expected.file_bytes / 1e9, path);
    else
        an_layout_note(o, "%s; it is made anew", why.message);
    uint64_t begin = an_clock_ns();
    AN_TRY(make_file(path, &expected, list, o->kernels, pool, err));
    an_layout_note(o, "%s: written in %.1f s", path, (double)(an_clock_ns() - begin) / 1e9);
    AN_TRY(open_file(map, path, &expected, list, o->kernels, err));
cleanup:
    an_layout_header_free(&expected);
    an_free(path);
    return status;
}
