/* Choosing a model's files from a listing. */
#include "hub/choose.h"

#include "base/alloc.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------------------------------------- names */

/* One set "[...]" at *p against c; false in *is_set when there is no closing bracket, and then "[" is a letter. */
static bool match_set(const char **p, char c, bool *is_set)
{
    const char *q = *p + 1;
    bool inverted = *q == '!', found = false;
    if (inverted) q++;
    for (bool first = true; *q && (first || *q != ']'); first = false) {
        if (q[1] == '-' && q[2] && q[2] != ']') {
            found |= (unsigned char)q[0] <= (unsigned char)c && (unsigned char)c <= (unsigned char)q[2];
            q += 3;
        } else
            found |= *q++ == c;
    }
    *is_set = *q == ']';
    if (*is_set) *p = q;
    return found != inverted;
}

bool an_glob_match(const char *pattern, const char *text)
{
    /* The last star and where it began to match: on a mismatch it takes one character more. */
    const char *star = NULL, *mark = NULL;
    const char *p = pattern, *t = text;
    while (*t) {
        if (*p == '*') {
            star = ++p;
            mark = t;
            continue;
        }
        const char *after = p;
        bool is_set = false, hit = false;
        if (*p == '[') hit = match_set(&after, *t, &is_set);
        if (!is_set) hit = *p && (*p == '?' || *p == *t);
        if (hit) {
            p = after + 1;
            t++;
        } else if (star) {
            p = star;
            t = ++mark;
        } else
            return false;
    }
    while (*p == '*')
        p++;
    return *p == '\0';
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool all_digits(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)p[i])) return false;
    return true;
}

bool an_shard_parse(const char *path, size_t *n_stem, int *index, int *count)
{
    const char *dot = strrchr(base_of(path), '.');
    const size_t tail = strlen("-00001-of-00002");
    if (!dot || (size_t)(dot - path) <= tail) return false;
    const char *p = dot - tail;
    if (p[0] != '-' || !all_digits(p + 1, 5) || strncmp(p + 6, "-of-", 4) != 0 || !all_digits(p + 10, 5)) return false;
    *n_stem = (size_t)(p - path);
    *index = atoi(p + 1);
    *count = atoi(p + 10);
    return *index >= 1 && *index <= *count;
}

static bool is_gguf(const char *path)
{
    return strlen(path) > 5 && strcasecmp(path + strlen(path) - 5, ".gguf") == 0;
}

static bool contains_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (; *text; text++)
        if (strncasecmp(text, word, n) == 0) return true;
    return false;
}

/* A GGUF file that is a model (or a shard of one). */
static bool is_gguf_model(const char *path)
{
    const char *base = base_of(path);
    return is_gguf(path) && !contains_word(base, "mmproj") && !contains_word(base, "imatrix");
}

/* Is text[0..n) the name of a quantization: Q4_K_M, IQ3_XXS, UD-Q4_K_XL's last part, F16, MXFP4_MOE? */
static bool is_quant_name(const char *p, size_t n)
{
    static const char *const heads[] = {"IQ", "TQ", "Q", "BF", "FP", "F", "MXFP", "NVFP"};
    for (size_t i = 0; i < AN_COUNT_OF(heads); i++) {
        size_t h = strlen(heads[i]);
        if (n <= h || strncasecmp(p, heads[i], h) != 0 || !isdigit((unsigned char)p[h])) continue;
        for (size_t k = h; k < n; k++)
            if (!isalnum((unsigned char)p[k]) && p[k] != '_') return false;
        return true;
    }
    return false;
}

const char *an_quant_of_path(const char *path, char out[32])
{
    size_t n_stem;
    int index, count;
    out[0] = '\0';
    size_t end = is_gguf(path) ? strlen(path) - 5 : strlen(path);
    if (an_shard_parse(path, &n_stem, &index, &count)) end = n_stem;
    /* The last word of the path that names one; words are divided by "-", "." and "/". */
    while (end > 0) {
        size_t begin = end;
        while (begin > 0 && !strchr("-./", path[begin - 1]))
            begin--;
        if (is_quant_name(path + begin, end - begin) && end - begin < 32) {
            for (size_t i = begin; i < end; i++)
                out[i - begin] = (char)toupper((unsigned char)path[i]);
            out[end - begin] = '\0';
            return out;
        }
        end = begin > 0 ? begin - 1 : 0;
    }
    return out;
}

/* Does the tag stand in the path as a whole word? After it comes "-", ".", "/" or a shard number; "_" would make it
 * another. */
static bool has_tag(const char *path, const char *tag)
{
    size_t n = strlen(tag);
    for (const char *p = path; *p; p++) {
        if (strncasecmp(p, tag, n) != 0) continue;
        bool left = p == path || strchr("-._/", p[-1]);
        if (left && (p[n] == '\0' || strchr("-./", p[n]))) return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------- lists */

static anemo_status add_index(an_choice *c, size_t index, anemo_error *err)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->index[i] == index) return ANEMO_OK;
    size_t *bigger = an_realloc(c->index, (c->n + 1) * sizeof *bigger);
    if (!bigger) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    c->index = bigger;
    size_t at = c->n++;
    for (; at > 0 && bigger[at - 1] > index; at--)
        bigger[at] = bigger[at - 1];
    bigger[at] = index;
    return ANEMO_OK;
}

/* Fail with the names after the message. */
static anemo_status fail_with_list(anemo_error *err, anemo_status status, const char *head, const an_str *list)
{
    if (list->failed) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    return an_fail(err, status, "%s%s%s", head, list->len ? ": " : "", an_str_text(list));
}

static void list_name(an_str *list, const char *name)
{
    char shown[200];
    if (list->len < 600)
        an_str_appendf(list, "%s%s", list->len ? ", " : "", an_name_for_message(name, shown, sizeof shown));
    else if (!an_str_ends_with(an_str_text(list), "..."))
        an_str_append(list, ", ...");
}

/* All shards of the set that file `index` belongs to, or that file alone. */
static anemo_status add_set(an_choice *c, const an_listing *l, size_t index, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n_stem, stem;
    int k, n, number, count;
    const char *path = l->files[index].path;
    if (!an_shard_parse(path, &n_stem, &k, &n)) {
        snprintf(c->main, sizeof c->main, "%s", path);
        return add_index(c, index, err);
    }
    int found = 0, missing = 0;
    for (size_t i = 0; i < l->n; i++) {
        const char *other = l->files[i].path;
        if (!an_shard_parse(other, &stem, &number, &count) || stem != n_stem || count != n ||
            strncmp(other, path, stem) != 0 || strcmp(strrchr(other, '.'), strrchr(path, '.')) != 0)
            continue;
        found++;
        if (number == 1) snprintf(c->main, sizeof c->main, "%s", other);
        AN_TRY(add_index(c, i, err));
    }
    for (int want = 1; found < n && !missing && want <= n; want++) {
        bool there = false;
        for (size_t i = 0; i < c->n && !there; i++)
            there =
                an_shard_parse(l->files[c->index[i]].path, &stem, &number, &count) && stem == n_stem && number == want;
        if (!there) missing = want;
    }
    if (found != n)
        status = an_fail(err, ANEMO_ERR_FORMAT,
                         "'%s': only %d of its %d shards are there; the first that is missing is number %d", path,
                         found, n, missing);
cleanup:
    return status;
}

/* ------------------------------------------------------------------------------------------------- GGUF */

/* The first file of each model among the GGUF files that have the tag ("" for all). */
static bool is_head_of_gguf(const char *path, const char *tag, const char *prefix)
{
    size_t n_stem;
    int k, n;
    if (!is_gguf_model(path) || strncmp(path, prefix, strlen(prefix)) != 0) return false;
    if (an_shard_parse(path, &n_stem, &k, &n) && k != 1) return false;
    return tag[0] == '\0' || has_tag(path, tag);
}

static anemo_status choose_gguf(an_choice *c, const an_listing *l, const an_wish *w, const char *prefix,
                                anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str list = {0};
    char quant[32], head[300];
    const char *tag = w->quant[0] ? w->quant : "Q4_K_M";
    size_t n_match = 0, match = 0, n_all = 0, first = l->n;
    for (size_t i = 0; i < l->n; i++) {
        if (!is_head_of_gguf(l->files[i].path, "", prefix)) continue;
        n_all++;
        if (first == l->n || strcmp(l->files[i].path, l->files[first].path) < 0) first = i;
        if (!has_tag(l->files[i].path, tag)) continue;
        n_match++;
        match = i;
    }
    c->form = AN_FORM_GGUF;
    if (n_match == 0 && !w->quant[0] && n_all > 0) {
        match = first;
        n_match = 1;
        if (n_all > 1)
            snprintf(c->note, sizeof c->note, "there is no Q4_K_M; the first file is taken: %.180s",
                     l->files[first].path);
    }
    if (n_match == 1) {
        AN_TRY(add_set(c, l, match, err));
        goto cleanup;
    }
    for (size_t i = 0; i < l->n; i++) {
        const char *path = l->files[i].path;
        if (!is_head_of_gguf(path, n_match ? tag : "", prefix)) continue;
        list_name(&list, n_match || !an_quant_of_path(path, quant)[0] ? path : quant);
    }
    if (n_match)
        snprintf(head, sizeof head, "%.100s:%.64s is ambiguous; name one with --file", w->repo, tag);
    else if (n_all)
        snprintf(head, sizeof head, "%.100s has no %.64s; there are", w->repo, tag);
    else
        snprintf(head, sizeof head, "%.100s has no GGUF files; leave :%.64s away", w->repo, tag);
    status = fail_with_list(err, n_match ? ANEMO_ERR_INVAL : ANEMO_ERR_NOTFOUND, head, &list);
cleanup:
    an_str_free(&list);
    return status;
}

/* ------------------------------------------------------------------------------------------------- folders of weights
 */

/* The name below the prefix; NULL for what lies elsewhere or deeper. */
static const char *direct_name(const char *path, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(path, prefix, n) != 0 || strchr(path + n, '/')) return NULL;
    return path + n;
}

/*
 * One set of weights: BASE.EXT alone, or all BASE-%05d-of-%05d.EXT; where both or several counts are there, the one
 * file, else an error. Sets *found.
 */
static anemo_status add_weights(an_choice *c, const an_listing *l, const char *prefix, const char *base,
                                const char *ext, bool *found, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t shard = l->n, n_stem;
    int k, n, count = 0;
    char single[1100], stem[1100], main[sizeof c->main];
    snprintf(single, sizeof single, "%s%s%s", prefix, base, ext);
    snprintf(stem, sizeof stem, "%s%s", prefix, base);
    *found = false;
    for (size_t i = 0; i < l->n; i++) {
        const char *path = l->files[i].path;
        if (strcmp(path, single) == 0) {
            *found = true;
            return add_index(c, i, err);
        }
        if (!an_str_ends_with(path, ext) || !an_shard_parse(path, &n_stem, &k, &n) || n_stem != strlen(stem) ||
            strncmp(path, stem, n_stem) != 0)
            continue;
        if (count != 0 && n != count)
            return an_fail(err, ANEMO_ERR_INVAL,
                           "%s: there are shards '-of-%05d' and '-of-%05d'; choose with --include", stem, count, n);
        count = n;
        shard = i;
    }
    if (shard == l->n) return ANEMO_OK;
    snprintf(main, sizeof main, "%s", c->main);
    AN_TRY(add_set(c, l, shard, err));
    snprintf(c->main, sizeof c->main, "%s", main);
    *found = true;
cleanup:
    return status;
}

/* All files directly in the folder that match one of the patterns. */
static anemo_status add_matching(an_choice *c, const an_listing *l, const char *prefix, const char *const *patterns,
                                 bool *found, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < l->n; i++) {
        const char *name = direct_name(l->files[i].path, prefix);
        for (size_t k = 0; name && patterns[k]; k++)
            if (an_glob_match(patterns[k], name)) {
                if (found) *found = true;
                AN_TRY(add_index(c, i, err));
                break;
            }
    }
cleanup:
    return status;
}

static bool has_file(const an_listing *l, const char *prefix, const char *name)
{
    char path[1100];
    snprintf(path, sizeof path, "%s%s", prefix, name);
    return an_listing_find(l, path) != NULL;
}

static const char *const hf_small[] = {"*.jinja", "*.txt", "tokenizer.model*", NULL};
static const char *const native_small[] = {"params.json", "tekken.json", "tokenizer.model*", NULL};

/* The JSON files of a Hugging Face folder: all but the indexes of weights that are not taken. */
static anemo_status add_json(an_choice *c, const an_listing *l, const char *prefix, bool bins, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < l->n; i++) {
        const char *name = direct_name(l->files[i].path, prefix);
        if (!name || !an_str_ends_with(name, ".json")) continue;
        if (an_glob_match("consolidated*", name) || (!bins && an_glob_match("*.bin.index.json", name)) ||
            (bins && an_glob_match("*.safetensors.index.json", name)) || an_glob_match("*.h5.index.json", name) ||
            an_glob_match("*.msgpack.index.json", name))
            continue;
        AN_TRY(add_index(c, i, err));
    }
cleanup:
    return status;
}

/* The Hugging Face or MLX set; *found tells whether there is one. */
static anemo_status add_hf(an_choice *c, const an_listing *l, const char *prefix, bool *found, anemo_error *err)
{
    static const char *const other_safetensors[] = {"model*.safetensors", "weights*.safetensors", NULL};
    anemo_status status = ANEMO_OK;
    bool bins = false;
    *found = false;
    if (!has_file(l, prefix, "config.json")) return ANEMO_OK;
    AN_TRY(add_weights(c, l, prefix, "model", ".safetensors", found, err));
    if (!*found) AN_TRY(add_matching(c, l, prefix, other_safetensors, found, err));
    if (!*found) {
        AN_TRY(add_weights(c, l, prefix, "pytorch_model", ".bin", found, err));
        bins = *found;
    }
    if (!*found) goto cleanup;
    AN_TRY(add_json(c, l, prefix, bins, err));
    AN_TRY(add_matching(c, l, prefix, hf_small, NULL, err));
    c->form = AN_FORM_HF;
cleanup:
    return status;
}

static anemo_status add_native(an_choice *c, const an_listing *l, const char *prefix, bool *found, anemo_error *err)
{
    static const char *const index[] = {"consolidated*.index.json", NULL};
    static const char *const torch[] = {"consolidated*.pth", "consolidated*.pt", NULL};
    anemo_status status = ANEMO_OK;
    *found = false;
    if (!has_file(l, prefix, "params.json")) return ANEMO_OK;
    AN_TRY(add_weights(c, l, prefix, "consolidated", ".safetensors", found, err));
    if (*found)
        AN_TRY(add_matching(c, l, prefix, index, NULL, err));
    else
        AN_TRY(add_matching(c, l, prefix, torch, found, err));
    if (!*found) goto cleanup;
    AN_TRY(add_matching(c, l, prefix, native_small, NULL, err));
    c->form = AN_FORM_NATIVE;
cleanup:
    return status;
}

static anemo_status choose_model(an_choice *c, const an_listing *l, const an_wish *w, const char *prefix,
                                 anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool found = false;
    if (w->quant[0]) return choose_gguf(c, l, w, prefix, err);
    AN_TRY(add_hf(c, l, prefix, &found, err));
    if (!found) AN_TRY(add_native(c, l, prefix, &found, err));
    if (found) {
        snprintf(c->main, sizeof c->main, "%s", prefix);
        goto cleanup;
    }
    for (size_t i = 0; i < l->n; i++)
        if (is_head_of_gguf(l->files[i].path, "", prefix)) return choose_gguf(c, l, w, prefix, err);
    status = an_fail(
        err, l->n ? ANEMO_ERR_UNSUPPORTED : ANEMO_ERR_NOTFOUND,
        "%s: none of its %zu files is a set of weights that anemo reads (GGUF, or config.json with safetensors or "
        "pytorch_model*.bin, or params.json with consolidated*); --include takes other files",
        w->repo, l->n);
cleanup:
    return status;
}

/* ------------------------------------------------------------------------------------------------- wishes */

static bool matches_any(const char *const *patterns, const char *path)
{
    char folder[1100];
    for (size_t k = 0; patterns && patterns[k]; k++) {
        /* As in Python's client a folder stands for all that is in it. */
        snprintf(folder, sizeof folder, "%s%s", patterns[k], an_str_ends_with(patterns[k], "/") ? "*" : "");
        if (an_glob_match(folder, path)) return true;
    }
    return false;
}

static bool asks_for_python(const char *const *patterns)
{
    for (size_t k = 0; patterns && patterns[k]; k++)
        if (an_str_ends_with(patterns[k], ".py")) return true;
    return false;
}

static anemo_status choose_by_pattern(an_choice *c, const an_listing *l, const an_wish *w, const char *prefix,
                                      anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool python = asks_for_python(w->include);
    for (size_t i = 0; i < l->n; i++) {
        const char *path = l->files[i].path;
        if (strncmp(path, prefix, strlen(prefix)) != 0 || !matches_any(w->include, path)) continue;
        if (an_str_ends_with(path, ".py") && !python) continue;
        AN_TRY(add_index(c, i, err));
    }
    snprintf(c->main, sizeof c->main, "%s", prefix);
    if (c->n == 0)
        status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no file matches --include %s", w->repo, w->include[0]);
cleanup:
    return status;
}

/* A name that somebody may have meant: the same last component, or the same beginning. */
static bool is_near(const char *path, const char *wanted)
{
    const char *a = base_of(path), *b = base_of(wanted);
    size_t n = strcspn(b, ".");
    return strcasecmp(a, b) == 0 || contains_word(path, b) || (n > 2 && strncasecmp(a, b, n < 6 ? n : 6) == 0);
}

static anemo_status no_such_file(const an_listing *l, const an_wish *w, anemo_error *err)
{
    an_str list = {0};
    char head[400], shown[200];
    for (int pass = 0; pass < 2 && list.len == 0; pass++)
        for (size_t i = 0; i < l->n; i++)
            if (pass || is_near(l->files[i].path, w->path)) list_name(&list, l->files[i].path);
    snprintf(head, sizeof head, "%.100s has no file '%s'; there are", w->repo,
             an_name_for_message(w->path, shown, sizeof shown));
    anemo_status status = fail_with_list(err, ANEMO_ERR_NOTFOUND, head, &list);
    an_str_free(&list);
    return status;
}

static int by_name_without_case(const void *a, const void *b)
{
    return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/* On a file system that does not tell case apart two such files would be one. */
static anemo_status check_case(const an_choice *c, const an_listing *l, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char **names = an_calloc(c->n + 1, sizeof *names);
    if (!names) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < c->n; i++)
        names[i] = l->files[c->index[i]].path;
    qsort(names, c->n, sizeof *names, by_name_without_case);
    for (size_t i = 0; i + 1 < c->n; i++)
        if (strcasecmp(names[i], names[i + 1]) == 0) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "listing: '%s' and '%s' differ by case alone; take one with --file",
                             names[i], names[i + 1]);
            break;
        }
    an_free(names);
    return status;
}

anemo_status an_choose(an_choice *out, const an_listing *l, const an_wish *wish, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char prefix[1100] = "";
    memset(out, 0, sizeof *out);
    if (wish->path[0]) {
        const an_hub_file *f = an_listing_find(l, wish->path);
        if (f) {
            AN_TRY(add_set(out, l, (size_t)(f - l->files), err));
            out->form = is_gguf(f->path) ? AN_FORM_GGUF : AN_FORM_FILES;
            goto cleanup;
        }
        snprintf(prefix, sizeof prefix, "%s/", wish->path);
        bool is_folder = false;
        for (size_t i = 0; i < l->n && !is_folder; i++)
            is_folder = an_str_starts_with(l->files[i].path, prefix);
        if (!is_folder) {
            status = no_such_file(l, wish, err);
            goto cleanup;
        }
    }
    if (wish->include && wish->include[0])
        AN_TRY(choose_by_pattern(out, l, wish, prefix, err));
    else
        AN_TRY(choose_model(out, l, wish, prefix, err));
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++)
        if (!matches_any(wish->exclude, l->files[out->index[i]].path)) out->index[kept++] = out->index[i];
    if (kept == 0 && out->n > 0) status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s: --exclude leaves no file", wish->repo);
    out->n = kept;
    if (status == ANEMO_OK) AN_TRY(check_case(out, l, err));
cleanup:
    if (status != ANEMO_OK) an_choice_free(out);
    return status;
}

void an_choice_free(an_choice *c)
{
    an_free(c->index);
    *c = (an_choice){0};
}
