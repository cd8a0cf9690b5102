/* The parent's end of a step measurement: ask for it, and believe no time that cannot be. */
#include "drivers/client.h"

#include "base/alloc.h"
#include "drivers/driver.h"

#include <math.h>
#include <string.h>

void an_step_result_free(an_step_result *r)
{
    an_free(r->t_s);
    *r = (an_step_result){0};
}

/* Seconds from the start to the stamp `v`, which must not lie before `least`. NaN for one that cannot be. */
static double since(const json_t *start, const json_t *v, double least)
{
    if (!json_is_integer(start) || !json_is_integer(v)) return NAN;
    double t = ((double)json_integer_value(v) - (double)json_integer_value(start)) * 1e-9;
    return t >= least && isfinite(t) ? t : NAN;
}

static anemo_status fill_result(an_client *c, const json_t *m, const an_step_request *q, an_step_result *out,
                                anemo_error *err)
{
    const json_t *start = json_object_get(m, "t_start_ns"), *steps = json_object_get(m, "t_steps_ns");
    an_step_result r = {.n = json_array_size(steps)};
    r.prompt_s = since(start, json_object_get(m, "t_prompt_ns"), 0);
    r.total_s = since(start, json_object_get(m, "t_end_ns"), r.prompt_s);
    if (isnan(r.prompt_s) || isnan(r.total_s) || r.total_s <= 0 || (q->n_prompt > 0 && r.prompt_s <= 0))
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave times of a step measurement that cannot be", err);
    if (r.n != 0 && r.n != (size_t)q->n_gen)
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "made another number of steps than was asked for", err);
    r.t_s = an_malloc(r.n * sizeof *r.t_s);
    if (!r.t_s) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", c->name);
    double before = r.prompt_s;
    for (size_t i = 0; i < r.n; i++) {
        r.t_s[i] = before = since(start, json_array_get(steps, i), before);
        if (isnan(before) || before > r.total_s) {
            an_free(r.t_s);
            return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave time stamps that run backwards", err);
        }
    }
    if (q->n_prompt == 0) r.prompt_s = 0;
    *out = r;
    return ANEMO_OK;
}

anemo_status an_client_step(an_client *c, const an_step_request *r, an_step_result *out, anemo_error *err)
{
    static const char *const types[] = {"stepped", NULL};
    anemo_status status = ANEMO_OK;
    json_t *m = NULL;
    bool stopped = false;
    if (c->dead) return an_client_fail_dead(c, err);
    if (!c->hello.step)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: this driver has no step measurement (forward passes alone)", c->name);
    json_int_t id = ++c->last_id;
    AN_TRY(an_client_send(c,
                          json_pack("{s:s,s:I,s:i,s:i,s:i,s:I}", "type", "step", "id", id, "n_prompt", r->n_prompt,
                                    "n_gen", r->n_gen, "n_depth", r->n_depth, "seed",
                                    (json_int_t)(r->seed & INT64_MAX)),
                          err));
    AN_TRY(an_client_expect(c, id, types, r->stop, &stopped, c->timeout_ns, &m, err));
    if (stopped) {
        AN_TRY(an_client_cancel(c, id, err));
        uint64_t limit = c->timeout_ns > 10000000000u ? 10000000000u : c->timeout_ns;
        status = an_client_expect(c, id, types, NULL, &stopped, limit, &m, err);
        if (status == ANEMO_OK || status == ANEMO_ERR_TIMEOUT)
            status = an_fail(err, ANEMO_ERR_INTERRUPTED, "%s: interrupted", c->name);
        goto cleanup;
    }
    const char *reason = json_string_value(json_object_get(m, "stop_reason"));
    if (!reason || strcmp(reason, "length") != 0) {
        status = an_client_fail_kill(c, ANEMO_ERR_ENGINE, "ended a step measurement that nobody cancelled", err);
        goto cleanup;
    }
    AN_TRY(fill_result(c, m, r, out, err));
cleanup:
    json_decref(m);
    return status;
}
