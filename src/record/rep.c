/* The repetition record. */
#include "record/rep.h"

#include "base/alloc.h"
#include "base/json.h"

#include <math.h>

static const an_field fields[AN_FIELD_N] = {
#define AN_FIELD(name, unit, kind, better, title) {#name, unit, title, AN_FIELD_##kind, AN_BETTER_##better},
#include "record/fields.def"
#undef AN_FIELD
};

const an_field *an_field_get(an_field_id id)
{
    return &fields[id];
}

void an_rep_init(an_rep *rep)
{
    *rep = (an_rep){0};
    for (int i = 0; i < AN_FIELD_N; i++) rep->values[i] = NAN;
}

void an_rep_free(an_rep *rep)
{
    an_free(rep->token_ids);
    an_free(rep->token_times_s);
    an_free(rep->text);
    an_rep_init(rep);
}

void an_rep_derive(an_rep *rep, int n_cpu)
{
    double *v = rep->values;
    size_t n = rep->n_token;
    v[AN_FIELD_ID_n_generated] = (double)n;
    if (n == 0) return;
    double first = rep->token_times_s[0], last = rep->token_times_s[n - 1];
    v[AN_FIELD_ID_ttft_s] = first;
    v[AN_FIELD_ID_total_s] = last;
    if (first > 0) v[AN_FIELD_ID_prefill_tps] = v[AN_FIELD_ID_n_prompt] / first;
    if (n >= 2 && last > first) v[AN_FIELD_ID_decode_tps] = (double)(n - 1) / (last - first);
    if (last > 0) {
        v[AN_FIELD_ID_cpu_percent] = 100 * v[AN_FIELD_ID_cpu_s] / last;
        v[AN_FIELD_ID_cpu_percent_machine] = v[AN_FIELD_ID_cpu_percent] / n_cpu;
    }
}

json_t *an_rep_json(const an_rep *rep)
{
    json_t *obj = json_object(), *times = json_array(), *ids = json_array();
    for (int i = 0; i < AN_FIELD_N; i++) {
        double v = rep->values[i];
        bool count = fields[i].kind == AN_FIELD_COUNT && isfinite(v);
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
    return obj;
}
