/* The checksum of a model's weights. */
#include "bench/model_digest.h"

#include "base/alloc.h"
#include "base/sha256.h"
#include "base/str.h"
#include "os/file.h"

#include <ctype.h>
#include <string.h>

enum { PIECE_BYTES = 64 << 20 };

/* The bytes of one file; what was read leaves our memory again. */
static anemo_status add_file(an_sha256 *s, const char *path, anemo_error *err)
{
    an_file_map map;
    anemo_status status;
    AN_TRY(an_file_map_open(&map, path, err));
    for (uint64_t at = 0; at < map.size && status == ANEMO_OK; at += PIECE_BYTES) {
        uint64_t n = map.size - at < PIECE_BYTES ? map.size - at : PIECE_BYTES;
        if (!an_sha256_add(s, map.data + at, (size_t)n)) status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        an_file_release(map.data + at, n);
    }
    an_file_unmap(&map);
cleanup:
    return status;
}

/* The length of what stands before "-00001-of-00003.gguf"; 0 when the name has another form. */
static size_t shard_head(const char *name)
{
    static const char form[] = "-00000-of-00000.gguf";
    size_t n = strlen(name), n_form = sizeof form - 1;
    if (n <= n_form) return 0;
    for (size_t i = 0; i < n_form; i++) {
        char c = name[n - n_form + i];
        if (form[i] == '0' ? !isdigit((unsigned char)c) : c != form[i]) return 0;
    }
    return n - n_form;
}

/* Is this file of the folder one of the model's? head: of a split GGUF file's name, NULL for a folder of safetensors. */
static bool belongs(const char *name, const char *head, size_t n_head)
{
    if (!head) return name[0] != '.' && an_str_ends_with(name, ".safetensors");
    return shard_head(name) == n_head && !memcmp(name, head, n_head);
}

static anemo_status add_folder(an_sha256 *s, const char *dir, const char *head, size_t n_head, anemo_error *err)
{
    anemo_status status;
    char **names = NULL;
    size_t n, n_taken = 0;
    AN_TRY(an_dir_list(dir, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        if (!belongs(names[i], head, n_head)) continue;
        char *file = an_path_join(dir, names[i]);
        status = file ? add_file(s, file, err) : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        an_free(file);
        if (status != ANEMO_OK) goto cleanup;
        n_taken++;
    }
    if (n_taken == 0) status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no weights (*.safetensors) are in this folder", dir);
cleanup:
    an_names_free(names);
    return status;
}

anemo_status an_model_digest(const char *path, char sha256[65], anemo_error *err)
{
    anemo_status status;
    const char *base = an_path_base(path);
    size_t n_head = shard_head(base);
    char *dir = NULL;
    an_sha256 *s = an_sha256_open();
    if (!s) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (an_path_probe(path) == AN_PATH_DIR) {
        AN_TRY(add_folder(s, path, NULL, 0, err));
    } else if (n_head) {
        if (!(dir = an_path_dir(path))) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        AN_TRY(add_folder(s, dir, base, n_head, err));
    } else {
        AN_TRY(add_file(s, path, err));
    }
    bool ok = an_sha256_end(s, sha256);
    s = NULL;
    if (!ok) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    an_sha256_close(s);
    an_free(dir);
    return status;
}
