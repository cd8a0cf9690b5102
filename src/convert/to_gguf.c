/* The steps of a conversion to a GGUF file: everything is decided and refused before the first byte is written. */
#include "convert/to_gguf.h"

#include "convert/to_gguf_internal.h"
#include "os/file.h"

static anemo_status write_file(const an_gguf_plan *p, const char *dst, an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_gguf_writer *w = NULL;
    AN_TRY(an_gguf_writer_open(&w, dst, err));
    AN_TRY(an_gguf_put_keys(p, w, result, err));
    for (size_t i = 0; i < p->n; i++) {
        const an_gguf_out *t = &p->tensors[i];
        AN_TRY(an_gguf_writer_tensor(w, t->name, t->type, t->n_dim, t->shape, err));
    }
    AN_TRY(an_gguf_writer_begin(w, err));
    AN_TRY(an_gguf_stream(p, w, result, err));
    AN_TRY(an_gguf_writer_commit(w, err));
cleanup:
    an_gguf_writer_close(w);
    return status;
}

anemo_status an_convert_to_gguf(const char *src, const char *dst, const an_convert_options *options,
                                an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_source *s = NULL;
    an_pool *pool = NULL;
    an_gguf_plan plan = {0};
    an_convert_result made = {0};
    if (!options->dry_run) {
        an_path_kind kind = an_path_probe(dst);
        if (kind == AN_PATH_DIR)
            return an_fail(err, ANEMO_ERR_INVAL, "%s: is a directory; name the GGUF file to be written", dst);
        if (kind != AN_PATH_ABSENT && !options->force)
            return an_fail(err, ANEMO_ERR_INVAL, "%s: exists already; --force replaces it", dst);
    }
    AN_TRY(an_source_open(&s, src, err));
    AN_TRY(an_pool_open(&pool, options->n_thread > 0 ? options->n_thread : 1, err));
    AN_TRY(an_gguf_plan_make(&plan, s, options, pool, &made, err));
    if (!options->dry_run) AN_TRY(write_file(&plan, dst, &made, err));
    *result = made;
cleanup:
    if (status != ANEMO_OK) an_convert_result_free(&made);
    an_gguf_plan_free(&plan);
    an_pool_close(pool);
    an_source_close(s);
    return status;
}
