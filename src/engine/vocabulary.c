/* Whether two models speak of the same tokens. */
#include "engine/spec.h"

#include "base/str.h"

#include <inttypes.h>
#include <string.h>

/* NULL when the model brings no vocabulary. */
static anemo_status open_tokenizer(const an_model_file *m, an_tokenizer **out, anemo_error *err)
{
    anemo_status status =
        m->gguf ? an_tokenizer_open_gguf(out, m->gguf, err) : an_tokenizer_open_path(out, m->path, err);
    return status == ANEMO_ERR_NOMEM ? status : ANEMO_OK;
}

static anemo_status compare_texts(const an_model_file *m, const an_model_file *draft, const an_tokenizer *ours,
                                  const an_tokenizer *theirs, anemo_error *err)
{
    an_str a = {0}, b = {0};
    anemo_status status = ANEMO_OK;
    for (int32_t id = 0; id < m->hp.n_vocab && status == ANEMO_OK; id++) {
        an_str_clear(&a);
        an_str_clear(&b);
        an_tokenizer_piece(ours, id, true, &a);
        an_tokenizer_piece(theirs, id, true, &b);
        status = an_str_check(&a, err);
        if (status == ANEMO_OK) status = an_str_check(&b, err);
        if (status != ANEMO_OK || (a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0))) continue;
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "the draft model's vocabulary is another one: id %" PRId32 " is \"%.40s\" in %s and \"%.40s\" in %s; "
                         "take a draft model of the same family",
                         id, an_str_text(&b), draft->name, an_str_text(&a), m->name);
    }
    an_str_free(&a);
    an_str_free(&b);
    return status;
}

anemo_status an_vocabulary_same(const an_model_file *m, const an_model_file *draft, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_tokenizer *ours = NULL, *theirs = NULL;
    if (m->hp.n_vocab != draft->hp.n_vocab)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "the draft model's vocabulary is another one: %s has %d ids, %s has %d; take a draft model of the same "
                       "family",
                       draft->name, draft->hp.n_vocab, m->name, m->hp.n_vocab);
    AN_TRY(open_tokenizer(m, &ours, err));
    AN_TRY(open_tokenizer(draft, &theirs, err));
    if (!ours != !theirs)
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "whether the draft model has the same vocabulary cannot be told: %s brings none that can be read",
                         ours ? draft->name : m->name);
    else if (ours)
        status = compare_texts(m, draft, ours, theirs, err);
cleanup:
    an_tokenizer_close(ours);
    an_tokenizer_close(theirs);
    return status;
}
