/* Writing and reading capsules. */
#include "report/capsule.h"

#include "report/scrub.h"

#include "base/alloc.h"
#include "base/json.h"

#include <string.h>

static const char schema[] = "anemo.capsule/1";

static json_t *models_json(const an_run *run, char (*sha256)[65])
{
    json_t *list = json_array();
    for (size_t i = 0; i < run->n_model; i++) {
        const an_run_model *m = &run->models[i];
        const char *digest = sha256[i][0] ? sha256[i] : m->sha256;
        json_array_append_new(list, json_pack("{s:o, s:s, s:I, s:s?}", "name", an_json_text(m->name, strlen(m->name)), "container",
                                              m->container, "bytes", (json_int_t)m->bytes, "sha256", digest[0] ? digest : NULL));
    }
    return list;
}

anemo_status an_capsule_write(const an_run *run, char (*sha256)[65], bool no_paths, an_str *out, anemo_error *err)
{
    anemo_status status;
    an_str text = {0}, clean = {0};
    json_t *again = NULL, *doc = an_run_json(run);
    if (no_paths) json_object_set_new(json_object_get(doc, "environment"), "host", json_null());
    doc = json_pack("{s:s, s:s, s:o, s:o}", "schema", schema, "command", "anemo repeat FILE", "models", models_json(run, sha256), "run",
                    doc);
    AN_TRY(an_json_write(doc, JSON_INDENT(1) | JSON_REAL_PRECISION(17), &text, err));
    an_scrub(an_str_text(&text), no_paths, &clean);
    an_str_append_char(&clean, '\n');
    AN_TRY(an_str_check(&clean, err));
    AN_TRY(an_json_parse(&again, clean.data, clean.len, "the capsule", err));
    an_str_append_bytes(out, clean.data, clean.len);
    status = an_str_check(out, err);
cleanup:
    json_decref(again);
    an_str_free(&text);
    an_str_free(&clean);
    return status;
}

static bool is_digest(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return text[n] == '\0' && (n == 64 || n == 0);
}

static anemo_status read_models(an_capsule *c, const json_t *list, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (!json_is_array(list) || json_array_size(list) != c->run.n_model)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"models\" is no list of as many models as the run has (%zu)", name, c->run.n_model);
    c->sha256 = an_calloc(c->run.n_model + 1, sizeof *c->sha256);
    if (!c->sha256) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
    for (size_t i = 0; i < c->run.n_model; i++) {
        const char *digest;
        const json_t *m = json_array_get(list, i);
        if (!json_is_object(m) || !c->run.models[i].name) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: model %zu is no object with a name", name, i + 1);
            goto cleanup;
        }
        AN_TRY(an_json_get_str(m, "sha256", "", &digest, name, err));
        if (!is_digest(digest)) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: the sha256 of model %zu is no 64 hex digits", name, i + 1);
            goto cleanup;
        }
        memcpy(c->sha256[i], digest, strlen(digest) + 1);
    }
cleanup:
    return status;
}

anemo_status an_capsule_read(an_capsule *out, const char *text, size_t n, const char *name, anemo_error *err)
{
    anemo_status status;
    json_t *doc = NULL;
    const char *found;
    an_capsule c = {0};
    an_run_init(&c.run);
    AN_TRY(an_json_parse(&doc, text, n, name, err));
    AN_TRY(an_json_get_str(doc, "schema", "", &found, name, err));
    if (strcmp(found, schema) != 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s is no capsule (schema '%.40s', not %s); 'anemo results pack RUN' makes one", name, found,
                         schema);
        goto cleanup;
    }
    AN_TRY(an_run_from_json(&c.run, json_object_get(doc, "run"), name, err));
    AN_TRY(read_models(&c, json_object_get(doc, "models"), name, err));
    *out = c;
    c = (an_capsule){0};
    an_run_init(&c.run);
cleanup:
    an_capsule_free(&c);
    json_decref(doc);
    return status;
}

void an_capsule_free(an_capsule *c)
{
    an_run_free(&c->run);
    an_free(c->sha256);
    c->sha256 = NULL;
}
