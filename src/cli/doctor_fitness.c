/* Fitness of the machine: look, probes, noise. */
#include "cli/doctor_fitness.h"

#include "base/json.h"
#include "bench/fitness.h"
#include "bench/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const uint64_t LOOK_NS = 1000000000, QUICK_LOOK_NS = 500000000;

enum { N_SAMPLE = 20 };

/* Peaks of n threads, and how steady short samples of bandwidth are: they stand around each repetition of a comparison. */
static anemo_status measure_threads(int n_thread, json_t *list, anemo_error *err)
{
    an_probe *p;
    anemo_status status = an_probe_open(&p, n_thread, err);
    if (status != ANEMO_OK) return status;
    double mean = 0, square = 0, samples[N_SAMPLE];
    for (int i = 0; i < N_SAMPLE; i++) {
        samples[i] = an_probe_bandwidth(p, 0);
        mean += samples[i] / N_SAMPLE;
    }
    for (int i = 0; i < N_SAMPLE; i++) square += (samples[i] - mean) * (samples[i] - mean);
    json_array_append_new(list, json_pack("{s:i,s:o,s:o,s:o,s:o,s:o}", "threads", n_thread, "bandwidth_bps",
                                          an_json_real(an_probe_peak_bandwidth(p)), "bandwidth_cv",
                                          an_json_real(sqrt(square / (N_SAMPLE - 1)) / mean), "f32_ops",
                                          an_json_real(an_probe_peak_ops(p, AN_PROBE_F32)), "i8_ops",
                                          an_json_real(an_probe_peak_ops(p, AN_PROBE_I8)), "bf16_tile_ops",
                                          an_json_real(an_probe_peak_ops(p, AN_PROBE_BF16_TILES))));
    an_probe_close(p);
    return ANEMO_OK;
}

/* 1, 2, 4, … and n threads. */
static anemo_status measure_probes(const an_fitness_request *r, json_t *list, anemo_error *err)
{
    for (int n = 1;; n = 2 * n < r->n_thread ? 2 * n : r->n_thread) {
        if (!r->quiet) fprintf(stderr, "measuring bandwidth and arithmetic with %d thread%s\n", n, n > 1 ? "s" : "");
        anemo_status status = measure_threads(n, list, err);
        if (status != ANEMO_OK || n == r->n_thread) return status;
    }
}

anemo_status an_cli_measure_fitness(const an_fitness_request *r, json_t *report, int *worst, anemo_error *err)
{
    static const char *const fit[] = {"ok", "warn", "bad"};
    anemo_status status = ANEMO_OK;
    an_fitness f = {0};
    json_t *probes = json_array(), *findings;
    if (!r->quiet) fprintf(stderr, "looking at the machine\n");
    AN_TRY(an_fitness_look(&f, "", r->quick ? QUICK_LOOK_NS : LOOK_NS, err));
    f.cpus_online = r->cpus_online;
    f.cpus_usable = r->cpus_usable;
    f.build_type = r->build_type;
    if (!r->quick) {
        AN_TRY(measure_probes(r, probes, err));
        if (!r->quiet) fprintf(stderr, "measuring noise\n");
        AN_TRY(an_noise_measure(r->n_thread, &f.noise, err));
        f.has_noise = true;
    }
    findings = an_fitness_findings(&f);
    if (!findings) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    *worst = an_fitness_worst(findings);
    json_object_set_new(report, "fit", json_string(fit[*worst]));
    json_object_set_new(report, "findings", findings);
    json_object_set(report, "probes", probes);
    json_object_set_new(report, "noise",
                        f.has_noise ? json_pack("{s:i,s:i,s:o,s:o,s:o}", "repetitions", f.noise.n, "threads", r->n_thread, "median_s",
                                                an_json_real(f.noise.median_s), "cv", an_json_real(f.noise.cv), "p95_abs_ln_ratio",
                                                an_json_real(f.noise.p95_ln_ratio))
                                    : json_null());
cleanup:
    json_decref(probes);
    an_fitness_free(&f);
    return status;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static double number_of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

void an_cli_print_fitness(const json_t *report)
{
    static const char *const levels[] = {"bad", "warn", "ok"};
    const json_t *probes = json_object_get(report, "probes");
    int count[3] = {0};
    size_t i;
    json_t *item;
    printf("Fitness\n");
    for (int l = 0; l < 3; l++)
        json_array_foreach(json_object_get(report, "findings"), i, item)
        {
            if (strcmp(text_of(item, "level"), levels[l]) != 0) continue;
            count[l]++;
            printf("  %-4s %-12s %s%s%s\n", levels[l], text_of(item, "id"), text_of(item, "what"), *text_of(item, "do") ? ". Do: " : "",
                   text_of(item, "do"));
        }
    if (count[0]) printf("  Not fit to measure: %d finding%s bad.\n", count[0], count[0] > 1 ? "s are" : " is");
    else if (count[1]) printf("  Fit to measure with care: %d warning%s.\n", count[1], count[1] > 1 ? "s" : "");
    else printf("  Fit to measure.\n");
    bool tiles = json_is_number(json_object_get(json_array_get(probes, 0), "bf16_tile_ops"));
    if (json_array_size(probes))
        printf("Peaks\n  threads  read GB/s  sample cv  f32 Gop/s  int8 Gop/s%s\n", tiles ? "  bf16 tiles Gop/s" : "");
    json_array_foreach(probes, i, item)
    {
        printf("  %7d  %9.1f  %7.1f %%  %9.1f  %10.1f", (int)number_of(item, "threads"), number_of(item, "bandwidth_bps") * 1e-9,
               100 * number_of(item, "bandwidth_cv"), number_of(item, "f32_ops") * 1e-9, number_of(item, "i8_ops") * 1e-9);
        if (tiles) printf("  %16.1f", number_of(item, "bf16_tile_ops") * 1e-9);
        printf("\n");
    }
}
