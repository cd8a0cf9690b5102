/* The files of a tokenizer: a directory's own go along as they are, a GGUF file's are made. */
#include "convert/convert_internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"

#include <string.h>

enum { TOKENIZER_BYTES_MAX = 256 << 20 };

/* Is it a file that a tokenizer is read from? */
static bool is_tokenizer_file(const char *name)
{
    static const char *const names[] = {"tokenizer.json",     "tokenizer_config.json", "special_tokens_map.json",
                                        "chat_template.json", "chat_template.jinja",   "added_tokens.json",
                                        "tekken.json",        "vocab.json",            "merges.txt"};
    for (size_t i = 0; i < AN_COUNT_OF(names); i++)
        if (!strcmp(name, names[i])) return true;
    return an_str_starts_with(name, "tokenizer.model");
}

static anemo_status copy_file(const char *from_dir, const char *to_dir, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *from = an_path_join(from_dir, name), *to = an_path_join(to_dir, name), *text = NULL;
    size_t n;
    if (!from || !to) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        goto cleanup;
    }
    if (an_path_probe(from) != AN_PATH_FILE) goto cleanup;
    AN_TRY(an_file_read(from, TOKENIZER_BYTES_MAX, &text, &n, err));
    AN_TRY(an_file_write(to, text, n, err));
cleanup:
    an_free(text);
    an_free(from);
    an_free(to);
    return status;
}

anemo_status an_dir_write_tokenizer(const an_source *s, const char *dir, an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **names = NULL;
    size_t n, n_copied = 0;
    bool json;
    if (s->kind == AN_SOURCE_GGUF) return an_mlx_write_tokenizer(s->model->gguf, s->params.hp.n_ctx_train, dir, err);
    const bool native = s->side[AN_SIDE_SPM] || s->side[AN_SIDE_TEKKEN];
    json = s->side[AN_SIDE_TOKENIZER_JSON] != NULL;
    if (!json && native) {
        /* First, so that what the source has of these files takes their place. */
        AN_TRY(an_mlx_make_tokenizer(s->path, s->params.hp.n_ctx_train, dir, err));
        AN_TRY(an_convert_note(result, err, "tokenizer.json was made from %s",
                               s->side[AN_SIDE_TEKKEN] ? s->side[AN_SIDE_TEKKEN] : s->side[AN_SIDE_SPM]));
        json = true;
    }
    AN_TRY(an_dir_list(s->path, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        if (!is_tokenizer_file(names[i])) continue;
        AN_TRY(copy_file(s->path, dir, names[i], err));
        n_copied++;
    }
    if (n_copied == 0) AN_TRY(an_convert_note(result, err, "the source brings no tokenizer, so the target has none"));
    else if (!json)
        AN_TRY(an_convert_note(result, err, "the source has no tokenizer.json: its own tokenizer files were copied as they are"));
cleanup:
    an_names_free(names);
    return status;
}
