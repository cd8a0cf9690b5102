/* CPU, memory, energy and the machine's state over one repetition; what part of the machine's peaks it used. */
#include "bench/meter.h"

#include "base/alloc.h"
#include "base/json.h"
#include "bench/probe.h"
#include "os/process.h"
#include "os/sensors.h"

#include <math.h>
#include <string.h>

static const uint64_t IDLE_NS = 500000000;

struct an_meter {
    an_meter_options options;
    an_sensors *sensors;
    an_probe *probe;
    const char *no_probe; /* why there is none */
    double idle_w;
    bool peaks; /* were measured */
    /* Of the repetition that runs: */
    int64_t pid;
    bool own, reset, switches;
    double bandwidth;
    an_process_stat before;
    an_process_switches switches_before;
    an_sensor_sample sample;
    /* Why the last repetition's field is not known; NULL = it is. Static texts, or the sensors' own. */
    const char *why[AN_FIELD_N];
};

static const an_field_id kernel_fields[] = {
    AN_FIELD_ID_cpu_s,          AN_FIELD_ID_cpu_user_s,       AN_FIELD_ID_cpu_system_s,  AN_FIELD_ID_cpu_percent,
    AN_FIELD_ID_ctx_voluntary,  AN_FIELD_ID_ctx_involuntary,  AN_FIELD_ID_faults_minor,  AN_FIELD_ID_faults_major,
    AN_FIELD_ID_rss_peak_bytes, AN_FIELD_ID_rss_anon_bytes,   AN_FIELD_ID_rss_file_bytes, AN_FIELD_ID_cpu_percent_machine,
};

static const an_field_id energy_fields[] = {AN_FIELD_ID_energy_j, AN_FIELD_ID_energy_net_j, AN_FIELD_ID_energy_per_token_j,
                                            AN_FIELD_ID_power_w};

static void set_why(an_meter *m, const an_field_id *fields, size_t n, const char *why)
{
    for (size_t i = 0; i < n; i++) m->why[fields[i]] = why;
}

/* What is known to be missing before anything is measured. */
static void expect_missing(an_meter *m)
{
    const an_sensors *s = m->sensors;
    const struct {
        an_field_id field;
        an_sensor_kind sensor;
    } of_sensors[] = {{AN_FIELD_ID_cpu_hz, AN_SENSOR_CLOCK},
                      {AN_FIELD_ID_temperature_c, AN_SENSOR_TEMPERATURE},
                      {AN_FIELD_ID_steal_share, AN_SENSOR_CPU},
                      {AN_FIELD_ID_swap_in_bytes, AN_SENSOR_SWAP}};
    memset(m->why, 0, sizeof m->why);
    for (size_t i = 0; i < AN_COUNT_OF(of_sensors); i++) {
        const char *reason = an_sensors_reason(s, of_sensors[i].sensor);
        if (*reason) m->why[of_sensors[i].field] = reason;
    }
    const char *reason = an_sensors_reason(s, AN_SENSOR_ENERGY);
    if (*reason) set_why(m, energy_fields, AN_COUNT_OF(energy_fields), reason);
    if (m->no_probe) m->why[AN_FIELD_ID_bandwidth_bps] = m->no_probe;
    if (!m->peaks) m->why[AN_FIELD_ID_mbu] = m->why[AN_FIELD_ID_mfu] = "the machine's peaks were not measured";
}

anemo_status an_meter_open(an_meter **out, const an_meter_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_meter *m = an_calloc(1, sizeof *m);
    if (!m) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    m->options = *o;
    if (m->options.n_thread < 1) m->options.n_thread = 1;
    m->options.power_cmd = NULL; /* borrowed for this call only */
    const an_sensors_options sensors = {.power_cmd = o->power_cmd, .n_busy = m->options.n_thread};
    AN_TRY(an_sensors_open(&m->sensors, &sensors, err));
    m->no_probe = "bandwidth samples were not asked for";
    if (o->bandwidth)
        m->no_probe = an_probe_open(&m->probe, m->options.n_thread, NULL) == ANEMO_OK
                          ? NULL
                          : "there was no memory or thread left for the bandwidth samples";
    m->idle_w = an_sensors_idle_power(m->sensors, IDLE_NS);
    expect_missing(m);
    *out = m;
cleanup:
    if (status != ANEMO_OK) an_meter_close(m);
    return status;
}

void an_meter_close(an_meter *m)
{
    if (!m) return;
    an_sensors_close(m->sensors);
    an_probe_close(m->probe);
    an_free(m);
}

void an_meter_begin(an_meter *m, int64_t pid)
{
    /* The sample comes first: what it does to caches and clocks is over when the counters are read. */
    m->bandwidth = m->probe ? an_probe_bandwidth(m->probe, 0) : NAN;
    m->pid = pid;
    m->own = pid > 0 && an_process_stat_read(pid, &m->before, NULL) == ANEMO_OK;
    m->switches = m->own && an_process_switches_read(pid, &m->switches_before);
    an_sensors_read(m->sensors, &m->sample);
    m->reset = m->own && an_process_reset_peak(pid);
}

static double difference(uint64_t from, uint64_t to)
{
    return to >= from ? (double)(to - from) : NAN;
}

static void end_process(an_meter *m, double *v)
{
    an_process_stat after;
    an_process_switches switches;
    bool own = m->own && an_process_stat_read(m->pid, &after, NULL) == ANEMO_OK;
    if (!own) {
        set_why(m, kernel_fields, AN_COUNT_OF(kernel_fields),
                m->pid > 0 ? "the worker's /proc entry could not be read" : "the server is no process of ours");
        return;
    }
    v[AN_FIELD_ID_cpu_s] = difference(m->before.cpu_ns, after.cpu_ns) * 1e-9;
    v[AN_FIELD_ID_rss_anon_bytes] = (double)after.rss_anon_bytes;
    v[AN_FIELD_ID_rss_file_bytes] = (double)after.rss_file_bytes;
    if (m->reset) v[AN_FIELD_ID_rss_peak_bytes] = (double)after.rss_peak_bytes;
    else m->why[AN_FIELD_ID_rss_peak_bytes] = "the system does not let the peak be reset (clear_refs)";
    if (m->before.ticks_known && after.ticks_known) {
        v[AN_FIELD_ID_cpu_user_s] = difference(m->before.user_ns, after.user_ns) * 1e-9;
        v[AN_FIELD_ID_cpu_system_s] = difference(m->before.system_ns, after.system_ns) * 1e-9;
        v[AN_FIELD_ID_faults_minor] = difference(m->before.faults_minor, after.faults_minor);
        v[AN_FIELD_ID_faults_major] = difference(m->before.faults_major, after.faults_major);
    } else set_why(m, kernel_fields + 1, 2, "/proc/<pid>/stat could not be read");
    uint64_t voluntary, involuntary;
    if (m->switches && an_process_switches_read(m->pid, &switches)) {
        an_process_switches_between(&m->switches_before, &switches, &voluntary, &involuntary);
        v[AN_FIELD_ID_ctx_voluntary] = (double)voluntary;
        v[AN_FIELD_ID_ctx_involuntary] = (double)involuntary;
    } else
        m->why[AN_FIELD_ID_ctx_voluntary] = m->why[AN_FIELD_ID_ctx_involuntary] =
            "the worker's threads could not be read, or are more than 256";
}

static void end_machine(an_meter *m, const an_sensor_sample *now, double *v)
{
    const char *why;
    const an_sensor_sample *from = &m->sample;
    v[AN_FIELD_ID_energy_j] = an_sensors_energy(m->sensors, from, now, &why);
    if (*why) set_why(m, energy_fields, AN_COUNT_OF(energy_fields), why);
    v[AN_FIELD_ID_cpu_hz] = now->cpu_hz;
    v[AN_FIELD_ID_temperature_c] = now->temperature_c;
    double all = now->cpu_total_s - from->cpu_total_s;
    if (all > 0) v[AN_FIELD_ID_steal_share] = (now->cpu_steal_s - from->cpu_steal_s) / all;
    else if (all <= 0) m->why[AN_FIELD_ID_steal_share] = "the repetition is shorter than a clock tick";
    v[AN_FIELD_ID_swap_in_bytes] = now->swap_in_bytes - from->swap_in_bytes;
}

void an_meter_end(an_meter *m, an_rep *rep)
{
    double *v = rep->values;
    an_sensor_sample now;
    expect_missing(m);
    an_sensors_read(m->sensors, &now);
    end_process(m, v);
    end_machine(m, &now, v);
    if (m->probe) v[AN_FIELD_ID_bandwidth_bps] = 0.5 * (m->bandwidth + an_probe_bandwidth(m->probe, 0));
    an_rep_derive(rep, m->options.n_cpu);
    v[AN_FIELD_ID_energy_net_j] = v[AN_FIELD_ID_energy_j] - m->idle_w * v[AN_FIELD_ID_total_s];
    if (isfinite(v[AN_FIELD_ID_energy_j]) && !isfinite(m->idle_w)) m->why[AN_FIELD_ID_energy_net_j] = "idle power could not be measured";
}

/* Of one probe: bandwidth, and the best of all kinds of arithmetic; *tiles is NaN where there are none. */
static an_peaks peaks_of(an_probe *p, double *f32, double *i8, double *tiles)
{
    *f32 = an_probe_peak_ops(p, AN_PROBE_F32);
    *i8 = an_probe_peak_ops(p, AN_PROBE_I8);
    *tiles = an_probe_peak_ops(p, AN_PROBE_BF16_TILES);
    return (an_peaks){an_probe_peak_bandwidth(p), fmax(fmax(*f32, *i8), *tiles)};
}

void an_meter_peaks(an_meter *m, an_environment *e)
{
    an_probe *own = NULL, *p = m->probe;
    if (!p && an_probe_open(&own, m->options.n_thread, NULL) == ANEMO_OK) p = own;
    if (p) {
        double f32, i8, tiles;
        an_peaks peaks = peaks_of(p, &f32, &i8, &tiles);
        e->peak_bandwidth_bps = peaks.bandwidth_bps;
        e->peak_flops = peaks.flops;
        if (!e->more) e->more = json_object();
        json_object_set_new(e->more, "peak_threads", json_integer(m->options.n_thread));
        json_object_set_new(e->more, "peak_f32_ops", an_json_real(f32));
        json_object_set_new(e->more, "peak_i8_ops", an_json_real(i8));
        if (isfinite(tiles)) json_object_set_new(e->more, "peak_bf16_tile_ops", an_json_real(tiles));
        m->peaks = true;
        expect_missing(m);
    }
    if (!e->more) e->more = json_object();
    const char *source = an_sensors_source(m->sensors, AN_SENSOR_ENERGY);
    json_object_set_new(e->more, "energy_source", *source ? json_string(source) : json_null());
    json_object_set_new(e->more, "idle_power_w", an_json_real(m->idle_w));
    an_probe_close(own);
}

void an_meter_peaks_with(an_meter *m, int threads, an_environment *e)
{
    an_probe *p;
    double f32, i8, tiles;
    size_t i;
    json_t *item, *list = json_object_get(e->more, "peaks_by_threads");
    if (!m->peaks || threads < 1 || threads >= m->options.n_thread) return;
    json_array_foreach(list, i, item)
        if (json_integer_value(json_object_get(item, "threads")) == threads) return;
    if (an_probe_open(&p, threads, NULL) != ANEMO_OK) return;
    an_peaks peaks = peaks_of(p, &f32, &i8, &tiles);
    an_probe_close(p);
    if (!list) json_object_set_new(e->more, "peaks_by_threads", list = json_array());
    json_array_append_new(list, json_pack("{s:i, s:f, s:f}", "threads", threads, "bandwidth_bps", peaks.bandwidth_bps, "flops",
                                          peaks.flops));
}

json_t *an_meter_missing(const an_meter *m)
{
    json_t *obj = json_object();
    for (int i = 0; obj && i < AN_FIELD_N; i++)
        if (m->why[i]) json_object_set_new(obj, an_field_get((an_field_id)i)->name, json_string(m->why[i]));
    return obj;
}

/* Bytes of one value in the KV cache; blocks of 32 values share their scale. */
static double kv_value_bytes(const an_cell *cell)
{
    static const struct {
        const char *name;
        double bytes;
    } types[] = {{"f16", 2},          {"bf16", 2},         {"f32", 4},          {"q8_0", 34.0 / 32},   {"q4_0", 18.0 / 32},
                 {"q4_1", 20.0 / 32}, {"q5_0", 22.0 / 32}, {"q5_1", 24.0 / 32}, {"iq4_nl", 18.0 / 32}};
    const char *name = json_string_value(json_object_get(cell->effective, "kv_type"));
    if (!name) name = json_string_value(json_object_get(cell->settings, "kv_type"));
    for (size_t i = 0; name && i < AN_COUNT_OF(types); i++)
        if (!strcmp(name, types[i].name)) return types[i].bytes;
    return name ? NAN : 2;
}

void an_meter_efficiency(an_rep *rep, const an_run_model *model, const an_cell *cell, const an_environment *e)
{
    double *v = rep->values;
    if (!model) return;
    an_peaks peaks = an_environment_peaks(e, an_cell_threads(cell));
    double prompt = v[AN_FIELD_ID_n_prompt], generated = v[AN_FIELD_ID_n_generated], depth = v[AN_FIELD_ID_n_depth];
    if (!(depth > 0)) depth = 0;
    /* With verified drafts a token is not a pass over the weights. */
    if (model->weight_bytes && generated > 0 && isnan(v[AN_FIELD_ID_n_drafted])) {
        /* Decode steps see the prompt and, on average, half of what they make. */
        double mean_depth = depth + (prompt > 0 ? prompt : 0) + 0.5 * generated;
        double kv = model->kv_values_per_pos ? (double)model->kv_values_per_pos * kv_value_bytes(cell) * mean_depth : 0;
        double bytes = floor((double)model->weight_bytes + kv + 0.5);
        double tps = v[AN_FIELD_ID_decode_tps];
        /* A step measurement without a prompt is nothing but decode steps. */
        if (!isfinite(tps) && !(prompt > 0)) tps = v[AN_FIELD_ID_step_tps];
        v[AN_FIELD_ID_bytes_per_token] = bytes;
        v[AN_FIELD_ID_mbu] = bytes * tps / peaks.bandwidth_bps;
    }
    if (model->flop_per_token > 0 && prompt > 0) {
        double attended = prompt * prompt + 2 * prompt * depth;
        double flop = (model->flop_per_token - model->head_flop) * prompt + model->head_flop +
                      2 * (double)model->attention_width * attended;
        v[AN_FIELD_ID_mfu] = flop / prompt * v[AN_FIELD_ID_prefill_tps] / peaks.flops;
    }
}
