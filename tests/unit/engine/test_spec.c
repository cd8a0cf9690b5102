/*
 * Speculative decoding on tiny models: the same ids as plain decoding for any prompt, thread count and way of drafting; the
 * same distribution where drafts are drawn; a session that does not show what was drafted; limits and errors.
 */
#include "support/test.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "engine/sampler.h"
#include "engine/spec.h"
#include "support/gguf_build.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { N_VOCAB = 32, N_CTX = 100 };

/* The model; another one with its vocabulary; with another vocabulary; with none. */
static char path[64], other_path[64], foreign_path[64], bare_path[64];
static an_model_file *model, *other, *foreign, *bare;
static anemo_error err;

/* A session with its speculator; without one when n_draft < 0. */
typedef struct pair {
    an_session *s;
    an_spec *sp;
} pair;

static pair open_pair(const an_model_file *draft, int n_draft, int n_thread, int n_ctx)
{
    pair p = {0};
    an_session_options o = {.n_ctx = n_ctx, .n_thread = n_thread, .kv = AN_KV_F16};
    assert_ok(an_session_open_model(&p.s, model, NULL, &o, &err), &err);
    /* As models these cost what they save, and the clock of a busy machine decides what pays: the tests are not about that. */
    const an_spec_options so = {.draft = draft, .n_draft = n_draft, .always = draft || n_draft > 0};
    if (n_draft >= 0) assert_ok(an_spec_open(&p.sp, p.s, &so, &err), &err);
    return p;
}

static void close_pair(pair *p)
{
    an_spec_close(p->sp);
    an_session_close(p->s);
}

static void begin(pair *p, const int32_t *prompt, int n, const an_sampling *s)
{
    if (p->sp) {
        an_spec_reset(p->sp);
        an_spec_sampler_set(p->sp, s);
        assert_ok(an_spec_eval(p->sp, prompt, n, &err), &err);
        return;
    }
    an_session_reset(p->s);
    an_session_sampler_set(p->s, s);
    assert_ok(an_session_eval(p->s, prompt, n, &err), &err);
}

static int32_t next(pair *p, int32_t id)
{
    int32_t out = -1;
    if (p->sp) {
        assert_ok(an_spec_next(p->sp, id, &out, &err), &err);
        return out;
    }
    assert_ok(an_session_eval(p->s, &id, 1, &err), &err);
    return an_session_sample(p->s);
}

static void generate(pair *p, const int32_t *prompt, int n, const an_sampling *s, int32_t *out, int n_out)
{
    begin(p, prompt, n, s);
    out[0] = an_session_sample(p->s);
    for (int i = 1; i < n_out; i++) out[i] = next(p, out[i - 1]);
}

/* A prompt of n ids: random words, or a passage of `period` of them again and again. */
static void make_prompt(an_rng *rng, int32_t *ids, int n, int period)
{
    for (int i = 0; i < n; i++) ids[i] = i < period ? (int32_t)an_rng_below(rng, N_VOCAB) : ids[i - period];
}

static const an_sampling SETTINGS[] = {
    {.top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64},
    {.top_p = 1, .repeat_penalty = 1.3, .repeat_last_n = 5},
    {.temperature = 0.7, .top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64},
    {.temperature = 0.2, .top_k = 4, .top_p = 0.9, .min_p = 0.05, .repeat_penalty = 1.2, .repeat_last_n = 8},
};

/* Whatever drafts, the ids are plain decoding's: all of greedy, and look-up with any seed. */
static void test_same_ids(void **state)
{
    (void)state;
    enum { N_OUT = 60 };
    static const int N_DRAFT[2][3] = {{7, 3, 0}, {0, 3, 0}}; /* look-up: always as many, and as many as pay */
    const an_model_file *drafts[] = {NULL, model, other};
    uint64_t accepted[3] = {0}, drafted[3] = {0};
    for (int threads = 1; threads <= 2; threads++)
        for (int d = 0; d < 3; d++) {
            an_rng rng;
            an_rng_seed(&rng, 21);
            pair plain = open_pair(NULL, -1, threads, N_CTX), spec = open_pair(drafts[d], N_DRAFT[threads - 1][d], threads, N_CTX);
            for (int i = 0; i < 16; i++) {
                int32_t prompt[40], a[N_OUT], b[N_OUT];
                int n = 2 + (int)an_rng_below(&rng, 38), period = i % 2 ? n : 1 + (int)an_rng_below(&rng, 9);
                an_sampling s = SETTINGS[i / 2 % (d ? 2 : 4)];
                s.seed = (uint64_t)i;
                make_prompt(&rng, prompt, n, period);
                generate(&plain, prompt, n, &s, a, N_OUT);
                generate(&spec, prompt, n, &s, b, N_OUT);
                assert_memory_equal(a, b, sizeof a);
                an_spec_stats stats = an_spec_stats_get(spec.sp);
                assert_true(stats.n_token >= N_OUT - 1 && stats.n_token == stats.n_pass + stats.n_accepted);
                accepted[d] += stats.n_accepted;
                drafted[d] += stats.n_drafted;
            }
            close_pair(&plain);
            close_pair(&spec);
        }
    assert_true(accepted[0] > 200 && drafted[0] > accepted[0]);
    assert_int_equal(accepted[1], drafted[1]); /* a model agrees with itself: to the bit, or this fails */
    assert_true(drafted[2] > accepted[2]);
}

/* Same seed, same run; where drafts are drawn as well. */
static void test_repeatable(void **state)
{
    (void)state;
    int32_t a[50], b[50];
    const int32_t prompt[] = {1, 7, 3, 9, 7, 3};
    an_sampling s = SETTINGS[2];
    s.seed = 77;
    pair spec = open_pair(other, 6, 2, N_CTX);
    generate(&spec, prompt, 6, &s, a, 50);
    generate(&spec, prompt, 6, &s, b, 50);
    assert_memory_equal(a, b, sizeof a);
    close_pair(&spec);
}

/*
 * After every call, settled or not, the session goes on as one that never drafted: other ids than the expected ones, its logits,
 * its sampler.
 */
static void test_settle(void **state)
{
    (void)state;
    const an_model_file *drafts[] = {NULL, model, other};
    const int32_t prompt[] = {5, 6, 7, 8, 5, 6, 7, 8, 5, 6};
    for (int d = 0; d < 3; d++) {
        an_rng rng;
        an_rng_seed(&rng, 4);
        an_sampling s = SETTINGS[d ? 1 : 3];
        s.seed = 9;
        pair plain = open_pair(NULL, -1, 1, N_CTX), spec = open_pair(drafts[d], 0, 1, N_CTX);
        for (int round = 0; round < 10; round++) {
            begin(&plain, prompt, 10, &s);
            begin(&spec, prompt, 10, &s);
            int32_t a = an_session_sample(plain.s), b = an_session_sample(spec.s);
            for (int i = 0; i < 40; i++) {
                assert_int_equal(a, b);
                uint64_t what = an_rng_below(&rng, 12);
                if (what == 0) a = b = (int32_t)an_rng_below(&rng, N_VOCAB); /* the caller's own choice */
                a = next(&plain, a);
                b = next(&spec, b);
                assert_int_equal(an_spec_n_past(spec.sp), an_session_n_past(plain.s));
                if (what != 1) continue;
                an_spec_settle(spec.sp);
                assert_int_equal(an_session_n_past(spec.s), an_session_n_past(plain.s));
                assert_memory_equal(an_session_logits(spec.s), an_session_logits(plain.s), N_VOCAB * sizeof(float));
                a = an_session_sample(plain.s);
                b = an_session_sample(spec.s);
            }
            assert_int_equal(a, b);
        }
        close_pair(&plain);
        close_pair(&spec);
    }
}

/* To the last position, and not beyond; a wrong id and a full context are refused and change nothing. */
static void test_limits(void **state)
{
    (void)state;
    const int32_t prompt[] = {5, 5, 5, 5, 5, 5};
    const an_model_file *drafts[] = {NULL, model};
    an_sampling greedy = an_sampling_greedy();
    for (int d = 0; d < 2; d++)
        for (int n_ctx = 7; n_ctx <= 24; n_ctx++) {
            pair plain = open_pair(NULL, -1, 1, n_ctx), spec = open_pair(drafts[d], 0, 1, n_ctx);
            begin(&plain, prompt, 6, &greedy);
            begin(&spec, prompt, 6, &greedy);
            int32_t a = an_session_sample(plain.s), b = an_session_sample(spec.s), none = -7;
            for (int i = 6; i < n_ctx; i++) {
                assert_fails(an_spec_next(spec.sp, i == 8 ? N_VOCAB : -1, &none, &err), &err, ANEMO_ERR_INVAL, "not in 0 to 31");
                assert_int_equal(none, -7);
                a = next(&plain, a);
                b = next(&spec, b);
                assert_int_equal(a, b);
            }
            assert_fails(an_spec_next(spec.sp, b, &none, &err), &err, ANEMO_ERR_INVAL, "is full");
            assert_fails(an_spec_eval(spec.sp, prompt, 1, &err), &err, ANEMO_ERR_INVAL, "is full");
            assert_int_equal(an_spec_n_past(spec.sp), n_ctx);
            close_pair(&plain);
            close_pair(&spec);
        }
}

static void test_interrupted(void **state)
{
    (void)state;
    volatile int stop = 0;
    int32_t a, b, none = -7;
    const int32_t prompt[] = {5, 6, 5, 6, 5, 6};
    an_sampling greedy = an_sampling_greedy();
    pair plain = open_pair(NULL, -1, 1, N_CTX), spec = open_pair(NULL, 0, 1, N_CTX);
    begin(&plain, prompt, 6, &greedy);
    begin(&spec, prompt, 6, &greedy);
    an_session_set_stop(spec.s, &stop);
    a = an_session_sample(plain.s);
    b = an_session_sample(spec.s);
    for (int i = 0; i < 60; i++) {
        stop = 1;
        anemo_status status = an_spec_next(spec.sp, b, &none, &err); /* what is verified is there nonetheless */
        stop = 0;
        a = next(&plain, a);
        if (status == ANEMO_OK) {
            b = none;
        } else {
            assert_int_equal(status, ANEMO_ERR_INTERRUPTED);
            b = next(&spec, b);
        }
        assert_int_equal(a, b);
    }
    close_pair(&plain);
    close_pair(&spec);
}

static void test_errors(void **state)
{
    (void)state;
    an_spec *sp;
    pair p = open_pair(NULL, -1, 1, N_CTX);
    an_spec_options o = {.n_draft = 16};
    assert_fails(an_spec_open(&sp, p.s, &o, &err), &err, ANEMO_ERR_INVAL, "1 to 15");
    o.n_draft = -1;
    assert_fails(an_spec_open(&sp, p.s, &o, &err), &err, ANEMO_ERR_INVAL, "1 to 15");
    o = (an_spec_options){.draft = foreign};
    assert_fails(an_spec_open(&sp, p.s, &o, &err), &err, ANEMO_ERR_INVAL, "id 0 is \"<UNK>\" in fore and \"<unk>\" in tiny");
    foreign->hp.n_vocab = 40;
    assert_fails(an_spec_open(&sp, p.s, &o, &err), &err, ANEMO_ERR_INVAL, "fore has 40 ids, tiny has 32");
    foreign->hp.n_vocab = N_VOCAB;
    o.draft = bare;
    assert_fails(an_spec_open(&sp, p.s, &o, &err), &err, ANEMO_ERR_INVAL, "bare brings none");
    assert_ok(an_vocabulary_same(bare, bare, &err), &err);
    an_spec_close(NULL);
    close_pair(&p);
}

/* ------------------------------------------------------------------------------------------------- distributions */

enum { N_PROMPT = 12, N_DRAW = 2500, N_DEEP = 3 };

/* Probability of every sequence of N_DEEP ids after the prompt: out [N_VOCAB^N_DEEP], by plain passes and the sampler's own rule. */
static void exact(pair *plain, const an_sampling *s, int32_t *ids, int n, double so_far, double *out)
{
    double prob[N_VOCAB];
    an_sampler *sampler = an_session_sampler(plain->s);
    an_sampler_mark mark = an_sampler_mark_take(sampler);
    an_sampler_distribution(sampler, an_session_logits(plain->s), prob);
    int n_past = an_session_n_past(plain->s);
    for (int32_t id = 0; id < N_VOCAB; id++) {
        if (prob[id] == 0) continue;
        ids[n] = id;
        if (n + 1 == N_DEEP) {
            out[(ids[0] * N_VOCAB + ids[1]) * N_VOCAB + id] = so_far * prob[id];
            continue;
        }
        an_sampler_remember(sampler, id);
        assert_ok(an_session_eval(plain->s, &id, 1, &err), &err);
        exact(plain, s, ids, n + 1, so_far * prob[id], out);
        an_session_rewind(plain->s, n_past);
        an_sampler_return(sampler, &mark);
    }
}

/* Pearson's statistic against its 99.9 % quantile (Wilson and Hilferty, 1931); cells that expect fewer than 5 are one. */
static void assert_distributed(const int *hits, const double *p, size_t n, int n_draw, const char *what)
{
    double chi2 = 0, rest_p = 0, rest_hits = 0;
    int df = -1;
    for (size_t i = 0; i < n; i++) {
        double expected = p[i] * n_draw;
        if (p[i] == 0) assert_int_equal(hits[i], 0);
        if (expected < 5) {
            rest_p += p[i];
            rest_hits += hits[i];
            continue;
        }
        chi2 += (hits[i] - expected) * (hits[i] - expected) / expected;
        df++;
    }
    if (rest_p * n_draw >= 5) {
        chi2 += (rest_hits - rest_p * n_draw) * (rest_hits - rest_p * n_draw) / (rest_p * n_draw);
        df++;
    }
    double h = 2.0 / (9.0 * df), limit = df * pow(1 - h + 3.0902 * sqrt(h), 3);
    if (df < 8 || chi2 > limit) fail_msg("%s: chi-square %.1f with %d degrees of freedom, limit %.1f", what, chi2, df, limit);
}

/*
 * N_DEEP ids in a row, drawn many times, against the product of the exact probabilities: all sequences together and each position
 * alone. Position 1 comes from a plain draw, the others from drafts.
 */
static void check_distribution(const an_model_file *draft, const an_sampling *sampling, const char *what)
{
    enum { N_SEQ = N_VOCAB * N_VOCAB * N_VOCAB };
    static double p[N_SEQ];
    static int hits[N_SEQ];
    double at[N_DEEP][N_VOCAB] = {{0}};
    int hits_at[N_DEEP][N_VOCAB] = {{0}};
    int32_t ids[N_DEEP];
    an_sampling s = *sampling;
    uint64_t accepted = 0, drafted = 0;
    memset(p, 0, sizeof p);
    memset(hits, 0, sizeof hits);
    pair plain = open_pair(NULL, -1, 1, N_CTX), spec = open_pair(draft, N_DEEP - 1, 1, N_CTX);
    /* A text of the model's own, so that it may want to repeat itself. */
    int32_t prompt[N_PROMPT] = {3, 9};
    const an_sampling greedy = an_sampling_greedy();
    generate(&plain, prompt, 2, &greedy, prompt + 2, N_PROMPT - 2);
    begin(&plain, prompt, N_PROMPT, &s);
    exact(&plain, &s, ids, 0, 1, p);
    for (int i = 0; i < N_DRAW; i++) {
        s.seed = (uint64_t)i;
        generate(&spec, prompt, N_PROMPT, &s, ids, N_DEEP);
        hits[(ids[0] * N_VOCAB + ids[1]) * N_VOCAB + ids[2]]++;
        for (int k = 0; k < N_DEEP; k++) hits_at[k][ids[k]]++;
        accepted += an_spec_stats_get(spec.sp).n_accepted;
        drafted += an_spec_stats_get(spec.sp).n_drafted;
    }
    for (int i = 0; i < N_SEQ; i++) {
        at[0][i / N_VOCAB / N_VOCAB] += p[i];
        at[1][i / N_VOCAB % N_VOCAB] += p[i];
        at[2][i % N_VOCAB] += p[i];
    }
    assert_distributed(hits, p, N_SEQ, N_DRAW, what);
    for (int k = 0; k < N_DEEP; k++) assert_distributed(hits_at[k], at[k], N_VOCAB, N_DRAW, what);
    printf("%s: %.0f %% of the drafted ids accepted\n", what, 100.0 * (double)accepted / (double)drafted);
    assert_true(accepted > 0 && accepted < drafted);
    close_pair(&plain);
    close_pair(&spec);
}

static void test_distribution(void **state)
{
    (void)state;
    const an_sampling free_draw = {.temperature = 0.6, .top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64};
    const an_sampling cut = {.temperature = 1.2, .top_k = 12, .top_p = 0.95, .min_p = 0.02, .repeat_penalty = 1.3, .repeat_last_n = 4};
    check_distribution(other, &free_draw, "a draft model");
    check_distribution(other, &cut, "a draft model, cuts and penalty");
    check_distribution(NULL, &free_draw, "look-up");
    check_distribution(NULL, &cut, "look-up, cuts and penalty");
}

/* ------------------------------------------------------------------------------------------------------- fixtures */

/* Replace bytes in a file image: the texts of its vocabulary, the model's name. */
static void replace(test_buf *b, const char *from, const char *to)
{
    size_t n = strlen(from);
    for (size_t i = 0; i + n <= b->n; i++)
        if (memcmp(b->data + i, from, n) == 0) memcpy(b->data + i, to, n);
}

static void write_model(char *out, const char *name, uint32_t type, const char *from, const char *to, an_model_file **m)
{
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, type);
    test_buf file = gguf_build_finish(&b);
    replace(&file, "tiny", name);
    replace(&file, from, to);
    snprintf(out, sizeof path, "/tmp/anemo-spec-%s-%ld.gguf", name, (long)getpid());
    test_buf_write(&file, out);
    test_buf_free(&file);
    assert_ok(an_model_file_open(m, out, &err), &err);
}

int main(void)
{
    write_model(path, "tiny", 3, "tiny", "tiny", &model);
    write_model(other_path, "othr", 0, "tiny", "tiny", &other);
    write_model(foreign_path, "fore", 0, "<unk>", "<UNK>", &foreign);
    write_model(bare_path, "bare", 0, "tokenizer.ggml.model", "tokenizer.ggml.nodel", &bare);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_ids), cmocka_unit_test(test_repeatable),  cmocka_unit_test(test_settle),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_interrupted), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_distribution),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    an_model_file *const models[] = {model, other, foreign, bare};
    const char *const paths[] = {path, other_path, foreign_path, bare_path};
    for (int i = 0; i < 4; i++) {
        an_model_file_close(models[i]);
        unlink(paths[i]);
    }
    return failed;
}
