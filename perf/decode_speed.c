/*
 * Speed of the native engine in one process: prefill of a fixed random prompt and greedy decode after it.
 *
 *   decode_speed MODEL [N_PROMPT N_GENERATE N_THREAD N_REP [KV [f32|q8|auto [DEPTH [N_STEP]]]]]
 *
 * KV is the type of the cache: f16, bf16, q8_0, f32. DEPTH positions are filled once, before all repetitions; each then
 * begins behind them. N_STEP tokens are given to each step of "decode", as when drafts are verified; its figure is tokens
 * per second all the same.
 *
 * Prints one line per repetition (the first is a warm-up) and the medians: tokens per second, and in brackets
 * tokens per second of CPU time, which is the steadier figure for one thread on a busy machine.
 */
#include "base/rng.h"
#include "engine/session.h"
#include "os/clock.h"
#include "stats/summary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 65536, REPS_MAX = 100 };

static int arg(int argc, char **argv, int i, int def)
{
    return argc > i ? atoi(argv[i]) : def;
}

typedef struct plan {
    int n_prompt, n_generate, n_depth, n_step;
} plan;

/* Tokens per second by the clock and by CPU time. */
typedef struct speed {
    double wall[REPS_MAX], cpu[REPS_MAX];
} speed;

typedef struct stamp {
    uint64_t wall, cpu;
} stamp;

static stamp now(void)
{
    return (stamp){an_clock_ns(), an_clock_cpu_ns()};
}

static void note(speed *s, int i, int n, stamp from, stamp to)
{
    s->wall[i] = n / ((double)(to.wall - from.wall) * 1e-9);
    s->cpu[i] = n / ((double)(to.cpu - from.cpu) * 1e-9);
}

static anemo_status run_rep(an_session *s, const int32_t *ids, const plan *p, int i, speed *prefill, speed *decode,
                            anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_session_rewind(s, p->n_depth);
    stamp start = now();
    AN_TRY(an_session_eval(s, ids, p->n_prompt, err));
    int32_t id = an_session_sample(s);
    stamp first = now();
    for (int k = 1; k < p->n_generate; k++) {
        AN_TRY(an_session_eval(s, p->n_step > 1 ? ids : &id, p->n_step, err));
        id = an_session_sample(s);
    }
    note(prefill, i, p->n_prompt, start, first);
    note(decode, i, (p->n_generate - 1) * p->n_step, first, now());
cleanup:
    return status;
}

static void print_line(const char *what, double prefill, double prefill_cpu, double decode, double decode_cpu)
{
    printf("%-8s prefill %8.1f t/s (%8.1f)   decode %8.1f t/s (%8.1f)\n", what, prefill, prefill_cpu, decode,
           decode_cpu);
    fflush(stdout);
}

static anemo_status fill(an_session *s, const int32_t *ids, int n_depth, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (int done = 0; done < n_depth; done += 512)
        AN_TRY(an_session_eval(s, ids + done % 512, n_depth - done < 512 ? n_depth - done : 512, err));
cleanup:
    return status;
}

int main(int argc, char **argv)
{
    static int32_t ids[TOKENS_MAX];
    static speed prefill, decode;
    anemo_error err = {0};
    an_session *s = NULL;
    plan p = {arg(argc, argv, 2, 512), arg(argc, argv, 3, 128), arg(argc, argv, 8, 0), arg(argc, argv, 9, 1)};
    int n_rep = arg(argc, argv, 5, 5);
    an_session_options o = {.n_thread = arg(argc, argv, 4, 0), .kv = AN_KV_F16};
    bool kv_known = argc <= 6 || an_kv_named(argv[6], &o.kv);
    if (argc < 2 || p.n_prompt < 1 || p.n_prompt > TOKENS_MAX || p.n_generate < 2 || n_rep < 1 || n_rep > REPS_MAX ||
        !kv_known || p.n_depth < 0 || p.n_step < 1 || p.n_step > 512) {
        fprintf(stderr,
                "usage: %s MODEL [N_PROMPT N_GENERATE N_THREAD N_REP [f16|bf16|q8_0|f32 [f32|q8|auto [DEPTH [N_STEP]]]]]\n",
                argv[0]);
        return 2;
    }
    o.n_ctx = p.n_depth + p.n_prompt + p.n_generate * p.n_step;
    o.compute_set = argc > 7 && strcmp(argv[7], "auto") != 0;
    o.compute = o.compute_set && strcmp(argv[7], "q8") == 0 ? AN_COMPUTE_Q8 : AN_COMPUTE_F32;
    if (an_session_open(&s, argv[1], &o, &err) != ANEMO_OK) goto fail;
    an_rng rng;
    an_rng_seed(&rng, 1);
    for (int i = 0; i < TOKENS_MAX; i++)
        ids[i] = (int32_t)an_rng_below(&rng, (uint64_t)an_session_model(s)->hp.n_vocab);
    printf("%s, %s, %d threads\n", an_session_effective(s)->isa,
           an_session_effective(s)->compute == AN_COMPUTE_Q8 ? "q8" : "f32", an_session_effective(s)->n_thread);
    if (fill(s, ids, p.n_depth, &err) != ANEMO_OK) goto fail;
    for (int i = -1; i < n_rep; i++) {
        int at = i < 0 ? 0 : i;
        if (run_rep(s, ids, &p, at, &prefill, &decode, &err) != ANEMO_OK) goto fail;
        print_line(i < 0 ? "warm-up" : "rep", prefill.wall[at], prefill.cpu[at], decode.wall[at], decode.cpu[at]);
    }
    size_t n = (size_t)n_rep;
    print_line("median", an_median_inplace(prefill.wall, n), an_median_inplace(prefill.cpu, n),
               an_median_inplace(decode.wall, n), an_median_inplace(decode.cpu, n));
    an_session_close(s);
    return 0;
fail:
    fprintf(stderr, "%s\n", err.message);
    an_session_close(s);
    return anemo_status_exit_code(err.status);
}
