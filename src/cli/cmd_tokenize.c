/* anemo tokenize: text to ids and back, with the tokenizer of a model. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "os/file.h"
#include "token/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT_LIMIT ((uint64_t)256 << 20)

typedef struct tokenize_args {
    const char *file;
    bool json, detokenize, bos, special;
} tokenize_args;

static const an_option options[] = {
    {.name = "file", .short_name = "f", .kind = AN_OPT_STR, .offset = offsetof(tokenize_args, file), .arg = "FILE",
     .help = "Read the text (or, with --detokenize, the ids) from FILE; - is stdin"},
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(tokenize_args, json),
     .help = "Print {\"ids\":[…],\"pieces\":[…]}; with --detokenize {\"text\":…}"},
    {.name = "detokenize", .kind = AN_OPT_FLAG, .offset = offsetof(tokenize_args, detokenize),
     .help = "The other way: ids (numbers, or the JSON of --json) to text"},
    {.name = "bos", .kind = AN_OPT_FLAG, .offset = offsetof(tokenize_args, bos),
     .help = "Put the model's beginning-of-sequence id in front"},
    {.name = "special", .kind = AN_OPT_FLAG, .offset = offsetof(tokenize_args, special),
     .help = "Special tokens written in the text become their ids; with --detokenize they are printed"},
    AN_OPTION_END,
};

static anemo_status read_stdin(char **out, size_t *n, anemo_error *err)
{
    an_str text = {0};
    char block[65536];
    size_t got;
    while ((got = fread(block, 1, sizeof block, stdin)) > 0 && text.len <= TEXT_LIMIT)
        an_str_append_bytes(&text, block, got);
    if (ferror(stdin) || text.len > TEXT_LIMIT) {
        an_str_free(&text);
        return an_fail(err, ANEMO_ERR_IO, "stdin cannot be read, or holds more than %llu bytes",
                       (unsigned long long)TEXT_LIMIT);
    }
    *n = text.len;
    *out = an_str_take(&text);
    return *out ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

/* The text: the positional arguments joined by spaces, or the file. Gives *text. */
static anemo_status get_text(const tokenize_args *args, const an_positional *pos, char **text, size_t *n,
                             anemo_error *err)
{
    if (args->file && pos->n > 1)
        return an_fail(err, ANEMO_ERR_INVAL, "give the text either as an argument or with -f, not both");
    if (args->file && strcmp(args->file, "-") == 0) return read_stdin(text, n, err);
    if (args->file) return an_file_read(args->file, TEXT_LIMIT, text, n, err);
    if (pos->n < 2) return an_fail(err, ANEMO_ERR_INVAL, "no text: give it as an argument or with -f FILE");
    an_str joined = {0};
    for (size_t i = 1; i < pos->n; i++) {
        if (i > 1) an_str_append_char(&joined, ' ');
        an_str_append(&joined, pos->items[i]);
    }
    *n = joined.len;
    *text = an_str_take(&joined);
    return *text ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

/* Numbers between anything that is not one; a JSON object's "ids" when the text is one. */
static anemo_status parse_ids(const an_tokenizer *t, const char *text, size_t n, an_ids *ids, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *start = memchr(text, '{', n), *end = text + n;
    if (start && (start = strstr(start, "\"ids\"")) != NULL) {
        text = start + 5;
        const char *close = strchr(text, ']');
        if (close) end = close;
    }
    while (text < end) {
        size_t len = strspn(text, "-0123456789");
        if (len == 0) {
            if (!strchr(" \t\r\n,[]:", *text) || !*text)
                return an_fail(err, ANEMO_ERR_INVAL, "'%c' is no part of a list of ids", *text);
            text++;
            continue;
        }
        char word[24] = {0};
        int64_t id;
        if (len < sizeof word) memcpy(word, text, len);
        if (!an_parse_i64(word, &id) || id < 0 || id >= an_tokenizer_n_vocab(t))
            return an_fail(err, ANEMO_ERR_INVAL, "'%.*s' is not an id of this vocabulary (0 to %d)",
                           (int)(len < 40 ? len : 40), text, an_tokenizer_n_vocab(t) - 1);
        AN_TRY(an_ids_push(ids, (int32_t)id, err));
        text += len;
    }
cleanup:
    return status;
}

static anemo_status print_ids(const an_tokenizer *t, const an_ids *ids, bool json, anemo_error *err)
{
    if (!json) {
        for (size_t i = 0; i < ids->n; i++) printf("%s%d", i ? " " : "", ids->ids[i]);
        putchar('\n');
        return ANEMO_OK;
    }
    json_t *numbers = json_array(), *pieces = json_array();
    for (size_t i = 0; i < ids->n; i++) {
        const char *piece = an_tokenizer_spelling(t, ids->ids[i]);
        json_array_append_new(numbers, json_integer(ids->ids[i]));
        json_array_append_new(pieces, an_json_text(piece, strlen(piece)));
    }
    return an_cli_print_json(json_pack("{s:o, s:o}", "ids", numbers, "pieces", pieces), JSON_COMPACT, err);
}

static anemo_status encode(const an_tokenizer *t, const tokenize_args *args, const char *text, size_t n,
                           anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_ids ids = {0};
    if (args->bos && an_tokenizer_bos(t) < 0)
        return an_fail(err, ANEMO_ERR_INVAL, "--bos: this vocabulary has no beginning-of-sequence token");
    if (args->bos) AN_TRY(an_ids_push(&ids, an_tokenizer_bos(t), err));
    AN_TRY(an_tokenizer_encode(t, text, n, args->special, &ids, err));
    AN_TRY(print_ids(t, &ids, args->json, err));
cleanup:
    an_ids_free(&ids);
    return status;
}

static anemo_status decode(const an_tokenizer *t, const tokenize_args *args, const char *text, size_t n,
                           anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_ids ids = {0};
    an_str out = {0};
    AN_TRY(parse_ids(t, text, n, &ids, err));
    an_tokenizer_decode(t, ids.ids, ids.n, args->special, false, &out);
    AN_TRY(an_str_check(&out, err));
    if (args->json)
        AN_TRY(an_cli_print_json(json_pack("{s:o}", "text", an_json_str(&out)), JSON_COMPACT, err));
    else
        fwrite(an_str_text(&out), 1, out.len, stdout); /* exactly the bytes: no line end is added */
cleanup:
    an_ids_free(&ids);
    an_str_free(&out);
    return status;
}

static int run_tokenize(int argc, char **argv);

const an_command an_cmd_tokenize = {
    .name = "tokenize",
    .args = "MODEL [TEXT]",
    .summary = "Turn text into a model's token ids, or ids into text",
    .details = "MODEL is a GGUF file, a model directory, or a tokenizer file (tokenizer.model, tekken.json, "
               "tokenizer.json).\nWithout --bos no id is added, and without --special the names of special tokens "
               "are plain text.",
    .options = options,
    .args_bytes = sizeof(tokenize_args),
    .run = run_tokenize,
};

static int run_tokenize(int argc, char **argv)
{
    tokenize_args args = {0};
    an_positional pos;
    anemo_error err = {0};
    an_tokenizer *t = NULL;
    char *path = NULL, *text = NULL;
    size_t n;
    bool help;
    anemo_status status = an_options_parse(&an_cmd_tokenize, argc, argv, &args, &pos, &help, &err);
    if (status != ANEMO_OK) return an_cli_fail("tokenize", &err);
    if (help) goto cleanup;
    if (pos.n < 1) {
        status = an_fail(&err, ANEMO_ERR_INVAL, "no model given; 'anemo tokenize --help' explains");
        goto cleanup;
    }
    AN_TRY(an_cli_model_path(pos.items[0], &path, &err));
    AN_TRY(an_tokenizer_open(&t, path, &err));
    if (*an_tokenizer_note(t)) fprintf(stderr, "anemo tokenize: note: %s\n", an_tokenizer_note(t));
    AN_TRY(get_text(&args, &pos, &text, &n, &err));
    AN_TRY(args.detokenize ? decode(t, &args, text, n, &err) : encode(t, &args, text, n, &err));
    if (fflush(stdout) != 0) status = an_fail_errno(&err, errno, "write", "stdout");
cleanup:
    an_tokenizer_close(t);
    an_free(path);
    an_free(text);
    an_options_free(&an_cmd_tokenize, &args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("tokenize", &err);
}
