/*
 * Speed of speculative decoding in the native engine (docs/speculative.md), in one process:
 *
 *   draft_speed MODEL passes [N_THREAD [N_ROUND [DEPTH]]]
 *       what passes of 1 to 16 tokens take, logits and a greedy draw of each token included, in plain decode steps of the same round
 *   draft_speed MODEL CASE [N_THREAD [N_PAIR [N_GENERATE [DRAFT-MODEL]]]]
 *       plain and drafted decoding of one text, in alternation; drafts by look-up, or by another model. CASE: code, quotes, prose,
 *       sampled, fewwords, random, or a file with a prompt, continued greedily
 *
 * A ratio is drafted over plain of one pair: its median, smallest and largest. The ids of both are compared.
 */
#include "base/alloc.h"
#include "base/rng.h"
#include "engine/sampler.h"
#include "engine/spec.h"
#include "os/clock.h"
#include "os/file.h"
#include "stats/summary.h"
#include "token/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_MAX = 200, GENERATE_MAX = 4096, PROMPT_FILE_MAX = 1 << 20 };

static const int PASSES[] = {1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 16};

typedef struct text_case {
    const char *name, *prompt;
    double temperature;
    int top_k;
} text_case;

static const text_case CASES[] = {
    {"code",
     "Write out this C file again with every name 'count' replaced by 'total'. Give the whole file.\n\n"
     "#include <stdio.h>\n\nstatic int count_words(const char *text)\n{\n    int count = 0, inside = 0;\n"
     "    for (int i = 0; text[i] != '\\0'; i++) {\n        int letter = text[i] != ' ' && text[i] != '\\n';\n"
     "        if (letter && !inside) count++;\n        inside = letter;\n    }\n    return count;\n}\n\n"
     "static int count_lines(const char *text)\n{\n    int count = 0;\n"
     "    for (int i = 0; text[i] != '\\0'; i++)\n        if (text[i] == '\\n') count++;\n    return count;\n}\n\n"
     "int main(void)\n{\n    const char *text = \"one two\\nthree\\n\";\n"
     "    printf(\"%d words, %d lines\\n\", count_words(text), count_lines(text));\n    return 0;\n}\n",
     0, 0},
    {"quotes",
     "Summarize the report below in one paragraph, and quote the three sentences that matter most word for word.\n\n"
     "The bridge over the river Alder was closed on the second of March after an inspector found cracks in two of its "
     "bearings. The council had known since autumn that the bearings were near the end of their life, but the repair had "
     "been put off twice because no contractor offered a price within the budget. Since the closure, buses take a detour "
     "of eleven kilometres, and the school in Lower Alder begins half an hour later. Shops on the market square report "
     "that they lost a third of their customers in the first two weeks. The county has now promised to pay for half of "
     "the repair, on condition that work begins before the first of June. Engineers expect that the bridge can be opened "
     "to cars in September and to lorries by the end of the year. Until then, a ferry will carry pedestrians and bicycles "
     "from seven in the morning to ten in the evening.",
     0, 0},
    {"prose", "Tell me about a walk through an old town in the rain, as a writer of travel books would.", 0, 0},
    {"sampled", "Tell me about a walk through an old town in the rain, as a writer of travel books would.", 0.8, 0},
    {"fewwords", "one two three four five six seven eight nine ten", 1000, 12}, /* pairs come back, what follows them does not */
    {"random", "one two three four five six seven eight nine ten", 1000, 0},
};

typedef struct bench {
    an_model_file *model, *draft_model;
    an_session *session; /* of both: a second one would have its weights in other pages */
    an_spec *spec;
    an_ids prompt;
} bench;

static void close_bench(bench *b)
{
    an_spec_close(b->spec);
    an_session_close(b->session);
    an_model_file_close(b->draft_model);
    an_model_file_close(b->model);
    an_ids_free(&b->prompt);
}

static double seconds_since(uint64_t from)
{
    return (double)(an_clock_ns() - from) * 1e-9;
}

static int arg(int argc, char **argv, int i, int def)
{
    return argc > i ? atoi(argv[i]) : def;
}

/* ---- what a pass costs */

static anemo_status time_pass(an_session *s, const int32_t *ids, int n, int depth, float *rows, double *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int n_vocab = an_session_model(s)->hp.n_vocab;
    an_session_rewind(s, depth);
    uint64_t from = an_clock_ns();
    AN_TRY(an_session_eval_all(s, ids, n, rows, err));
    for (int i = 0; i < n; i++) an_sampler_draw(an_session_sampler(s), rows + (size_t)i * (size_t)n_vocab);
    *out = seconds_since(from);
cleanup:
    return status;
}

static anemo_status time_passes(bench *b, int n_round, int depth, anemo_error *err)
{
    static double ratio[AN_COUNT_OF(PASSES)][ROUNDS_MAX];
    anemo_status status = ANEMO_OK;
    int32_t ids[64];
    an_rng rng;
    an_rng_seed(&rng, 1);
    int n_vocab = b->model->hp.n_vocab;
    float *rows = an_calloc((size_t)(AN_SPEC_DRAFT_MAX + 1) * (size_t)n_vocab, sizeof *rows);
    if (!rows) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int i = 0; i < 64; i++) ids[i] = (int32_t)an_rng_below(&rng, (uint64_t)n_vocab);
    for (int i = 0; i < depth; i += 32) AN_TRY(an_session_eval(b->session, ids, depth - i < 32 ? depth - i : 32, err));
    double steps[ROUNDS_MAX];
    for (int round = -1; round < n_round; round++) {
        for (size_t k = 0; k < AN_COUNT_OF(PASSES); k++) {
            double before, after, pass;
            /* A step before and one behind: what drifts meets both. */
            AN_TRY(time_pass(b->session, ids, 1, depth, rows, &before, err));
            AN_TRY(time_pass(b->session, ids, PASSES[k], depth, rows, &pass, err));
            AN_TRY(time_pass(b->session, ids, 1, depth, rows, &after, err));
            if (round < 0) continue;
            ratio[k][round] = 2 * pass / (before + after);
            steps[round] = before;
        }
    }
    printf("a step of 1: %.3f ms\n", 1e3 * an_median_inplace(steps, (size_t)n_round));
    for (size_t k = 0; k < AN_COUNT_OF(PASSES); k++) {
        double *r = ratio[k], middle = an_median_inplace(r, (size_t)n_round); /* sorts r */
        printf("%2d tokens: %.3f steps (quartiles %.3f to %.3f)\n", PASSES[k], middle, r[n_round / 4], r[3 * n_round / 4]);
    }
cleanup:
    an_free(rows);
    return status;
}

/* ---- texts */

static anemo_status decode_plain(bench *b, const an_sampling *sampling, int32_t *out, int n, double *tps, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_spec_reset(b->spec);
    an_session_sampler_set(b->session, sampling);
    AN_TRY(an_session_eval(b->session, b->prompt.ids, (int)b->prompt.n, err));
    out[0] = an_session_sample(b->session);
    uint64_t from = an_clock_ns();
    for (int i = 1; i < n; i++) {
        AN_TRY(an_session_eval(b->session, &out[i - 1], 1, err));
        out[i] = an_session_sample(b->session);
    }
    *tps = (n - 1) / seconds_since(from);
cleanup:
    return status;
}

static anemo_status decode_drafted(bench *b, const an_sampling *sampling, int32_t *out, int n, double *tps, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_spec_reset(b->spec);
    an_spec_sampler_set(b->spec, sampling);
    AN_TRY(an_spec_eval(b->spec, b->prompt.ids, (int)b->prompt.n, err));
    out[0] = an_session_sample(b->session);
    uint64_t from = an_clock_ns();
    for (int i = 1; i < n; i++) AN_TRY(an_spec_next(b->spec, out[i - 1], &out[i], err));
    *tps = (n - 1) / seconds_since(from);
cleanup:
    return status;
}

static anemo_status time_text(bench *b, const text_case *c, int n_pair, int n, anemo_error *err)
{
    static int32_t expected[GENERATE_MAX], got[GENERATE_MAX];
    static double plain[ROUNDS_MAX], drafted[ROUNDS_MAX], ratio[ROUNDS_MAX];
    anemo_status status = ANEMO_OK;
    an_sampling sampling = an_sampling_greedy();
    sampling.temperature = c->temperature;
    sampling.top_k = c->top_k;
    sampling.seed = 7;
    an_spec_stats stats = {0};
    int n_same = n;
    for (int i = 0; i < n_pair; i++) {
        if (i % 2) AN_TRY(decode_drafted(b, &sampling, got, n, &drafted[i], err));
        AN_TRY(decode_plain(b, &sampling, expected, n, &plain[i], err));
        if (i % 2 == 0) AN_TRY(decode_drafted(b, &sampling, got, n, &drafted[i], err));
        ratio[i] = drafted[i] / plain[i];
        stats = an_spec_stats_get(b->spec);
        int same = 0;
        while (same < n && got[same] == expected[same]) same++;
        if (same < n_same) n_same = same;
    }
    double middle = an_median_inplace(ratio, (size_t)n_pair);
    printf("%-9s plain %7.1f t/s  drafted %7.1f t/s  ratio %.3f (%.3f to %.3f, %d pairs)  %.2f tokens a pass, %llu of %llu kept, %s\n",
           c->name, an_median_inplace(plain, (size_t)n_pair), an_median_inplace(drafted, (size_t)n_pair), middle, ratio[0],
           ratio[n_pair - 1], n_pair, (double)stats.n_token / (double)stats.n_pass, (unsigned long long)stats.n_accepted,
           (unsigned long long)stats.n_drafted, n_same == n ? "the same ids" : "other ids");
    if (n_same < n && (!b->draft_model || c->temperature <= 0))
        status = an_fail(err, ANEMO_ERR_INTERNAL, "drafted and plain decoding part at id %d of %d", n_same, n);
cleanup:
    return status;
}

static anemo_status read_prompt(bench *b, const char *path, const char *text, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_tokenizer *t = NULL;
    const an_chat_message message = {.role = "user", .content = text};
    AN_TRY(an_tokenizer_open(&t, path, err));
    an_chat_format chat = an_tokenizer_chat_format(t);
    if (chat != AN_CHAT_NONE && chat != AN_CHAT_UNKNOWN)
        AN_TRY(an_tokenizer_chat(t, &message, 1, &b->prompt, err));
    else
        AN_TRY(an_tokenizer_encode(t, text, strlen(text), false, &b->prompt, err));
cleanup:
    an_tokenizer_close(t);
    return status;
}

static anemo_status run_text(bench *b, int argc, char **argv, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int n_pair = arg(argc, argv, 4, 7), n = arg(argc, argv, 5, 200);
    an_session_options o = {.n_thread = arg(argc, argv, 3, 0)};
    an_spec_options so = {0};
    char *text = NULL;
    size_t len;
    text_case own = {.name = argv[2]};
    const text_case *c = NULL;
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++)
        if (!strcmp(CASES[i].name, argv[2])) c = &CASES[i];
    if (!c) {
        AN_TRY(an_file_read(argv[2], PROMPT_FILE_MAX, &text, &len, err));
        own.prompt = text;
        c = &own;
    }
    if (n_pair < 1 || n_pair > ROUNDS_MAX || n < 2 || n > GENERATE_MAX) {
        status = an_fail(err, ANEMO_ERR_INVAL, "1 to %d pairs and 2 to %d ids", ROUNDS_MAX, GENERATE_MAX);
        goto cleanup;
    }
    AN_TRY(read_prompt(b, argv[1], c->prompt, err));
    o.n_ctx = (int)b->prompt.n + n;
    AN_TRY(an_session_open_model(&b->session, b->model, NULL, &o, err));
    if (argc > 6) AN_TRY(an_model_file_open(&b->draft_model, argv[6], err));
    so.draft = b->draft_model;
    AN_TRY(an_spec_open(&b->spec, b->session, &so, err));
    AN_TRY(time_text(b, c, n_pair, n, err));
cleanup:
    an_free(text);
    return status;
}

static anemo_status run_passes(bench *b, int argc, char **argv, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int n_round = arg(argc, argv, 4, 31), depth = arg(argc, argv, 5, 100);
    an_session_options o = {.n_thread = arg(argc, argv, 3, 0), .n_ctx = depth + 64};
    if (n_round < 1 || n_round > ROUNDS_MAX || depth < 0) {
        status = an_fail(err, ANEMO_ERR_INVAL, "1 to %d rounds and a depth from 0 on", ROUNDS_MAX);
        goto cleanup;
    }
    AN_TRY(an_session_open_model(&b->session, b->model, NULL, &o, err));
    AN_TRY(time_passes(b, n_round, depth, err));
cleanup:
    return status;
}

int main(int argc, char **argv)
{
    anemo_error err = {0};
    bench b = {0};
    if (argc < 3) {
        fprintf(stderr,
                "usage: %s MODEL passes [N_THREAD [N_ROUND [DEPTH]]]\n"
                "       %s MODEL CASE [N_THREAD [N_PAIR [N_GENERATE [DRAFT-MODEL]]]]\n",
                argv[0], argv[0]);
        return 2;
    }
    anemo_status status = an_model_file_open(&b.model, argv[1], &err);
    if (status == ANEMO_OK)
        status = strcmp(argv[2], "passes") == 0 ? run_passes(&b, argc, argv, &err) : run_text(&b, argc, argv, &err);
    close_bench(&b);
    if (status == ANEMO_OK) return 0;
    fprintf(stderr, "%s\n", err.message);
    return anemo_status_exit_code(status);
}
