/* Ollama's local store: manifests/registry.ollama.ai/library/NAME/TAG names the blob of the model. Only read, never
 * fetched. */
#include "hub/hub_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "hub/reference.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>

enum { MANIFEST_MAX_BYTES = 1 << 20 };

static char *store_folder(void)
{
    const char *models = an_env("OLLAMA_MODELS"), *home = an_env("HOME");
    if (models) return an_strdup(models);
    return home ? an_path_join(home, ".ollama/models") : NULL;
}

/* "sha256:HEX" of the layer that is the model, as the name of its blob. */
static anemo_status model_blob(const char *text, size_t n, const char *name, char blob[80], anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *doc = NULL;
    AN_TRY(an_json_parse(&doc, text, n, name, err));
    const json_t *layers = json_object_get(doc, "layers");
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const char *type, *digest;
        AN_TRY(an_json_get_str(layer, "mediaType", "", &type, name, err));
        AN_TRY(an_json_get_str(layer, "digest", "", &digest, name, err));
        if (strcmp(type, "application/vnd.ollama.image.model") != 0) continue;
        /* The digest becomes a file name: it is one, or it is refused. */
        if (strlen(digest) != 71 || strncmp(digest, "sha256:", 7) != 0 ||
            strspn(digest + 7, "0123456789abcdef") != 64) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: the model's digest is not sha256 and 64 hex digits", name);
            goto cleanup;
        }
        snprintf(blob, 80, "blobs/sha256-%s", digest + 7);
        goto cleanup;
    }
    status = an_fail(err, ANEMO_ERR_FORMAT, "%s: names no model", name);
cleanup:
    json_decref(doc);
    return status;
}

anemo_status an_ollama_find(const char *name, const char *tag, char **path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char manifest[300], blob[80], *text = NULL, *folder = store_folder();
    size_t n;
    an_beneath store = {.fd = -1};
    if (!folder)
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%s:%s: where are Ollama's models? HOME is not set", name, tag);
    snprintf(manifest, sizeof manifest, "manifests/registry.ollama.ai/library/%s/%s", name, tag);
    if (an_beneath_open(&store, folder, false, NULL) != ANEMO_OK ||
        an_beneath_read(&store, manifest, MANIFEST_MAX_BYTES, &text, &n, NULL) != ANEMO_OK) {
        status = an_fail(
            err, ANEMO_ERR_NOTFOUND,
            "%s:%s is a name of Ollama's and not in %s; anemo fetches nothing from Ollama's registry: run 'ollama pull "
            "%s:%s', or name a repository of the hub (org/name:QUANT)",
            name, tag, folder, name, tag);
        goto cleanup;
    }
    AN_TRY(model_blob(text, n, manifest, blob, err));
    if (an_beneath_probe(&store, blob).kind != AN_NODE_FILE) {
        status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s:%s: %s/%s is missing; 'ollama pull %s:%s' brings it", name, tag,
                         folder, blob, name, tag);
        goto cleanup;
    }
    *path = an_path_join(folder, blob);
    if (!*path) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    an_free(text);
    an_beneath_close(&store);
    an_free(folder);
    return status;
}
