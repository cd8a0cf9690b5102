/*
 * What the pickle machine builds: storages, views of them, dictionaries; and the tensors of a whole
 * checkpoint, in an archive or as a stream. Nothing is called and nothing recurses.
 */
#include "format/torch_machine.h"

#include "base/alloc.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The bytes of a storage of an archive: its entry, large enough. */
static anemo_status find_entry(torch_machine *m, torch_node *x, uint64_t bytes)
{
    char name[300];
    if (x->key_len > 64 || m->prefix_len > 200)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the key of a storage is too long");
    int n = snprintf(name, sizeof name, "%.*sdata/%.*s", (int)m->prefix_len, m->prefix,
                     (int)x->key_len, x->key);
    const torch_zip_entry *entry = an_torch_zip_find(m->zip, name, (uint64_t)n);
    if (!entry) return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the archive has no storage %s", name);
    if (bytes > entry->size)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT,
                                "storage %s has %" PRIu64 " bytes, too few for %" PRIu64
                                " elements",
                                name, entry->size, x->numel);
    x->base = entry->data;
    return ANEMO_OK;
}

/* ('storage', class, key, location, number of elements), in the stream form with a view of another
 * storage or None. */
anemo_status an_torch_refer(torch_machine *m, const torch_value *v)
{
    anemo_status status = ANEMO_OK;
    const torch_value *item = v->kind == K_TUPLE ? v->u.node->items : NULL;
    if (!item || v->u.node->n != (m->zip ? 5 : 6) || item[0].kind != K_TEXT ||
        item[0].u.text.len != 7 || memcmp(item[0].u.text.text, "storage", 7) != 0 ||
        item[1].kind != K_GLOBAL ||
        (item[1].u.global->action != A_STORAGE && item[1].u.global->action != A_UNTYPED) ||
        item[2].kind != K_TEXT || item[4].kind != K_INT || item[4].u.i < 0)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the reference is no storage");
    if (!m->zip && item[5].kind != K_NONE)
        return an_torch_fail_at(m, ANEMO_ERR_UNSUPPORTED,
                                "a storage that is a part of another one is not read");
    torch_node *x = an_torch_new_node(m);
    if (!x) return an_torch_no_memory(m);
    uint64_t bytes;
    x->kind = K_STORAGE;
    x->key = item[2].u.text.text;
    x->key_len = item[2].u.text.len;
    x->dtype = item[1].u.global->dtype;
    x->untyped = item[1].u.global->action == A_UNTYPED;
    x->numel = (uint64_t)item[4].u.i;
    if (!an_mul_u64(x->numel, (uint64_t)an_dtype_get(x->dtype)->block_bytes, &bytes))
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the size of a storage overflows");
    if (m->zip) AN_TRY(find_entry(m, x, bytes));
    AN_TRY(an_torch_push(m, (torch_value){.kind = K_STORAGE, .u.node = x}));
cleanup:
    return status;
}

/* --------------------------------------------------------------------------------------------------------
 * tensors */

/* The whole view lies in its storage, and it shows no element twice. */
static anemo_status check_view(torch_machine *m, an_torch_tensor *t, uint64_t offset,
                               uint64_t numel)
{
    uint64_t count = 1, last = offset, step, size = (uint64_t)an_dtype_get(t->dtype)->block_bytes;
    bool ok = true;
    for (int i = 0; i < t->n_dim; i++)
        ok = ok && an_mul_u64(count, (uint64_t)t->shape[i], &count);
    if (!ok || !an_mul_u64(count, size, &t->bytes))
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the number of a tensor's elements overflows");
    t->contiguous = true;
    if (count == 0) return ANEMO_OK;
    int64_t dense = 1;
    for (int i = t->n_dim - 1; i >= 0; i--) {
        ok = ok && an_mul_u64((uint64_t)t->shape[i] - 1, (uint64_t)t->stride[i], &step) &&
             an_add_u64(last, step, &last);
        if (t->shape[i] > 1 && t->stride[i] != dense) t->contiguous = false;
        dense *= t->shape[i];
    }
    if (!ok || last >= numel)
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT,
                                "a tensor reaches beyond its storage of %" PRIu64 " elements",
                                numel);
    if (count > numel)
        return an_torch_fail_at(m, ANEMO_ERR_UNSUPPORTED,
                                "a tensor of %" PRIu64
                                " elements repeats those of a storage of %" PRIu64,
                                count, numel);
    return ANEMO_OK;
}

static anemo_status rebuild_tensor(torch_machine *m, const torch_node *args, bool v3)
{
    const torch_value *a = args->items;
    if (args->n < (v3 ? 7u : 4u) || a[0].kind != K_STORAGE || a[1].kind != K_INT || a[1].u.i < 0 ||
        a[2].kind != K_TUPLE || a[3].kind != K_TUPLE || a[2].u.node->n != a[3].u.node->n ||
        a[2].u.node->n > AN_TORCH_DIMS_MAX ||
        (v3 && (a[6].kind != K_GLOBAL || a[6].u.global->action != A_DTYPE)) ||
        (!v3 && a[0].u.node->untyped))
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the arguments are not those of a tensor");
    const torch_node *storage = a[0].u.node, *shape = a[2].u.node, *stride = a[3].u.node;
    an_torch_tensor t = {.dtype = v3 ? a[6].u.global->dtype : storage->dtype,
                         .n_dim = (int)shape->n};
    uint64_t size = (uint64_t)an_dtype_get(t.dtype)->block_bytes;
    for (size_t i = 0; i < shape->n; i++) {
        const torch_value *d = &shape->items[i], *s = &stride->items[i];
        if (d->kind != K_INT || s->kind != K_INT || d->u.i < 0 || s->u.i < 0)
            return an_torch_fail_at(m, ANEMO_ERR_FORMAT,
                                    "a tensor's sizes and strides must not be negative");
        t.shape[i] = d->u.i;
        t.stride[i] = s->u.i;
    }
    uint64_t held = storage->numel * (uint64_t)an_dtype_get(storage->dtype)->block_bytes;
    uint64_t offset = (uint64_t)a[1].u.i;
    anemo_status status = check_view(m, &t, offset, held / size);
    if (status != ANEMO_OK) return status;
    torch_node *x = an_torch_new_node(m);
    if (!x) return an_torch_no_memory(m);
    x->tensor = t;
    x->storage = storage;
    x->offset = t.bytes ? offset * size : 0;
    return an_torch_push(m, (torch_value){.kind = K_TENSOR, .u.node = x});
}

/* A dictionary from nothing or from a list of pairs. */
static anemo_status build_dict(torch_machine *m, const torch_node *args)
{
    torch_node *x = an_torch_new_node(m);
    if (!x) return an_torch_no_memory(m);
    const torch_node *pairs =
        args->n == 1 && args->items[0].kind == K_LIST ? args->items[0].u.node : NULL;
    if (args->n > 1 || (args->n == 1 && !pairs))
        return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "the arguments are not those of a dictionary");
    for (size_t i = 0; pairs && i < pairs->n; i++) {
        const torch_value *pair = &pairs->items[i];
        if ((pair->kind != K_TUPLE && pair->kind != K_LIST) || pair->u.node->n != 2)
            return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "a dictionary is built of pairs");
        if (!an_torch_grow(&x->items, &x->cap, x->n + 2)) return an_torch_no_memory(m);
        memcpy(x->items + x->n, pair->u.node->items, 2 * sizeof *x->items);
        x->n += 2;
    }
    return an_torch_push(m, (torch_value){.kind = K_DICT, .u.node = x});
}

/* What a call of a known global with these arguments gives. */
anemo_status an_torch_construct(torch_machine *m, const torch_global *g, const torch_node *args)
{
    if (g->action == A_FROM_TYPE) {
        const torch_value *a = args->items;
        if (args->n != 4 || a[0].kind != K_GLOBAL || a[2].kind != K_TUPLE ||
            a[0].u.global->action > A_PARAMETER || a[0].u.global->action == A_DICT)
            return an_torch_fail_at(m, ANEMO_ERR_UNSUPPORTED, "%s does not rebuild a tensor",
                                    g->name);
        g = a[0].u.global;
        args = a[2].u.node;
    }
    switch (g->action) {
    case A_DICT:
        return build_dict(m, args);
    case A_TENSOR:
        return rebuild_tensor(m, args, false);
    case A_TENSOR_V3:
        return rebuild_tensor(m, args, true);
    case A_PARAMETER:
        if (args->n < 1 || args->items[0].kind != K_TENSOR)
            return an_torch_fail_at(m, ANEMO_ERR_FORMAT, "a parameter without its tensor");
        return an_torch_push(m, args->items[0]);
    case A_INERT:
        return an_torch_push(m, (torch_value){.kind = K_NONE});
    default:
        return an_torch_fail_at(m, ANEMO_ERR_UNSUPPORTED, "%s cannot be called", g->name);
    }
}

/* -------------------------------------------------------------------------------------------------------
 * the result */

static size_t count_tensors(const torch_node *dict)
{
    size_t n = 0;
    for (size_t i = 0; i + 1 < dict->n; i += 2)
        n += dict->items[i].kind == K_TEXT && dict->items[i + 1].kind == K_TENSOR;
    return n;
}

/* The dictionary of tensors: the top value, or one level below it under a usual name. */
static const torch_node *find_tensors(const torch_value *top)
{
    static const char *const INNER[] = {"state_dict", "model", "module"};
    if (top->kind != K_DICT) return NULL;
    const torch_node *d = top->u.node;
    if (count_tensors(d) > 0) return d;
    for (size_t i = 0; i + 1 < d->n; i += 2)
        for (size_t k = 0; k < AN_COUNT_OF(INNER); k++)
            if (d->items[i].kind == K_TEXT && d->items[i + 1].kind == K_DICT &&
                d->items[i].u.text.len == strlen(INNER[k]) &&
                memcmp(d->items[i].u.text.text, INNER[k], strlen(INNER[k])) == 0 &&
                count_tensors(d->items[i + 1].u.node) > 0)
                return d->items[i + 1].u.node;
    return NULL;
}

static anemo_status take_tensors(torch_machine *m, const torch_node *dict, an_torch_tensor **out,
                                 size_t *n_out)
{
    size_t n = 0;
    an_torch_tensor *all = an_calloc(count_tensors(dict), sizeof *all);
    if (!all) return an_torch_no_memory(m);
    for (size_t i = 0; i + 1 < dict->n; i += 2) {
        const torch_value *key = &dict->items[i], *v = &dict->items[i + 1];
        if (key->kind != K_TEXT || v->kind != K_TENSOR) continue;
        all[n] = v->u.node->tensor;
        all[n].data = v->u.node->storage->base + v->u.node->offset;
        bool plain =
            key->u.text.len > 0 && !memchr(key->u.text.text, '\0', (size_t)key->u.text.len);
        all[n].name = plain ? an_strndup(key->u.text.text, (size_t)key->u.text.len) : NULL;
        if (!all[n].name) {
            while (n > 0)
                an_free((char *)all[--n].name);
            an_free(all);
            if (plain) return an_torch_no_memory(m);
            return an_fail(m->err, ANEMO_ERR_FORMAT,
                           "%s: %s: a tensor's name is empty or holds a NUL", m->path, m->where);
        }
        n++;
    }
    *out = all;
    *n_out = n;
    return ANEMO_OK;
}

static anemo_status take_result(torch_machine *m, const torch_value *top, an_torch_tensor **out,
                                size_t *n_out)
{
    const torch_node *tensors = find_tensors(top);
    if (!tensors)
        return an_fail(m->err, ANEMO_ERR_FORMAT, "%s: %s holds no dictionary of tensors", m->path,
                       m->where);
    return take_tensors(m, tensors, out, n_out);
}

anemo_status an_torch_unpickle(const unsigned char *data, uint64_t n, const torch_zip *zip,
                               const char *prefix, uint64_t prefix_len, const char *path,
                               an_torch_tensor **out, size_t *n_out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    torch_value top = {0};
    torch_machine m = {.r = {data, n, 0},
                       .zip = zip,
                       .prefix = prefix,
                       .prefix_len = prefix_len,
                       .path = path,
                       .where = "data.pkl",
                       .err = err};
    AN_TRY(an_torch_run(&m, &top));
    AN_TRY(take_result(&m, &top, out, n_out));
cleanup:
    an_torch_machine_free(&m);
    return status;
}

/* ----------------------------------------------------------------------------------------------------
 * the stream form */

static int cmp_key(const void *pa, const void *pb)
{
    const torch_node *a = *(torch_node *const *)pa, *b = *(torch_node *const *)pb;
    return an_name_cmp(a->key, a->key_len, b->key, b->key_len);
}

/* Every reference to a storage, sorted by key. Gives *out. */
static anemo_status list_storages(torch_machine *m, torch_node ***out, size_t *n_out)
{
    size_t n = 0;
    for (torch_node *x = m->nodes; x; x = x->next)
        n += x->kind == K_STORAGE;
    torch_node **all = an_calloc(n ? n : 1, sizeof *all);
    if (!all) return an_torch_no_memory(m);
    n = 0;
    for (torch_node *x = m->nodes; x; x = x->next)
        if (x->kind == K_STORAGE) all[n++] = x;
    if (n > 1) qsort(all, n, sizeof(torch_node *), cmp_key);
    *out = all;
    *n_out = n;
    return ANEMO_OK;
}

static anemo_status bad_storage(const torch_machine *m, const char *key, uint64_t len, uint64_t at,
                                const char *what)
{
    return an_fail(m->err, ANEMO_ERR_FORMAT, "%s: storage %.*s at byte %" PRIu64 ": %s", m->path,
                   len < 64 ? (int)len : 64, key, at, what);
}

/* The data of one storage, which begin at r with their number of elements, for all references to
 * it. */
static anemo_status take_storage(torch_machine *m, const torch_value *key, torch_node **all,
                                 size_t n, an_reader *r)
{
    uint64_t at = r->pos, numel;
    if (key->kind != K_TEXT)
        return an_fail(m->err, ANEMO_ERR_FORMAT,
                       "%s: %s: the list of storages holds more than keys", m->path, m->where);
    const char *text = key->u.text.text;
    uint64_t len = key->u.text.len;
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (an_name_cmp(all[mid]->key, all[mid]->key_len, text, len) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == n || an_name_cmp(all[lo]->key, all[lo]->key_len, text, len) != 0)
        return bad_storage(m, text, len, at, "no tensor refers to it");
    if (all[lo]->base) return bad_storage(m, text, len, at, "occurs twice");
    uint64_t size = (uint64_t)an_dtype_get(all[lo]->dtype)->block_bytes;
    if (!an_read_u64(r, &numel))
        return bad_storage(m, text, len, at,
                           "the file ends before it; the download may be incomplete");
    if (numel != all[lo]->numel)
        return bad_storage(m, text, len, at, "has another number of elements than its tensors say");
    const unsigned char *data = an_read_view(r, numel * size); /* the product was checked */
    if (!data)
        return bad_storage(m, text, len, at,
                           "its data do not lie in the file; the download may be incomplete");
    for (; lo < n && an_name_cmp(all[lo]->key, all[lo]->key_len, text, len) == 0; lo++) {
        if (all[lo]->numel != numel || (uint64_t)an_dtype_get(all[lo]->dtype)->block_bytes != size)
            return bad_storage(m, text, len, at, "its tensors disagree about its size");
        all[lo]->base = data;
    }
    return ANEMO_OK;
}

/* The machine that wrote it must be little-endian; protocol 1001 is the only one there ever was. */
static anemo_status check_system(torch_machine *m)
{
    anemo_status status = ANEMO_OK;
    torch_value v = {0};
    AN_TRY(an_torch_run(m, &v));
    if (v.kind != K_INT || v.u.i != 1001)
        return an_fail(m->err, ANEMO_ERR_UNSUPPORTED, "%s: is a checkpoint of an unknown protocol",
                       m->path);
    AN_TRY(an_torch_run(m, &v));
    for (size_t i = 0; v.kind == K_DICT && i + 1 < v.u.node->n; i += 2) {
        const torch_value *key = &v.u.node->items[i], *value = &v.u.node->items[i + 1];
        if (key->kind == K_TEXT && key->u.text.len == 13 &&
            memcmp(key->u.text.text, "little_endian", 13) == 0 &&
            (value->kind != K_BOOL || !value->u.i))
            return an_fail(m->err, ANEMO_ERR_UNSUPPORTED,
                           "%s: was written on a big-endian machine, which is not read", m->path);
    }
cleanup:
    return status;
}

anemo_status an_torch_unpickle_stream(const unsigned char *data, uint64_t size, uint64_t pickle_max,
                                      const char *path, an_torch_tensor **out, size_t *n_out,
                                      anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    torch_node **all = NULL;
    size_t n = 0;
    torch_value top = {0}, keys = {0};
    torch_machine m = {.r = {data, size < pickle_max ? size : pickle_max, AN_TORCH_MAGIC_BYTES},
                       .path = path,
                       .where = "pickle",
                       .err = err};
    AN_TRY(check_system(&m));
    AN_TRY(an_torch_run(&m, &top));
    AN_TRY(an_torch_run(&m, &keys));
    if (keys.kind != K_LIST) {
        status =
            an_fail(err, ANEMO_ERR_FORMAT, "%s: pickle: the list of storages is missing", path);
        goto cleanup;
    }
    AN_TRY(list_storages(&m, &all, &n));
    an_reader r = {data, size, m.r.pos};
    for (size_t i = 0; i < keys.u.node->n; i++)
        AN_TRY(take_storage(&m, &keys.u.node->items[i], all, n, &r));
    for (size_t i = 0; i < n && status == ANEMO_OK; i++)
        if (!all[i]->base)
            status = bad_storage(&m, all[i]->key, all[i]->key_len, r.pos, "has no data");
    if (status == ANEMO_OK) status = take_result(&m, &top, out, n_out);
cleanup:
    an_free(all);
    an_torch_machine_free(&m);
    return status;
}
