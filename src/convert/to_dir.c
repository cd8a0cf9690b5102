/* A source as an MLX or Hugging Face directory: the plan first, the small files, then the weights. */
#include "convert/convert_internal.h"

#include "convert/outdir.h"

#include <string.h>

/* What may lie beside the weights: a token of the vocabulary with its merges and what is said of it, and the rest. */
enum { TOKEN_BYTES = 256, REST_BYTES = 1 << 16 };

static anemo_status add_notes(const an_dir_plan *plan, const an_convert_options *options, an_convert_result *result,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n_again = 0;
    for (size_t i = 0; i < plan->n; i++) {
        const an_dir_weight *w = &plan->weights[i];
        bool quantized = an_dtype_get(w->src->w.dtype)->block_elems > 1;
        n_again += quantized && (w->how == AN_DIR_ENCODE || w->how == AN_DIR_FLOAT);
        if (quantized && w->how == AN_DIR_ENCODE && options->dtype == AN_FLOAT_AS_STORED && n_again == 1)
            AN_TRY(an_convert_note(result, err, "no --dtype was given: scales are %s", an_dtype_get(w->dtype)->name));
        if (quantized && w->how == AN_DIR_FLOAT && options->dtype == AN_FLOAT_AS_STORED && n_again == 1)
            AN_TRY(an_convert_note(result, err, "no --dtype was given: quantized weights become %s",
                                   an_dtype_get(w->dtype)->name));
    }
    if (n_again > 0)
        AN_TRY(an_convert_note(result, err, "%zu tensors were quantized in the source and have another form now", n_again));
cleanup:
    return status;
}

/* Keys about the file itself: what they say is in the target in another form. */
static bool is_technical(an_bytes key)
{
    static const char *const keys[] = {"general.architecture", "general.alignment", "general.file_type",
                                       "general.quantization_version"};
    for (size_t i = 0; i < AN_COUNT_OF(keys); i++)
        if (key.len == strlen(keys[i]) && !memcmp(key.data, keys[i], (size_t)key.len)) return true;
    return false;
}

/* What a GGUF file says and a directory has no place for. */
static anemo_status add_metadata_note(const an_source *s, an_convert_result *result, anemo_error *err)
{
    if (s->kind != AN_SOURCE_GGUF) return ANEMO_OK;
    size_t n_lost = 0;
    for (size_t i = 0; i < an_gguf_n_kv(s->model->gguf); i++) {
        an_bytes key = an_gguf_kv_at(s->model->gguf, i)->key;
        n_lost += key.len > 8 && !memcmp(key.data, "general.", 8) && !is_technical(key);
    }
    if (n_lost == 0) return ANEMO_OK;
    return an_convert_note(result, err, "%zu keys general.* (name, author, license and the like) do not travel", n_lost);
}

anemo_status an_convert_to_dir(const char *src, const char *dst, bool mlx, const an_convert_options *options,
                               an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_source *s = NULL;
    an_dir_plan plan = {0};
    an_convert_result made = {0};
    an_outdir out = {0};
    if (!options->dry_run) AN_TRY(an_outdir_open(&out, dst, options->force, err));
    AN_TRY(an_source_open(&s, src, err));
    AN_TRY(an_dir_plan_make(&plan, s, mlx, options, &made, err));
    if (s->notes[0]) AN_TRY(an_convert_note(&made, err, "%s", s->notes));
    AN_TRY(add_notes(&plan, options, &made, err));
    AN_TRY(add_metadata_note(s, &made, err));
    if (!options->dry_run) {
        AN_TRY(an_outdir_make(&out, plan.bytes + (uint64_t)s->params.hp.n_vocab * TOKEN_BYTES + REST_BYTES, err));
        /* The small files first: what they refuse is known before the long part. */
        AN_TRY(an_dir_write_config(&plan, out.tmp.data, err));
        AN_TRY(an_dir_write_tokenizer(s, out.tmp.data, &made, err));
        AN_TRY(an_dir_write_weights(&plan, out.tmp.data, options, &made, err));
        AN_TRY(an_outdir_publish(&out, err));
    }
    *result = made;
    made = (an_convert_result){0};
cleanup:
    an_outdir_close(&out, status, err);
    an_convert_result_free(&made);
    an_dir_plan_free(&plan);
    an_source_close(s);
    return status;
}

anemo_status an_convert_to_mlx(const char *src, const char *dst, const an_convert_options *options,
                               an_convert_result *result, anemo_error *err)
{
    return an_convert_to_dir(src, dst, true, options, result, err);
}

anemo_status an_convert_to_hf(const char *src, const char *dst, const an_convert_options *options,
                              an_convert_result *result, anemo_error *err)
{
    return an_convert_to_dir(src, dst, false, options, result, err);
}
