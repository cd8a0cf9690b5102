/* CPU time and memory of a worker over one repetition. */
#include "bench/meter.h"

#include "base/alloc.h"
#include "os/process.h"

#include <math.h>

struct an_meter {
    an_meter_options options;
    int64_t pid;
    bool own, reset;
    an_process_stat before;
};

anemo_status an_meter_open(an_meter **out, const an_meter_options *o, anemo_error *err)
{
    *out = an_calloc(1, sizeof **out);
    if (!*out) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    (*out)->options = *o;
    return ANEMO_OK;
}

void an_meter_close(an_meter *m)
{
    an_free(m);
}

void an_meter_begin(an_meter *m, int64_t pid)
{
    m->pid = pid;
    m->own = pid > 0 && an_process_stat_read(pid, &m->before, NULL) == ANEMO_OK;
    m->reset = m->own && an_process_reset_peak(pid);
}

void an_meter_end(an_meter *m, an_rep *rep)
{
    an_process_stat after = {0};
    if (m->own && an_process_stat_read(m->pid, &after, NULL) == ANEMO_OK) {
        rep->values[AN_FIELD_ID_cpu_s] = (double)(after.cpu_ns - m->before.cpu_ns) * 1e-9;
        if (m->reset) rep->values[AN_FIELD_ID_rss_peak_bytes] = (double)after.rss_peak_bytes;
        rep->values[AN_FIELD_ID_rss_anon_bytes] = (double)after.rss_anon_bytes;
        rep->values[AN_FIELD_ID_rss_file_bytes] = (double)after.rss_file_bytes;
    }
    an_rep_derive(rep, m->options.n_cpu);
}

json_t *an_meter_missing(const an_meter *m)
{
    (void)m;
    return json_object();
}

void an_meter_efficiency(an_rep *rep, const an_run_model *model, const an_cell *cell, const an_environment *e)
{
    if (!model || !model->weight_bytes) return;
    rep->values[AN_FIELD_ID_bytes_per_token] = (double)model->weight_bytes;
    (void)cell;
    (void)e;
}
