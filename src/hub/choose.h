/*
 * Which files of a repository make the model: exactly one set of weights with what belongs to it, by the listing alone.
 *   GGUF: the chosen quantization, all shards of it; never a vision projector (mmproj) or an importance matrix.
 *   Hugging Face and MLX: config.json, model*.safetensors (or pytorch_model*.bin), *.json, *.jinja, *.txt,
 * tokenizer.model*. Mistral's own: params.json, consolidated*, tekken.json, tokenizer.model*, when there is no Hugging
 * Face set. Python files are fetched only when a pattern that ends in .py asks for them.
 */
#ifndef AN_HUB_CHOOSE_H
#define AN_HUB_CHOOSE_H

#include "hub/listing.h"

typedef struct an_wish {
    const char *repo;           /* for messages */
    const char *quant;          /* "" for the default: Q4_K_M, else the first file */
    const char *path;           /* a file, or a folder to which all the rest is limited; "" for none */
    const char *const *include; /* patterns, NULL-terminated, or NULL; "*" also matches "/" */
    const char *const *exclude;
} an_wish;

typedef enum an_model_form { AN_FORM_FILES, AN_FORM_GGUF, AN_FORM_HF, AN_FORM_NATIVE } an_model_form;

typedef struct an_choice {
    size_t *index; /* of the listing's files, ascending */
    size_t n;
    an_model_form form;
    char main[1024]; /* the GGUF file (first shard) or the only file; "" or a folder when the folder is the model */
    char note[256];  /* what was decided for the user; "" for nothing */
} an_choice;

/*
 * ERR_NOTFOUND: no such file or quantization (near names are listed); ERR_INVAL: several match (they are listed);
 * ERR_UNSUPPORTED: no weights that anemo reads; ERR_FORMAT: shards missing, names that differ by case alone.
 */
ANEMO_MUST_CHECK anemo_status an_choose(an_choice *out, const an_listing *l, const an_wish *wish, anemo_error *err);
void an_choice_free(an_choice *c);

/* fnmatch as Python's: * matches any characters, ? one, [abc] [!a-c] a set. */
bool an_glob_match(const char *pattern, const char *text);

/* "Q4_K_M" of a GGUF file's path, upper case; "" when its name tells none. */
const char *an_quant_of_path(const char *path, char out[32]);

/* Is it NAME-00002-of-00005.gguf (any extension)? *n_stem is the length of what comes before "-00002". */
bool an_shard_parse(const char *path, size_t *n_stem, int *index, int *count);

#endif
