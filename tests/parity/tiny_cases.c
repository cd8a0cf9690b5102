/* Reads the manifest of the tiny models with its reference logits. */
#include "parity/tiny_cases.h"

#include "base/alloc.h"
#include "base/json.h"
#include "os/file.h"
#include "support/npy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A reference matrix of the case's shape. */
static anemo_status read_logits(const tiny_case *c, const char *folder, const char *file, float **out,
                                anemo_error *err)
{
    char path[512];
    size_t n_row, n_col;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    anemo_status status = test_npy_read(path, out, &n_row, &n_col, err);
    if (status == ANEMO_OK && (n_row != (size_t)c->n_tok || n_col != (size_t)c->n_vocab)) {
        an_free(*out);
        *out = NULL;
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: %zu x %zu logits, expected %d x %d", path, n_row, n_col,
                         c->n_tok, c->n_vocab);
    }
    return status;
}

static anemo_status read_ids(tiny_case *c, const json_t *ids, anemo_error *err)
{
    if (json_array_size(ids) != (size_t)c->n_tok)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: n_tok is not the number of ids", c->name);
    c->ids = an_calloc((size_t)c->n_tok, sizeof *c->ids);
    if (!c->ids) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int i = 0; i < c->n_tok; i++)
        c->ids[i] = (int32_t)json_integer_value(json_array_get(ids, (size_t)i));
    return ANEMO_OK;
}

static anemo_status read_case(tiny_case *c, const json_t *j, const char *folder, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *what = "manifest.json", *model, *logits, *decode;
    int64_t n_tok, n_vocab, n_same;
    AN_TRY(an_json_get_str(j, "name", "", &c->name, what, err));
    AN_TRY(an_json_get_str(j, "group", "", &c->group, what, err));
    AN_TRY(an_json_get_str(j, "model", "", &model, what, err));
    AN_TRY(an_json_get_str(j, "logits", "", &logits, what, err));
    AN_TRY(an_json_get_str(j, "decode_logits", NULL, &decode, what, err));
    AN_TRY(an_json_get_i64(j, "n_tok", 0, 1, 4096, &n_tok, what, err));
    AN_TRY(an_json_get_i64(j, "n_vocab", 0, 1, 65536, &n_vocab, what, err));
    AN_TRY(an_json_get_i64(j, "n_prefill_is_decode", 0, 1, n_tok, &n_same, what, err));
    AN_TRY(an_json_get_f64(j, "tolerance", 0, &c->tolerance, what, err));
    c->n_tok = (int)n_tok;
    c->n_vocab = (int)n_vocab;
    c->n_prefill_is_decode = (int)n_same;
    snprintf(c->model, sizeof c->model, "%s/%s", folder, model);
    AN_TRY(read_ids(c, json_object_get(j, "ids"), err));
    AN_TRY(read_logits(c, folder, logits, &c->logits, err));
    c->decode_logits = c->logits;
    if (decode) AN_TRY(read_logits(c, folder, decode, &c->decode_logits, err));
cleanup:
    return status;
}

anemo_status tiny_cases_open(tiny_cases *out, const char *folder, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    tiny_cases t = {0};
    char path[512], *text = NULL;
    size_t n;
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    AN_TRY(an_file_read(path, 1 << 24, &text, &n, err));
    AN_TRY(an_json_parse(&t.manifest, text, n, path, err));
    const json_t *list = json_object_get(t.manifest, "cases");
    size_t n_case = json_array_size(list);
    if (n_case == 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: no cases", path);
        goto cleanup;
    }
    t.cases = an_calloc(n_case, sizeof *t.cases);
    if (!t.cases) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    t.n = n_case;
    for (size_t i = 0; i < t.n; i++)
        AN_TRY(read_case(&t.cases[i], json_array_get(list, i), folder, err));
    *out = t;
cleanup:
    an_free(text);
    if (status != ANEMO_OK) tiny_cases_close(&t);
    return status;
}

void tiny_cases_close(tiny_cases *t)
{
    for (size_t i = 0; i < t->n; i++) {
        an_free(t->cases[i].ids);
        if (t->cases[i].decode_logits != t->cases[i].logits) an_free(t->cases[i].decode_logits);
        an_free(t->cases[i].logits);
    }
    an_free(t->cases);
    json_decref(t->manifest);
}

double tiny_error(const float *got, const float *want, size_t n)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        double diff = fabs((double)got[i] - (double)want[i]), size = fabs((double)want[i]);
        if (!isfinite(diff)) return INFINITY;
        if (diff > worst) worst = diff;
        if (size > largest) largest = size;
    }
    return worst / largest;
}
