/* The MLX form: configuration, tokenizer and weights of a directory. */
#include "convert/synth_internal.h"

#include "base/alloc.h"
#include "convert/convert_internal.h"
#include "convert/outdir.h"
#include "format/name_index.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>

/* What the configuration and the tokenizer take on the disk: about 160 bytes an entry of the vocabulary. */
enum { PARTS_MAX = 3, ROOM_FOR_REST = 1 << 16, ROOM_FOR_ENTRY = 160 };

/* What the tensors of the file come from, in the order in which they were declared. */
typedef struct names {
    an_synth_piece *pieces;
    char (*texts)[AN_TENSOR_NAME_MAX + 16];
    an_name_entry *index;
    size_t n;
} names;

static an_dtype scale_dtype(const an_synth_plan *plan)
{
    an_dtype dtype = AN_DTYPE_N;
    for (size_t i = 0; i < plan->n_form; i++) {
        const an_synth_form *f = plan->forms[i];
        if (f->bits && (dtype == AN_DTYPE_N || f->scale_dtype == AN_DTYPE_F32)) dtype = f->scale_dtype;
    }
    return dtype;
}

/* What config.json calls torch_dtype: the scales' type, or that of most plain matrices. */
static const char *torch_dtype(const an_synth_plan *plan)
{
    an_dtype dtype = scale_dtype(plan);
    for (size_t i = 0; i < plan->n && dtype == AN_DTYPE_N; i++)
        if (plan->tensors[i].n_dim == 2) dtype = plan->tensors[i].form->dtype;
    return dtype == AN_DTYPE_BF16 ? "bfloat16" : dtype == AN_DTYPE_F32 ? "float32" : "float16";
}

/* The width of most weights for all, and each module that differs. */
static void add_quantization(json_t *config, const an_synth_plan *plan)
{
    uint64_t weights[9] = {0};
    int bits = 0, group = 32;
    for (size_t i = 0; i < plan->n; i++) {
        const an_synth_form *f = plan->tensors[i].form;
        if (f->bits) weights[f->bits] += (uint64_t)plan->tensors[i].n_row * (uint64_t)f->n_col;
        if (f->bits && weights[f->bits] > (bits ? weights[bits] : 0)) {
            bits = f->bits;
            group = f->group;
        }
    }
    if (bits == 0) return;
    json_t *q = json_pack("{s:i,s:i,s:s}", "group_size", group, "bits", bits, "mode", "affine");
    for (size_t i = 0; i < plan->n; i++) {
        const an_synth_tensor *t = &plan->tensors[i];
        if (t->n_dim < 2 || t->form->bits == bits) continue;
        json_object_set_new(q, t->path, t->form->bits ? json_pack("{s:i,s:i}", "group_size", group, "bits", t->form->bits)
                                                      : json_false());
    }
    json_object_set(config, "quantization_config", q);
    json_object_set_new(config, "quantization", q);
}

static anemo_status write_config(const an_synth_model *m, const an_synth_plan *plan, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *config = json_copy(m->config);
    if (!config) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    json_object_set_new(config, "torch_dtype", json_string(torch_dtype(plan)));
    json_object_set_new(config, "tie_word_embeddings", json_boolean(m->params.hp.tied));
    json_object_set_new(config, "bos_token_id", json_integer(1));
    json_object_set_new(config, "eos_token_id", json_integer(2));
    add_quantization(config, plan);
    AN_TRY(an_mlx_write_json(dir, "config.json", json_incref(config), JSON_INDENT(4) | JSON_SORT_KEYS, err));
    AN_TRY(an_mlx_write_json(dir, "generation_config.json", json_pack("{s:i,s:i}", "bos_token_id", 1, "eos_token_id", 2),
                             JSON_INDENT(4) | JSON_SORT_KEYS, err));
cleanup:
    json_decref(config);
    return status;
}

/* The same arrays that the GGUF form has, as the files of a directory. */
static anemo_status write_tokenizer(const an_synth_model *m, const an_synth_options *o, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str header = {0};
    an_gguf *g = NULL;
    AN_TRY(an_synth_header(m, o, &header, err));
    AN_TRY(an_gguf_open_bytes(&g, header.data, header.len, dir, err));
    AN_TRY(an_mlx_write_tokenizer(g, m->params.hp.n_ctx_train, dir, err));
cleanup:
    an_gguf_close(g);
    an_str_free(&header);
    return status;
}

static anemo_status declare(names *na, an_st_writer *w, const an_synth_tensor *t, an_synth_part part, const char *tail,
                            const an_hparams *hp, anemo_error *err)
{
    const an_synth_form *f = t->form;
    int64_t shape[2] = {t->shape[0], t->n_col};
    an_dtype dtype = f->dtype;
    if (part == AN_SYNTH_CODES) {
        dtype = AN_DTYPE_U32;
        shape[1] = t->n_col * f->bits / 32;
    }
    if (part == AN_SYNTH_SCALES || part == AN_SYNTH_BIASES) {
        dtype = f->scale_dtype;
        shape[1] = t->n_col / f->group;
    }
    char *name = na->texts[na->n];
    snprintf(name, sizeof na->texts[0], "%s%s", t->path, tail);
    na->index[na->n] = (an_name_entry){name, strlen(name), na->n};
    na->pieces[na->n] = (an_synth_piece){t, part, t->rotated ? hp->head_dim : 0};
    na->n++;
    return an_st_writer_declare(w, name, dtype, t->n_dim, shape, err);
}

static anemo_status declare_all(names *na, an_st_writer *w, const an_synth_model *m, const an_synth_plan *plan,
                                anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < plan->n; i++) {
        const an_synth_tensor *t = &plan->tensors[i];
        const an_hparams *hp = &m->params.hp;
        if (t->n_dim < 2) {
            AN_TRY(declare(na, w, t, AN_SYNTH_ONES, ".weight", hp, err));
        } else if (t->form->bits == 0) {
            AN_TRY(declare(na, w, t, AN_SYNTH_BLOCKS, ".weight", hp, err));
        } else {
            AN_TRY(declare(na, w, t, AN_SYNTH_CODES, ".weight", hp, err));
            AN_TRY(declare(na, w, t, AN_SYNTH_SCALES, ".scales", hp, err));
            AN_TRY(declare(na, w, t, AN_SYNTH_BIASES, ".biases", hp, err));
        }
    }
cleanup:
    return status;
}

static anemo_status put_weights(void *writer, const void *data, uint64_t n, anemo_error *err)
{
    return an_st_writer_put(writer, data, n, err);
}

static anemo_status write_index(const names *na, uint64_t bytes, uint64_t n_weight, const char *dir, anemo_error *err)
{
    json_t *map = json_object();
    for (size_t i = 0; i < na->n; i++)
        json_object_set_new(map, na->index[i].name, json_string("model.safetensors"));
    return an_mlx_write_json(dir, "model.safetensors.index.json",
                             json_pack("{s:{s:I,s:I},s:o}", "metadata", "total_size", (json_int_t)bytes,
                                       "total_parameters", (json_int_t)n_weight, "weight_map", map),
                             JSON_INDENT(4), err);
}

static anemo_status write_weights(const an_synth_model *m, const an_synth_plan *plan, const an_synth_options *o,
                                  const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    names na = {.pieces = an_calloc(plan->n * PARTS_MAX, sizeof *na.pieces),
                .texts = an_calloc(plan->n * PARTS_MAX, sizeof *na.texts),
                .index = an_calloc(plan->n * PARTS_MAX, sizeof *na.index)};
    an_synth_piece *in_order = an_calloc(plan->n * PARTS_MAX, sizeof *in_order);
    an_st_writer *w = NULL;
    char *path = an_path_join(dir, "model.safetensors");
    if (!na.pieces || !na.texts || !na.index || !in_order || !path) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(an_st_writer_open(&w, path, err));
    AN_TRY(declare_all(&na, w, m, plan, err));
    an_name_index_sort(na.index, na.n);
    AN_TRY(an_st_writer_note(w, "anemo.source", "random weights", err));
    AN_TRY(an_st_writer_begin(w, "mlx", err));
    for (size_t i = 0; i < na.n; i++) {
        const char *name = an_st_writer_order(w, i);
        in_order[i] = na.pieces[an_name_index_find(na.index, na.n, name, strlen(name))];
    }
    AN_TRY(an_synth_write(in_order, na.n, o, put_weights, w, err));
    AN_TRY(an_st_writer_commit(w, err));
    AN_TRY(write_index(&na, an_st_writer_data_bytes(w), plan->n_weight, dir, err));
cleanup:
    an_st_writer_close(w);
    an_free(path);
    an_free(in_order);
    an_free(na.index);
    an_free(na.texts);
    an_free(na.pieces);
    return status;
}

anemo_status an_synth_mlx(const char *dst, const an_synth_model *m, const an_synth_plan *plan, const an_synth_options *o,
                          anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_outdir out = {0};
    AN_TRY(an_outdir_open(&out, dst, o->force, err));
    uint64_t rest = ROOM_FOR_REST + ROOM_FOR_ENTRY * (uint64_t)m->params.hp.n_vocab;
    AN_TRY(an_outdir_make(&out, plan->bytes + rest, err));
    AN_TRY(write_config(m, plan, out.tmp.data, err));
    AN_TRY(write_tokenizer(m, o, out.tmp.data, err));
    AN_TRY(write_weights(m, plan, o, out.tmp.data, err));
    AN_TRY(an_outdir_publish(&out, err));
cleanup:
    an_outdir_close(&out, status, err);
    return status;
}
