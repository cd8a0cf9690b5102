/* What the generated ids and texts say: signs of trouble, agreement between cells, near-ties. */
#include "bench/bench_internal.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <math.h>
#include <string.h>

size_t an_common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    return n;
}

static double repeated_4grams(const int32_t *ids, size_t n)
{
    if (n < 8) return NAN;
    size_t grams = n - 3, repeated = 0;
    /* Quadratic, but n is a few hundred at most in a comparison and it runs after the timing. */
    for (size_t i = 0; i < grams; i++) {
        for (size_t j = 0; j < i; j++) {
            if (memcmp(ids + i, ids + j, 4 * sizeof *ids) == 0) {
                repeated++;
                break;
            }
        }
    }
    return (double)repeated / (double)grams;
}

static size_t loop_period(const int32_t *ids, size_t n)
{
    size_t tail = n / 3;
    for (size_t period = 1; n >= 12 && period <= tail / 2; period++) {
        size_t i = n - tail;
        while (i < n && ids[i] == ids[i - period]) i++;
        if (i == n) return period;
    }
    return 0;
}

static size_t invalid_utf8(const char *text, size_t n)
{
    size_t bad = 0;
    n -= an_utf8_incomplete_tail(text, n);
    for (size_t i = 0; i < n;) {
        i += an_utf8_valid_prefix(text + i, n - i);
        if (i < n) {
            bad++;
            i++;
        }
    }
    return bad;
}

an_text_check an_check_text(const an_cell *cell)
{
    an_text_check check = {.repeated_4grams = NAN, .same_every_rep = true};
    const an_rep *first = an_cell_timed(cell, 0);
    if (!first) return check;
    check.repeated_4grams = repeated_4grams(first->token_ids, first->n_token);
    check.loop_period = loop_period(first->token_ids, first->n_token);
    check.invalid_utf8 = invalid_utf8(first->text ? first->text : "", first->text_bytes);
    for (size_t i = 0; i < cell->n_rep; i++) {
        const an_rep *rep = &cell->reps[i];
        if (rep->kind != AN_REP_TIMED) continue;
        size_t same = an_common_prefix(first->token_ids, first->n_token, rep->token_ids, rep->n_token);
        if (same < first->n_token || same < rep->n_token) check.same_every_rep = false;
    }
    return check;
}

anemo_status an_bench_finish_text(const an_tokenizer *t, an_rep *rep, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    size_t eos = rep->n_token;
    for (size_t i = 0; i < rep->n_token && eos == rep->n_token; i++)
        if (rep->token_ids[i] >= 0 && an_tokenizer_is_eog(t, rep->token_ids[i])) eos = i;
    if (eos < rep->n_token) rep->values[AN_FIELD_ID_eos_at] = (double)eos;
    if (!rep->text) {
        an_tokenizer_decode(t, rep->token_ids, rep->n_token, true, true, &text);
        AN_TRY(an_str_check(&text, err));
        rep->text_bytes = text.len;
        rep->text = an_str_take(&text);
        if (!rep->text) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
    }
    rep->text_bytes_before_eos = rep->text_bytes;
    if (eos < rep->n_token) {
        an_tokenizer_decode(t, rep->token_ids, eos, true, true, &text);
        AN_TRY(an_str_check(&text, err));
        if (text.len < rep->text_bytes) rep->text_bytes_before_eos = text.len;
    }
cleanup:
    an_str_free(&text);
    return status;
}

static size_t common_bytes(const an_rep *p, const an_rep *q)
{
    size_t n = 0;
    while (n < p->text_bytes && n < q->text_bytes && p->text[n] == q->text[n]) n++;
    return n;
}

anemo_status an_bench_check_texts(an_comparison *c, anemo_error *err)
{
    size_t n = 0;
    an_run *run = &c->run;
    for (size_t i = 0; i < run->n_cell; i++) run->cells[i].check = an_check_text(&run->cells[i]);
    run->agreements = an_calloc(run->n_cell * run->n_cell + 1, sizeof *run->agreements);
    if (!run->agreements) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t a = 0; a < run->n_cell; a++) {
        for (size_t b = a + 1; b < run->n_cell; b++) {
            const an_cell *x = &run->cells[a], *y = &run->cells[b];
            const an_rep *p = an_cell_timed(x, 0), *q = an_cell_timed(y, 0);
            if (!p || !q || !x->ids_exact || !y->ids_exact) continue;
            an_agreement *g = &run->agreements[n++];
            *g = (an_agreement){.a = (int)a, .b = (int)b, .examined_by = -1};
            g->n = p->n_token < q->n_token ? p->n_token : q->n_token;
            g->n_same = an_common_prefix(p->token_ids, g->n, q->token_ids, g->n);
            g->identical = g->n_same == p->n_token && g->n_same == q->n_token;
            g->text_same = common_bytes(p, q);
        }
    }
    run->n_agreement = n;
    return ANEMO_OK;
}

/* Probability margin between two ids of one row of logits, and their gap. */
static void read_margin(const float *row, int n_vocab, int32_t x, int32_t y, an_agreement *g)
{
    double max = row[0], sum = 0;
    for (int i = 1; i < n_vocab; i++)
        if (row[i] > max) max = row[i];
    for (int i = 0; i < n_vocab; i++) sum += exp((double)row[i] - max);
    g->logit_gap = fabs((double)row[x] - (double)row[y]);
    g->prob_margin = fabs(exp((double)row[x] - max) - exp((double)row[y] - max)) / sum;
    g->near_tie = g->prob_margin <= 0.1;
    g->examined = true;
}

void an_bench_examine(an_comparison *c, an_agreement *g, an_client *client, int cell)
{
    const an_rep *p = an_cell_timed(&c->run.cells[g->a], 0), *q = an_cell_timed(&c->run.cells[g->b], 0);
    size_t n = c->prompt_ids.n + g->n_same;
    int32_t x = p->token_ids[g->n_same], y = q->token_ids[g->n_same];
    int n_vocab = 0;
    float *logits = NULL;
    int32_t *ids = an_malloc(n * sizeof *ids);
    if (!ids) return;
    memcpy(ids, c->prompt_ids.ids, c->prompt_ids.n * sizeof *ids);
    memcpy(ids + c->prompt_ids.n, p->token_ids, g->n_same * sizeof *ids);
    if (an_client_logits(client, ids, n, &logits, &n_vocab, NULL) == ANEMO_OK && x >= 0 && x < n_vocab &&
        y >= 0 && y < n_vocab) {
        read_margin(logits + (n - 1) * (size_t)n_vocab, n_vocab, x, y, g);
        g->examined_by = cell;
    }
    an_free(logits);
    an_free(ids);
}
