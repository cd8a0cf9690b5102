/* The repetition record. */
#include "record/rep.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/utf8.h"
#include "stats/summary.h"

#include <math.h>
#include <string.h>

static const an_field fields[AN_FIELD_N] = {
#define AN_FIELD(name, unit, kind, better, title, definition, source)                                                  \
    {#name, unit, title, definition, source, AN_FIELD_##kind, AN_BETTER_##better},
#include "record/fields.def"
#undef AN_FIELD
};

static const char *const kind_names[AN_REP_KIND_N] = {"timed", "warmup", "observed", "load"};

const an_field *an_field_get(an_field_id id)
{
    return &fields[id];
}

bool an_field_find(const char *name, an_field_id *out)
{
    for (int i = 0; i < AN_FIELD_N; i++) {
        if (strcmp(fields[i].name, name) != 0) continue;
        *out = (an_field_id)i;
        return true;
    }
    return false;
}

const char *an_rep_kind_name(an_rep_kind kind)
{
    return kind_names[kind];
}

bool an_rep_kind_find(const char *name, an_rep_kind *out)
{
    for (int i = 0; i < AN_REP_KIND_N; i++) {
        if (strcmp(kind_names[i], name) != 0) continue;
        *out = (an_rep_kind)i;
        return true;
    }
    return false;
}

void an_rep_init(an_rep *rep)
{
    *rep = (an_rep){.block = -1};
    for (int i = 0; i < AN_FIELD_N; i++) rep->values[i] = NAN;
}

void an_rep_free(an_rep *rep)
{
    an_free(rep->token_ids);
    an_free(rep->token_times_s);
    an_free(rep->text);
    an_free(rep->curve);
    an_rep_init(rep);
}

/* Latencies between ids. Without memory they stay unknown, as on a machine that cannot tell them. */
static void derive_gaps(an_rep *rep)
{
    double *v = rep->values;
    size_t n = rep->n_token - 1, stalls = 0;
    double *gaps = an_malloc(n * sizeof *gaps);
    if (!gaps) return;
    for (size_t i = 0; i < n; i++) gaps[i] = rep->token_times_s[i + 1] - rep->token_times_s[i];
    v[AN_FIELD_ID_ttst_s] = gaps[0];
    an_sort(gaps, n);
    v[AN_FIELD_ID_itl_p50_s] = an_interpolate(gaps, n, 0.5);
    v[AN_FIELD_ID_itl_p90_s] = an_interpolate(gaps, n, 0.9);
    if (n >= 100) v[AN_FIELD_ID_itl_p99_s] = an_interpolate(gaps, n, 0.99);
    for (size_t i = 0; i < n; i++) stalls += gaps[i] > 3 * v[AN_FIELD_ID_itl_p50_s];
    /* Verified drafts come together: then the median says nothing of the pace, and a longer gap is no stall. */
    if (isnan(v[AN_FIELD_ID_n_drafted])) v[AN_FIELD_ID_stall_share] = (double)stalls / (double)n;
    an_free(gaps);
}

void an_rep_set_drafts(an_rep *rep, size_t n, uint64_t n_pass, uint64_t n_drafted, uint64_t n_accepted)
{
    if (n_pass == 0 || n == 0) return;
    rep->values[AN_FIELD_ID_n_drafted] = (double)n_drafted;
    rep->values[AN_FIELD_ID_n_accepted] = (double)n_accepted;
    rep->values[AN_FIELD_ID_tokens_per_pass] = (double)(n - 1) / (double)n_pass;
}

void an_rep_derive(an_rep *rep, int n_cpu)
{
    double *v = rep->values;
    size_t n = rep->n_token;
    if (n > 0) {
        double first = rep->token_times_s[0], last = rep->token_times_s[n - 1];
        v[AN_FIELD_ID_n_generated] = (double)n;
        v[AN_FIELD_ID_ttft_s] = first;
        v[AN_FIELD_ID_total_s] = last;
        if (first > 0) v[AN_FIELD_ID_prefill_tps] = v[AN_FIELD_ID_n_prompt] / first;
        if (last > 0) v[AN_FIELD_ID_request_tps] = (double)n / last;
        if (n >= 2 && last > first) {
            v[AN_FIELD_ID_decode_tps] = (double)(n - 1) / (last - first);
            v[AN_FIELD_ID_decode_n_tps] = (double)n / (last - first);
        }
        if (n >= 2) derive_gaps(rep);
    }
    double total = v[AN_FIELD_ID_total_s], tokens = v[AN_FIELD_ID_n_prompt] + v[AN_FIELD_ID_n_generated];
    if (!(total > 0)) return;
    v[AN_FIELD_ID_cpu_percent] = 100 * v[AN_FIELD_ID_cpu_s] / total;
    v[AN_FIELD_ID_cpu_percent_machine] = v[AN_FIELD_ID_cpu_percent] / n_cpu;
    v[AN_FIELD_ID_power_w] = v[AN_FIELD_ID_energy_j] / total;
    if (tokens > 0) v[AN_FIELD_ID_energy_per_token_j] = v[AN_FIELD_ID_energy_j] / tokens;
}

static json_t *curve_json(const an_rep *rep)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rep->n_curve; i++) {
        const an_curve_point *p = &rep->curve[i];
        json_t *point = json_array();
        const double row[] = {p->t_s, p->rss_anon_bytes, p->rss_file_bytes, p->cpu_percent, p->cpu_hz};
        for (size_t k = 0; k < AN_COUNT_OF(row); k++) json_array_append_new(point, an_json_real(row[k]));
        json_array_append_new(list, point);
    }
    return list;
}

json_t *an_rep_json(const an_rep *rep)
{
    json_t *obj = json_object(), *times = json_array(), *ids = json_array();
    json_object_set_new(obj, "kind", json_string(kind_names[rep->kind]));
    json_object_set_new(obj, "block", rep->block < 0 ? json_null() : json_integer(rep->block));
    json_object_set_new(obj, "order", json_integer(rep->order));
    json_object_set_new(obj, "start_s", an_json_real(rep->start_s));
    if (rep->page_cache[0]) json_object_set_new(obj, "page_cache", json_string(rep->page_cache));
    for (int i = 0; i < AN_FIELD_N; i++) {
        double v = rep->values[i];
        bool count = fields[i].kind == AN_FIELD_COUNT && isfinite(v) && fabs(v) < 9e18;
        json_object_set_new(obj, fields[i].name, count ? json_integer((json_int_t)v) : an_json_real(v));
    }
    for (size_t i = 0; i < rep->n_token; i++) {
        json_array_append_new(times, an_json_real(rep->token_times_s[i]));
        json_array_append_new(ids, rep->token_ids[i] < 0 ? json_null() : json_integer(rep->token_ids[i]));
    }
    json_object_set_new(obj, "stop_reason", json_string(rep->stop_reason));
    json_object_set_new(obj, "token_times_s", times);
    json_object_set_new(obj, "token_ids", ids);
    json_object_set_new(obj, "text", an_json_text(rep->text ? rep->text : "", rep->text_bytes));
    json_object_set_new(obj, "text_bytes_before_eos", json_integer((json_int_t)rep->text_bytes_before_eos));
    if (rep->n_curve) json_object_set_new(obj, "curve", curve_json(rep));
    return obj;
}

static double number_or_nan(const json_t *v)
{
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static anemo_status fill_tokens(an_rep *rep, const json_t *obj, const char *name, anemo_error *err)
{
    const json_t *times = json_object_get(obj, "token_times_s"), *ids = json_object_get(obj, "token_ids");
    size_t n = json_array_size(times);
    if ((times && !json_is_array(times)) || (ids && !json_is_array(ids)) || json_array_size(ids) != n)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: \"token_times_s\" and \"token_ids\" of a rep must be arrays of the same length", name);
    if (n == 0) return ANEMO_OK;
    rep->token_ids = an_calloc(n, sizeof *rep->token_ids);
    rep->token_times_s = an_calloc(n, sizeof *rep->token_times_s);
    if (!rep->token_ids || !rep->token_times_s) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    rep->n_token = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_array_get(ids, i);
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < -1 || value > INT32_MAX)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: token_ids[%zu] of a rep is out of range", name, i);
        rep->token_ids[i] = (int32_t)value;
        rep->token_times_s[i] = number_or_nan(json_array_get(times, i));
    }
    return ANEMO_OK;
}

static anemo_status fill_curve(an_rep *rep, const json_t *obj, const char *name, anemo_error *err)
{
    const json_t *list = json_object_get(obj, "curve");
    size_t n = json_array_size(list);
    if (n == 0) return ANEMO_OK;
    rep->curve = an_calloc(n, sizeof *rep->curve);
    if (!rep->curve) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    rep->n_curve = n;
    for (size_t i = 0; i < n; i++) {
        const json_t *p = json_array_get(list, i);
        if (json_array_size(p) != 5)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: curve[%zu] of a rep is not an array of 5 numbers", name, i);
        rep->curve[i] = (an_curve_point){number_or_nan(json_array_get(p, 0)), number_or_nan(json_array_get(p, 1)),
                                         number_or_nan(json_array_get(p, 2)), number_or_nan(json_array_get(p, 3)),
                                         number_or_nan(json_array_get(p, 4))};
    }
    return ANEMO_OK;
}

anemo_status an_rep_from_json(an_rep *rep, const json_t *obj, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *text;
    int64_t n;
    an_rep_init(rep);
    if (!json_is_object(obj)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: a rep is not an object", name);
    AN_TRY(an_json_get_str(obj, "kind", "timed", &text, name, err));
    if (!an_rep_kind_find(text, &rep->kind)) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: a rep has the unknown kind '%.20s'", name, text);
        goto cleanup;
    }
    AN_TRY(an_json_get_i64(obj, "block", -1, -1, INT32_MAX, &n, name, err));
    rep->block = (int)n;
    AN_TRY(an_json_get_i64(obj, "order", 0, 0, INT64_MAX, &rep->order, name, err));
    AN_TRY(an_json_get_f64(obj, "start_s", NAN, &rep->start_s, name, err));
    AN_TRY(an_json_get_str(obj, "page_cache", "", &text, name, err));
    an_utf8_copy(rep->page_cache, sizeof rep->page_cache, text);
    AN_TRY(an_json_get_str(obj, "stop_reason", "", &text, name, err));
    an_utf8_copy(rep->stop_reason, sizeof rep->stop_reason, text);
    for (int i = 0; i < AN_FIELD_N; i++) {
        AN_TRY(an_json_get_f64(obj, fields[i].name, NAN, &rep->values[i], name, err));
        /* A count is whole here as it will be when it is written. */
        if (fields[i].kind == AN_FIELD_COUNT) rep->values[i] = trunc(rep->values[i]);
    }
    AN_TRY(fill_tokens(rep, obj, name, err));
    AN_TRY(fill_curve(rep, obj, name, err));
    AN_TRY(an_json_get_str(obj, "text", "", &text, name, err));
    rep->text_bytes = strlen(text);
    if (rep->text_bytes && !(rep->text = an_strdup(text))) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(an_json_get_i64(obj, "text_bytes_before_eos", (int64_t)rep->text_bytes, 0, (int64_t)rep->text_bytes, &n,
                           name, err));
    rep->text_bytes_before_eos = (size_t)n;
cleanup:
    if (status != ANEMO_OK) an_rep_free(rep);
    return status;
}
