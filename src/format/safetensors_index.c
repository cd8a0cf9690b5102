/* Which safetensors files of a folder make up the model: the index, or the names themselves. */
#include "format/safetensors_internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "format/json_scan.h"
#include "format/name_index.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_NAME      "model.safetensors.index.json"
#define INDEX_BYTES_MAX (UINT64_C(32) << 20)

void an_st_names_free(st_name_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        an_free(list->items[i]);
    an_free(list->items);
    an_free(list->index_text);
    *list = (st_name_list){0};
}

static anemo_status list_add(st_name_list *list, const char *name, anemo_error *err)
{
    char **grown = an_realloc(list->items, (list->n + 1) * sizeof *grown);
    if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    list->items = grown;
    grown[list->n] = an_strdup(name);
    if (!grown[list->n]) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    list->n++;
    return ANEMO_OK;
}

/* A name that stays in its folder, wherever the index came from. */
static bool is_plain(const char *name)
{
    return name[0] && name[0] != '.' && !strpbrk(name, "/\\:") &&
           an_str_ends_with(name, ".safetensors");
}

/* What is done with each pair of the weight map; returns false with the reason in *err. */
typedef anemo_status (*pair_fn)(void *ctx, const char *tensor, const char *file, anemo_error *err);

/* Walk the weight map. `room` has space for every decoded string of the index. */
static anemo_status walk_index(const char *path, const char *text, size_t n, char *room, pair_fn fn,
                               void *ctx, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_json_scan s;
    bool more = true, more_pairs, found = false;
    uint64_t len;
    if (!an_json_scan_init(&s, text, n) || !an_json_scan_char(&s, '{')) goto bad;
    while (more) {
        if (!an_json_scan_string(&s, room, &len) || !an_json_scan_char(&s, ':')) goto bad;
        if (strcmp(room, "weight_map") || found) {
            if (!strcmp(room, "weight_map")) {
                an_json_scan_fail(&s, s.pos, "weight_map occurs twice");
                goto bad;
            }
            if (!an_json_scan_skip(&s)) goto bad;
        } else {
            found = true;
            if (!an_json_scan_char(&s, '{')) goto bad;
            more_pairs = !an_json_scan_peek(&s, '}');
            if (!more_pairs && !an_json_scan_char(&s, '}')) goto bad;
            while (more_pairs) {
                uint64_t file_len;
                if (!an_json_scan_string(&s, room, &len) || !an_json_scan_char(&s, ':') ||
                    !an_json_scan_string(&s, room + len + 1, &file_len))
                    goto bad;
                AN_TRY(fn(ctx, room, room + len + 1, err));
                if (!an_json_scan_next(&s, '}', &more_pairs)) goto bad;
            }
        }
        if (!an_json_scan_next(&s, '}', &more)) goto bad;
    }
    if (!an_json_scan_end(&s)) goto bad;
    if (!found) status = an_fail(err, ANEMO_ERR_FORMAT, "%s: weight_map is missing", path);
cleanup:
    return status;
bad:
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: at byte %" PRIu64 ": %s", path, s.at, s.error);
}

typedef struct collect {
    st_name_list *list;
    const char *path;
} collect;

static anemo_status collect_file(void *ctx, const char *tensor, const char *file, anemo_error *err)
{
    collect *c = ctx;
    if (!is_plain(file))
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: tensor %.100s: '%.100s' is not the plain name of a .safetensors file",
                       c->path, tensor, file);
    /* Tensors of one file mostly stand together; what still repeats is removed by unique(). */
    if (c->list->n && !strcmp(c->list->items[c->list->n - 1], file)) return ANEMO_OK;
    return list_add(c->list, file, err);
}

static int cmp_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void unique(st_name_list *list)
{
    size_t kept = 0;
    if (list->n > 1) qsort(list->items, list->n, sizeof *list->items, cmp_text);
    for (size_t i = 0; i < list->n; i++) {
        if (kept && !strcmp(list->items[kept - 1], list->items[i]))
            an_free(list->items[i]);
        else
            list->items[kept++] = list->items[i];
    }
    list->n = kept;
}

static anemo_status list_by_index(const char *dir, st_name_list *list, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *room = NULL, *path = an_path_join(dir, INDEX_NAME);
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_file_read(path, INDEX_BYTES_MAX, &list->index_text, &list->index_bytes, err));
    room = an_malloc(list->index_bytes + 2);
    if (!room) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    collect c = {list, path};
    AN_TRY(walk_index(path, list->index_text, list->index_bytes, room, collect_file, &c, err));
    unique(list);
    if (list->n == 0) status = an_fail(err, ANEMO_ERR_FORMAT, "%s: names no files", path);
cleanup:
    an_free(room);
    an_free(path);
    return status;
}

/* "model-00002-of-00003.safetensors": its numbers; false for any other name. */
static bool shard_numbers(const char *name, int64_t *no, int64_t *count)
{
    const char *p = strchr(name, '-');
    char digits[2][6];
    if (!p || strlen(p) != strlen("-00001-of-00003.safetensors") || memcmp(p + 6, "-of-", 4) ||
        strcmp(p + 15, ".safetensors"))
        return false;
    for (int i = 0; i < 5; i++) {
        digits[0][i] = p[1 + i];
        digits[1][i] = p[10 + i];
    }
    digits[0][5] = digits[1][5] = '\0';
    return an_parse_i64(digits[0], no) && an_parse_i64(digits[1], count);
}

/* Numbered files must be complete; file names sort by number. */
static anemo_status check_sequence(const char *dir, const st_name_list *list, anemo_error *err)
{
    int64_t no, count, expected = 0, total = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (!shard_numbers(list->items[i], &no, &count)) continue;
        if (total == 0) total = count;
        if (count != total || no != ++expected)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: %s stands where part %" PRId64 " of %" PRId64
                           " is expected; a part is missing or belongs to another set",
                           dir, list->items[i], expected, total);
    }
    if (expected != total)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: parts %" PRId64 " to %" PRId64 " of model-*.safetensors are missing",
                       dir, expected + 1, total);
    return ANEMO_OK;
}

static anemo_status list_by_name(const char *dir, st_name_list *list, anemo_error *err)
{
    static const char *const heads[] = {"model", "weight"};
    anemo_status status = ANEMO_OK;
    char **names = NULL;
    size_t n;
    bool npz = false;
    AN_TRY(an_dir_list(dir, &names, &n, err));
    for (size_t h = 0; h < AN_COUNT_OF(heads) && list->n == 0; h++) {
        for (size_t i = 0; i < n; i++) {
            npz = npz || !strcmp(names[i], "weights.npz");
            if (an_str_starts_with(names[i], heads[h]) && is_plain(names[i]))
                AN_TRY(list_add(list, names[i], err));
        }
    }
    if (list->n == 0) {
        status =
            npz ? an_fail(
                      err, ANEMO_ERR_UNSUPPORTED,
                      "%s: holds weights.npz of an early MLX; convert the model again with mlx-lm",
                      dir)
                : an_fail(err, ANEMO_ERR_NOTFOUND, "%s: holds no model*.safetensors", dir);
        goto cleanup;
    }
    AN_TRY(check_sequence(dir, list, err));
cleanup:
    an_names_free(names);
    return status;
}

anemo_status an_st_list_files(const char *dir, st_name_list *list, anemo_error *err)
{
    anemo_status status;
    char *path = an_path_join(dir, INDEX_NAME);
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    bool index = an_path_probe(path) == AN_PATH_FILE;
    an_free(path);
    *list = (st_name_list){0};
    status = index ? list_by_index(dir, list, err) : list_by_name(dir, list, err);
    if (status != ANEMO_OK) an_st_names_free(list);
    return status;
}

typedef struct check {
    const an_safetensors *st;
    const char *dir;
} check;

static anemo_status check_pair(void *ctx, const char *tensor, const char *file, anemo_error *err)
{
    check *c = ctx;
    const an_st_tensor *t = an_safetensors_find(c->st, tensor);
    if (!t || strcmp(an_safetensors_file_name(c->st, (size_t)t->file), file))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s/%s: tensor %.100s is not in %.100s", c->dir,
                       INDEX_NAME, tensor, file);
    return ANEMO_OK;
}

anemo_status an_st_check_index(const an_safetensors *st, const char *dir, const st_name_list *list,
                               anemo_error *err)
{
    check c = {st, dir};
    if (!list->index_text) return ANEMO_OK;
    char *room = an_malloc(list->index_bytes + 2);
    if (!room) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", dir);
    anemo_status status =
        walk_index(INDEX_NAME, list->index_text, list->index_bytes, room, check_pair, &c, err);
    an_free(room);
    return status;
}
