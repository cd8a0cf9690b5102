/* What anemo show says of a directory that only the converter reads: Mistral's own layout, PyTorch
 * files, FP8. */
#include "cli/show_source.h"

#include "base/str.h"
#include "convert/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct sums {
    uint64_t n_param, bytes, n_tensor[AN_DTYPE_N], type_bytes[AN_DTYPE_N];
} sums;

/* FP8 counts as its own type. */
static sums sum_tensors(const an_source *s)
{
    sums x = {0};
    for (size_t i = 0; i < s->n_tensor; i++) {
        const an_source_tensor *t = &s->tensors[i];
        an_dtype type = t->fp8 ? AN_DTYPE_F8_E4M3 : t->w.dtype;
        uint64_t n = (uint64_t)t->n_row * (uint64_t)t->n_col;
        uint64_t bytes = n * (uint64_t)an_dtype_get(type)->block_bytes;
        x.n_param += n;
        x.bytes += bytes;
        x.n_tensor[type]++;
        x.type_bytes[type] += bytes;
    }
    return x;
}

static const char *container_of(const an_source *s)
{
    return s->kind == AN_SOURCE_NATIVE ? "Mistral's own layout"
                                       : "Hugging Face directory with weights for the converter";
}

static void print_text(const an_source *s, an_str *out)
{
    const an_hparams *hp = &s->params.hp;
    sums x = sum_tensors(s);
    an_str_appendf(out, "path            %s\n", s->path);
    an_str_appendf(out, "container       %s\n", container_of(s));
    an_str_appendf(out, "architecture    %s\n", s->params.arch);
    an_str_appendf(out, "layers          %d\n", hp->n_layer);
    an_str_appendf(out, "embedding       %d\n", hp->n_embd);
    an_str_appendf(out, "heads           %d, key-value %d, of %d\n", hp->n_head, hp->n_head_kv,
                   hp->head_dim);
    an_str_appendf(out, "vocabulary      %d, output %s\n", hp->n_vocab,
                   hp->tied ? "tied" : "of its own");
    an_str_appendf(out, "parameters      %" PRIu64 "\n", x.n_param);
    an_str_appendf(out, "weights         %.1f MB\n", (double)x.bytes / 1e6);
    for (int i = 0; i < AN_DTYPE_N; i++)
        if (x.n_tensor[i])
            an_str_appendf(out, "type            %s: %" PRIu64 " tensors, %.1f MB\n",
                           an_dtype_get((an_dtype)i)->name, x.n_tensor[i],
                           (double)x.type_bytes[i] / 1e6);
    if (s->notes[0]) an_str_appendf(out, "note            %s\n", s->notes);
}

static json_t *json_source(const an_source *s, const char *reason)
{
    sums x = sum_tensors(s);
    json_t *root = json_object();
    json_object_set_new(root, "schema", json_string("anemo.show/1"));
    json_object_set_new(root, "path", an_json_text(s->path, strlen(s->path)));
    json_object_set_new(root, "container",
                        json_string(s->kind == AN_SOURCE_NATIVE ? "native" : "hf"));
    json_object_set_new(root, "architecture", json_string(s->params.arch));
    json_object_set_new(root, "supported", json_false());
    json_object_set_new(root, "reason", an_json_text(reason, strlen(reason)));
    json_object_set_new(root, "parameters", json_integer((json_int_t)x.n_param));
    json_object_set_new(root, "weight_bytes", json_integer((json_int_t)x.bytes));
    json_object_set_new(root, "note", an_json_text(s->notes, strlen(s->notes)));
    return root;
}

anemo_status an_cli_show_source(const char *path, bool json, const anemo_error *refusal,
                                anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    anemo_error reason = *refusal, unread;
    an_source *s = NULL;
    an_str out = {0};
    status = an_source_open(&s, path, &unread);
    if (status != ANEMO_OK) {
        bool refused = status == ANEMO_ERR_FORMAT || status == ANEMO_ERR_UNSUPPORTED ||
                       status == ANEMO_ERR_NOTFOUND;
        *err = refused ? reason : unread; /* memory and disk are nobody's format */
        return err->status;
    }
    if (json) {
        AN_TRY(an_json_write(json_source(s, reason.message), JSON_INDENT(2), &out, err));
        an_str_append_char(&out, '\n');
    } else {
        print_text(s, &out);
        /* Names come from the file; they may not steer the terminal. */
        for (size_t i = 0; i < out.len; i++)
            if (((unsigned char)out.data[i] < 0x20 && out.data[i] != '\n') || out.data[i] == 0x7F)
                out.data[i] = '?';
    }
    AN_TRY(an_str_check(&out, err));
    if (fwrite(out.data, 1, out.len, stdout) != out.len || fflush(stdout) != 0) {
        status = an_fail(err, ANEMO_ERR_IO, "stdout cannot be written: %s", strerror(errno));
        goto cleanup;
    }
    *err = reason;
    status = reason.status;
cleanup:
    an_str_free(&out);
    an_source_close(s);
    return status;
}
