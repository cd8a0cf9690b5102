/* The judgement over a repetition, on top of two runs side by side. */
#include "report/reproduced.h"

#include "base/alloc.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

static const an_field_id decisive[] = {AN_FIELD_ID_ttft_s, AN_FIELD_ID_prefill_tps, AN_FIELD_ID_decode_tps, AN_FIELD_ID_step_tps,
                                       AN_FIELD_ID_rss_peak_bytes};

static an_same_ids compare_ids(const an_cell *a, const an_cell *b, size_t *first)
{
    const an_rep *x = an_cell_timed(a, 0), *y = an_cell_timed(b, 0);
    *first = 0;
    if (!a->ids_exact || !b->ids_exact || !x || !y || x->n_token == 0 || y->n_token == 0) return AN_IDS_UNKNOWN;
    size_t n = x->n_token < y->n_token ? x->n_token : y->n_token;
    while (*first < n && x->token_ids[*first] == y->token_ids[*first]) ++*first;
    return *first == n && x->n_token == y->n_token ? AN_IDS_SAME : AN_IDS_DIFFER;
}

anemo_status an_reproduced_make(an_reproduced *out, const an_run *before, const an_run *now, double margin, double noise,
                                anemo_error *err)
{
    anemo_status status;
    an_reproduced r = {0};
    const an_side_options o = {.fields = decisive, .n_field = AN_COUNT_OF(decisive), .margin = margin, .noise = noise};
    AN_TRY(an_side_by_side_make(&r.side, before, now, &o, err));
    r.ids = an_calloc(r.side.n_match + 1, sizeof *r.ids);
    r.first = an_calloc(r.side.n_match + 1, sizeof *r.first);
    if (!r.ids || !r.first) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < r.side.n_match; i++) {
        const an_cell_match *m = &r.side.matches[i];
        if (m->a < 0) continue;
        const an_cell *x = &before->cells[m->a], *y = m->b < 0 ? NULL : &now->cells[m->b];
        if (x->status == AN_CELL_OK && (!y || y->status != AN_CELL_OK)) r.n_missing++;
        if (y) r.ids[i] = compare_ids(x, y, &r.first[i]);
        r.n_ids_differ += r.ids[i] == AN_IDS_DIFFER;
    }
    for (size_t i = 0; i < r.side.n_row; i++) {
        an_verdict v = r.side.rows[i].c.ratio.verdict;
        r.n_off += v == AN_VERDICT_LOWER || v == AN_VERDICT_HIGHER;
        r.n_undecided += v == AN_VERDICT_UNDECIDED || v == AN_VERDICT_UNKNOWN;
    }
    *out = r;
    return ANEMO_OK;
cleanup:
    an_reproduced_free(&r);
    return status;
}

void an_reproduced_free(an_reproduced *r)
{
    an_side_by_side_free(&r->side);
    an_free(r->ids);
    an_free(r->first);
    *r = (an_reproduced){0};
}

bool an_reproduced_holds(const an_reproduced *r)
{
    return r->n_off == 0 && r->n_ids_differ == 0;
}

static const char *verdict(const an_reproduced *r)
{
    if (!an_reproduced_holds(r)) return "NOT REPRODUCED";
    if (r->n_missing) return "reproduced where it was measured";
    return r->n_undecided ? "nothing shows a difference, but not all could be decided" : "reproduced";
}

anemo_status an_reproduced_text(const an_reproduced *r, an_str *out, anemo_error *err)
{
    const an_side_by_side *s = &r->side;
    char title[256];
    an_str_appendf(out, "%s: %s against %s\n", verdict(r), s->b->id, s->a->id);
    for (size_t i = 0; i < s->n_row; i++) {
        const an_contrast *c = &s->rows[i].c;
        char change[32];
        if (c->ratio.verdict != AN_VERDICT_LOWER && c->ratio.verdict != AN_VERDICT_HIGHER) continue;
        an_cell_title(s->b, s->matches[s->rows[i].match].b, title, sizeof title);
        an_change_text(c->ratio.ratio, change, sizeof change);
        an_str_appendf(out, "  %s: %s is %s, %s\n", title, an_field_get(c->field)->title, an_contrast_word(c), change);
    }
    for (size_t i = 0; i < s->n_match; i++) {
        if (s->matches[i].a < 0) continue;
        an_cell_title(s->a, s->matches[i].a, title, sizeof title);
        if (r->ids[i] == AN_IDS_DIFFER)
            an_str_appendf(out, "  %s: the ids are others from number %zu on\n", title, r->first[i] + 1);
        else if (r->ids[i] == AN_IDS_SAME)
            an_str_appendf(out, "  %s: the same ids\n", title);
    }
    an_str_append(out, "\nA is the capsule, B what was measured now.\n");
    return an_side_by_side_write(s, AN_REPORT_TEXT, out, err);
}

json_t *an_reproduced_json(const an_reproduced *r)
{
    static const char *const names[] = {"unknown", "same", "differ"};
    json_t *side = an_side_by_side_json(&r->side), *ids = json_array();
    for (size_t i = 0; i < r->side.n_match; i++) {
        char title[256];
        if (r->side.matches[i].a < 0) continue;
        an_cell_title(r->side.a, r->side.matches[i].a, title, sizeof title);
        json_array_append_new(ids, json_pack("{s:o, s:s, s:o}", "cell", an_json_text(title, strlen(title)), "ids", names[r->ids[i]],
                                             "first_difference", r->ids[i] == AN_IDS_DIFFER ? json_integer((json_int_t)r->first[i])
                                                                                            : json_null()));
    }
    return json_pack("{s:s, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "schema", "anemo.repeat/1", "reproduced",
                     an_reproduced_holds(r), "parent", r->side.a->id, "run", r->side.b->id, "elsewhere", (json_int_t)r->n_off, "undecided",
                     (json_int_t)r->n_undecided, "ids_differ", (json_int_t)r->n_ids_differ, "missing", (json_int_t)r->n_missing, "ids",
                     ids, "side_by_side", side);
}
