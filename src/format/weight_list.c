/* Which files of a folder make up the model: the index, or the names themselves. */
#include "format/weight_list.h"

#include "base/alloc.h"
#include "base/str.h"
#include "format/json_scan.h"
#include "format/name_index.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_BYTES_MAX (UINT64_C(32) << 20)

const an_weight_set an_weight_set_safetensors = {"model.safetensors.index.json",
                                                 {"model", "weight"},
                                                 ".safetensors",
                                                 true,
                                                 "model*.safetensors"};
const an_weight_set an_weight_set_torch = {
    "pytorch_model.bin.index.json", {"pytorch_model", NULL}, ".bin", false, "pytorch_model*.bin"};
const an_weight_set an_weight_set_native_safetensors = {"consolidated.safetensors.index.json",
                                                        {"consolidated", NULL},
                                                        ".safetensors",
                                                        false,
                                                        "consolidated*.safetensors"};

void an_weight_list_free(an_weight_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        an_free(list->items[i]);
    an_free(list->items);
    an_free(list->index_text);
    *list = (an_weight_list){0};
}

static anemo_status list_add(an_weight_list *list, const char *name, anemo_error *err)
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
static bool is_plain(const char *name, const char *suffix)
{
    return name[0] && name[0] != '.' && !strpbrk(name, "/\\:") && an_str_ends_with(name, suffix);
}

/* Walk the weight map. `room` has space for every decoded string of the index. */
static anemo_status walk_index(const char *path, const char *text, size_t n, char *room,
                               an_weight_pair_fn fn, void *ctx, anemo_error *err)
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
    an_weight_list *list;
    const char *path, *suffix;
} collect;

static anemo_status collect_file(void *ctx, const char *tensor, const char *file, anemo_error *err)
{
    collect *c = ctx;
    if (!is_plain(file, c->suffix))
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: tensor %.100s: '%.100s' is not the plain name of a %s file", c->path,
                       tensor, file, c->suffix);
    /* Tensors of one file mostly stand together; what still repeats is removed by unique(). */
    if (c->list->n && !strcmp(c->list->items[c->list->n - 1], file)) return ANEMO_OK;
    return list_add(c->list, file, err);
}

static int cmp_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void unique(an_weight_list *list)
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

static anemo_status list_by_index(const char *dir, const an_weight_set *set, an_weight_list *list,
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *room = NULL, *path = an_path_join(dir, set->index);
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_file_read(path, INDEX_BYTES_MAX, &list->index_text, &list->index_bytes, err));
    room = an_malloc(list->index_bytes + 2);
    if (!room) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    collect c = {list, path, set->suffix};
    AN_TRY(walk_index(path, list->index_text, list->index_bytes, room, collect_file, &c, err));
    unique(list);
    if (list->n == 0) status = an_fail(err, ANEMO_ERR_FORMAT, "%s: names no files", path);
cleanup:
    an_free(room);
    an_free(path);
    return status;
}

/* "model-00002-of-00003.safetensors": its numbers; false for any other name. */
static bool shard_numbers(const char *name, const char *suffix, int64_t *no, int64_t *count)
{
    const char *p = strchr(name, '-');
    char digits[2][6];
    if (!p || strlen(p) != strlen("-00001-of-00003") + strlen(suffix) || memcmp(p + 6, "-of-", 4) ||
        strcmp(p + 15, suffix))
        return false;
    for (int i = 0; i < 5; i++) {
        digits[0][i] = p[1 + i];
        digits[1][i] = p[10 + i];
    }
    digits[0][5] = digits[1][5] = '\0';
    return an_parse_i64(digits[0], no) && an_parse_i64(digits[1], count);
}

/* Numbered files must be complete; file names sort by number. */
static anemo_status check_sequence(const char *dir, const an_weight_set *set,
                                   const an_weight_list *list, anemo_error *err)
{
    int64_t no, count, expected = 0, total = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (!shard_numbers(list->items[i], set->suffix, &no, &count)) continue;
        if (total == 0) total = count;
        if (count != total || no != ++expected)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: %s stands where part %" PRId64 " of %" PRId64
                           " is expected; a part is missing or belongs to another set",
                           dir, list->items[i], expected, total);
    }
    if (expected != total)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: parts %" PRId64 " to %" PRId64 " of %s-*%s are missing", dir,
                       expected + 1, total, set->heads[0], set->suffix);
    return ANEMO_OK;
}

/* Is this the name of a weight file with this head? */
static bool is_member(const an_weight_set *set, const char *head, const char *name)
{
    int64_t no, count;
    if (!head || !an_str_starts_with(name, head) || !is_plain(name, set->suffix)) return false;
    return set->any_middle || strcmp(name + strlen(head), set->suffix) == 0 ||
           (name[strlen(head)] == '-' && shard_numbers(name, set->suffix, &no, &count));
}

bool an_weight_set_present(const an_weight_set *set, char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (set->index && strcmp(names[i], set->index) == 0) return true;
        for (size_t h = 0; h < AN_COUNT_OF(set->heads); h++)
            if (is_member(set, set->heads[h], names[i])) return true;
    }
    return false;
}

static anemo_status list_by_name(const char *dir, const an_weight_set *set, an_weight_list *list,
                                 anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **names = NULL;
    size_t n;
    bool npz = false;
    AN_TRY(an_dir_list(dir, &names, &n, err));
    for (size_t h = 0; h < AN_COUNT_OF(set->heads) && list->n == 0; h++) {
        for (size_t i = 0; i < n; i++) {
            npz = npz || !strcmp(names[i], "weights.npz");
            if (is_member(set, set->heads[h], names[i])) AN_TRY(list_add(list, names[i], err));
        }
    }
    if (list->n == 0) {
        status =
            npz && set == &an_weight_set_safetensors
                ? an_fail(
                      err, ANEMO_ERR_UNSUPPORTED,
                      "%s: holds weights.npz of an early MLX; convert the model again with mlx-lm",
                      dir)
                : an_fail(err, ANEMO_ERR_NOTFOUND, "%s: holds no %s", dir, set->shown);
        goto cleanup;
    }
    AN_TRY(check_sequence(dir, set, list, err));
cleanup:
    an_names_free(names);
    return status;
}

anemo_status an_weight_list_open(an_weight_list *list, const char *dir, const an_weight_set *set,
                                 anemo_error *err)
{
    anemo_status status;
    bool index = false;
    if (set->index) {
        char *path = an_path_join(dir, set->index);
        if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        index = an_path_probe(path) == AN_PATH_FILE;
        an_free(path);
    }
    *list = (an_weight_list){0};
    status = index ? list_by_index(dir, set, list, err) : list_by_name(dir, set, list, err);
    if (status != ANEMO_OK) an_weight_list_free(list);
    return status;
}

anemo_status an_weight_list_pairs(const an_weight_list *list, const char *dir,
                                  const an_weight_set *set, an_weight_pair_fn fn, void *ctx,
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *path = NULL, *room = NULL;
    if (!list->index_text) return ANEMO_OK;
    path = an_path_join(dir, set->index);
    room = an_malloc(list->index_bytes + 2);
    if (!room || !path)
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", dir);
    else
        status = walk_index(path, list->index_text, list->index_bytes, room, fn, ctx, err);
    an_free(room);
    an_free(path);
    return status;
}

/* -------------------------------------------------------------------------------------------------------------
 * links */

/* Is `path` below the first n bytes of `folder`? */
static bool is_below(const char *path, const char *folder, size_t n)
{
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* The length of "…/models--X" when the folder is a snapshot of the hub's cache or lies in one; 0
 * otherwise. */
static size_t cache_repository(const char *folder)
{
    const char *snapshots = strstr(folder, "/snapshots/");
    if (!snapshots) return 0;
    const char *repository = snapshots;
    while (repository > folder && repository[-1] != '/')
        repository--;
    return an_str_starts_with(repository, "models--") ? (size_t)(snapshots - folder) : 0;
}

anemo_status an_weight_file_check_link(const char *dir, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *path = an_path_join(dir, name), *folder = NULL, *file = NULL;
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", dir);
    folder = an_path_real(dir);
    file = an_path_real(path);
    if (!folder || !file) {
        status = an_fail(err, ANEMO_ERR_NOTFOUND,
                         "%s: no such file; a part of the model is missing", path);
        goto cleanup;
    }
    size_t n = cache_repository(folder);
    bool in_cache = n > 0 && is_below(file, folder, n) && an_str_starts_with(file + n, "/blobs/");
    if (!in_cache && !is_below(file, folder, strlen(folder)))
        status = an_fail(
            err, ANEMO_ERR_FORMAT,
            "%s: is a link out of the model's folder, to %s; copy the file there if it is meant",
            path, file);
cleanup:
    an_free(file);
    an_free(folder);
    an_free(path);
    return status;
}
