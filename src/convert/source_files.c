/* The weight files of a source: each a safetensors file or a PyTorch checkpoint, all tensors under
 * one sorted list of names. */
#include "convert/source_internal.h"

#include "base/alloc.h"
#include "format/name_index.h"
#include "os/file.h"

#include <stdlib.h>
#include <string.h>

typedef struct weight_file {
    char *name, *path;
    an_safetensors *st; /* one of the two */
    an_torch *torch;
} weight_file;

typedef struct named {
    const char *name;
    int file;
    size_t idx; /* in its file */
    bool used;
} named;

struct an_source_files {
    weight_file *files;
    size_t n_file;
    named *names; /* sorted by name, then file */
    size_t n_name;
    bool parallel;
};

/* A safetensors header begins with its length, far below 2^32, and a brace. */
static bool looks_like_safetensors(const an_file_map *map)
{
    return map->size > 10 && map->data[8] == '{' &&
           !(map->data[4] | map->data[5] | map->data[6] | map->data[7]);
}

static anemo_status open_file(weight_file *f, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_file_map map = {0};
    AN_TRY(an_file_map_open(&map, f->path, err));
    bool safetensors = looks_like_safetensors(&map) || an_str_ends_with(f->path, ".safetensors");
    an_file_unmap(&map);
    if (safetensors)
        AN_TRY(an_safetensors_open(&f->st, f->path, err));
    else
        AN_TRY(an_torch_open(&f->torch, f->path, err));
cleanup:
    return status;
}

static size_t n_tensor(const weight_file *f)
{
    return f->st ? an_safetensors_n_tensor(f->st) : an_torch_n_tensor(f->torch);
}

static int cmp_named(const void *pa, const void *pb)
{
    const named *a = pa, *b = pb;
    int c = strcmp(a->name, b->name);
    return c ? c : a->file - b->file;
}

static anemo_status build_index(an_source_files *fs, anemo_error *err)
{
    size_t total = 0;
    for (size_t k = 0; k < fs->n_file; k++)
        total += n_tensor(&fs->files[k]);
    fs->names = an_calloc(total ? total : 1, sizeof *fs->names);
    if (!fs->names) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", fs->files[0].path);
    for (size_t k = 0; k < fs->n_file; k++) {
        const weight_file *f = &fs->files[k];
        for (size_t i = 0; i < n_tensor(f); i++) {
            const char *name = f->st ? an_safetensors_tensor_at(f->st, i)->name
                                     : an_torch_tensor_at(f->torch, i)->name;
            fs->names[fs->n_name++] = (named){name, (int)k, i, false};
        }
    }
    qsort(fs->names, fs->n_name, sizeof *fs->names, cmp_named);
    for (size_t i = 1; i < fs->n_name && !fs->parallel; i++)
        if (strcmp(fs->names[i - 1].name, fs->names[i].name) == 0)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %.100s occurs twice (also in %s)",
                           fs->files[fs->names[i].file].path, fs->names[i].name,
                           fs->files[fs->names[i - 1].file].name);
    return ANEMO_OK;
}

/* The first entry with this name or a later one. */
static size_t lower_bound(const an_source_files *fs, const char *name, size_t file)
{
    named key = {name, (int)file, 0, false};
    size_t lo = 0, hi = fs->n_name;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cmp_named(&fs->names[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool an_source_files_find(an_source_files *fs, const char *name, size_t file, source_view *out)
{
    size_t i = lower_bound(fs, name, fs->parallel ? file : 0);
    if (i == fs->n_name || strcmp(fs->names[i].name, name) != 0) return false;
    if (fs->parallel && fs->names[i].file != (int)file) return false;
    named *e = &fs->names[i];
    e->used = true;
    const weight_file *f = &fs->files[e->file];
    if (f->st) {
        const an_st_tensor *t = an_safetensors_tensor_at(f->st, e->idx);
        *out = (source_view){t->name,  t->dtype_name, t->dtype, t->n_dim,
                             t->shape, NULL,          t->data,  e->file};
    } else {
        const an_torch_tensor *t = an_torch_tensor_at(f->torch, e->idx);
        *out = (source_view){t->name,  an_dtype_get(t->dtype)->name,     t->dtype, t->n_dim,
                             t->shape, t->contiguous ? NULL : t->stride, t->data,  e->file};
    }
    return true;
}

typedef struct index_check {
    an_source_files *fs;
    const char *dir, *index;
} index_check;

static anemo_status check_pair(void *ctx, const char *tensor, const char *file, anemo_error *err)
{
    const index_check *c = ctx;
    source_view v;
    bool found = an_source_files_find(c->fs, tensor, 0, &v);
    if (found) c->fs->names[lower_bound(c->fs, tensor, 0)].used = false;
    if (!found || strcmp(c->fs->files[v.file].name, file) != 0)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s/%s: tensor %.100s is not in %.100s", c->dir,
                       c->index, tensor, file);
    return ANEMO_OK;
}

anemo_status an_source_files_open(an_source_files **out, const char *dir,
                                  const an_weight_list *list, const an_weight_set *set,
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_source_files *fs = an_calloc(1, sizeof *fs);
    if (fs) fs->files = an_calloc(list->n, sizeof *fs->files);
    if (!fs || !fs->files) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", dir);
        goto cleanup;
    }
    fs->parallel = !set && list->n > 1;
    for (size_t i = 0; i < list->n; i++) {
        weight_file *f = &fs->files[fs->n_file++];
        f->name = an_strdup(list->items[i]);
        f->path = an_path_join(dir, list->items[i]);
        if (!f->name || !f->path) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", dir);
            goto cleanup;
        }
        AN_TRY(open_file(f, err));
    }
    AN_TRY(build_index(fs, err));
    if (set) {
        index_check check = {fs, dir, set->index};
        AN_TRY(an_weight_list_pairs(list, dir, set, check_pair, &check, err));
    }
    *out = fs;
cleanup:
    if (status != ANEMO_OK) an_source_files_close(fs);
    return status;
}

void an_source_files_close(an_source_files *fs)
{
    if (!fs) return;
    for (size_t i = 0; i < fs->n_file; i++) {
        an_safetensors_close(fs->files[i].st);
        an_torch_close(fs->files[i].torch);
        an_free(fs->files[i].name);
        an_free(fs->files[i].path);
    }
    an_free(fs->files);
    an_free(fs->names);
    an_free(fs);
}

size_t an_source_files_n(const an_source_files *fs)
{
    return fs->n_file;
}

const char *an_source_files_path(const an_source_files *fs, int file)
{
    return fs->files[file].path;
}

size_t an_source_files_n_name(const an_source_files *fs)
{
    return fs->n_name;
}

const char *an_source_files_name(const an_source_files *fs, size_t i)
{
    return fs->names[i].name;
}

bool an_source_files_parallel(const an_source_files *fs)
{
    return fs->parallel;
}

bool an_source_files_used(const an_source_files *fs, size_t i)
{
    return fs->names[i].used;
}
