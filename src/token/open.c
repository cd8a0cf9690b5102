/* Which file of a model decides its tokenizer (formats.md 7.1), and opening whatever a path is. */
#include "token/internal.h"

#include "base/alloc.h"
#include "os/file.h"

#include <string.h>

#define TOKENIZER_LIMIT ((uint64_t)256 << 20) /* the largest published file has 34 MB */
#define CONFIG_LIMIT ((uint64_t)16 << 20)

static anemo_status load_file(an_tokenizer **out, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *data = NULL;
    size_t n;
    AN_TRY(an_file_read(path, TOKENIZER_LIMIT, &data, &n, err));
    if (an_str_ends_with(path, ".json"))
        status = an_load_json(out, data, n, path, err);
    else
        status = an_load_spm(out, data, n, path, err);
cleanup:
    an_free(data);
    return status;
}

/* Read dir/name when it is there; *text stays NULL when it is not. */
static anemo_status read_beside(const char *dir, const char *name, char **text, size_t *n, char **path,
                                anemo_error *err)
{
    *text = NULL;
    *path = an_path_join(dir, name);
    if (!*path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (an_path_probe(*path) != AN_PATH_FILE) return ANEMO_OK;
    return an_file_read(*path, CONFIG_LIMIT, text, n, err);
}

/* What lies beside a tokenizer: its template and tokenizer_config.json. */
static anemo_status add_config(an_tokenizer *t, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *text = NULL, *path = NULL;
    size_t n;
    AN_TRY(read_beside(dir, "chat_template.jinja", &text, &n, &path, err));
    t->chat_template = text;
    text = NULL;
    an_free(path);
    path = NULL;
    AN_TRY(read_beside(dir, "tokenizer_config.json", &text, &n, &path, err));
    bool config = text != NULL;
    if (config) AN_TRY(an_load_config(t, text, n, path, err));
    /*
     * A SentencePiece vocabulary does not say whether its model was taught to chat. Where there is a config, its
     * template does; Tekken repositories often come without either.
     */
    bool settled = t->kind == AN_VOCAB_TEKKEN || (t->kind == AN_VOCAB_SPM && !config);
    bool other = t->chat_template && !strstr(t->chat_template, "[INST]");
    if (t->chat == AN_CHAT_NONE || other || (!settled && !t->chat_template)) an_chat_detect(t, "");
cleanup:
    an_free(text);
    an_free(path);
    return status;
}

/* The tokenizer file of a directory, by preference. Gives *path. */
static anemo_status choose(const char *dir, char **path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **names = NULL;
    size_t n;
    const char *tekken = NULL, *spm = NULL, *hf = NULL;
    AN_TRY(an_dir_list(dir, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(names[i], "tekken.json")) tekken = names[i];
        if (!strcmp(names[i], "tokenizer.json")) hf = names[i];
        /* Sorted, so the highest version comes last. */
        if (an_str_starts_with(names[i], "tokenizer.model")) spm = names[i];
    }
    const char *name = tekken ? tekken : spm ? spm : hf;
    if (!name) {
        status = an_fail(err, ANEMO_ERR_FORMAT,
                         "%s: no tokenizer: none of tekken.json, tokenizer.model* and tokenizer.json is there",
                         dir);
        goto cleanup;
    }
    *path = an_path_join(dir, name);
    if (!*path) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    an_names_free(names);
    return status;
}

anemo_status an_tokenizer_open_path(an_tokenizer **out, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool is_dir = an_path_probe(path) == AN_PATH_DIR;
    char *file = NULL, *dir = NULL;
    an_tokenizer *t = NULL;
    if (is_dir) AN_TRY(choose(path, &file, err));
    AN_TRY(load_file(&t, is_dir ? file : path, err));
    dir = is_dir ? an_strdup(path) : an_path_dir(path);
    if (!dir) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    if (is_dir || !strcmp(an_path_base(path), "tokenizer.json")) AN_TRY(add_config(t, dir, err));
    *out = t;
    t = NULL;
cleanup:
    an_free(file);
    an_free(dir);
    an_tokenizer_close(t);
    return status;
}

anemo_status an_tokenizer_open(an_tokenizer **out, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_file_map map = {0};
    an_gguf *g = NULL;
    if (an_path_probe(path) == AN_PATH_DIR) return an_tokenizer_open_path(out, path, err);
    AN_TRY(an_file_map_open(&map, path, err));
    bool gguf = map.size >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    an_file_unmap(&map);
    if (!gguf) return an_tokenizer_open_path(out, path, err);
    AN_TRY(an_gguf_open(&g, path, err));
    status = an_tokenizer_open_gguf(out, g, err);
    an_gguf_close(g);
cleanup:
    return status;
}
