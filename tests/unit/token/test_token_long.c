/*
 * token: a megabyte of one thing costs under a second of CPU time and no deep stack, through every tokenizer.
 * Without arguments: small vocabularies made here. With arguments: the files named, when they are there.
 */
#include "support/gguf_build.h"
#include "support/test.h"
#include "token_build.h"

#include "base/rng.h"
#include "os/file.h"
#include "token/internal.h"
#include "token/tokenizer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define TEXT_BYTES ((size_t)1 << 20)
#define STACK_BYTES ((size_t)256 << 10)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define SLOWER 20 /* such builds need more of both; the bound on time is checked in the others */
#else
#define SLOWER 1
#endif

static char **files;
static int n_files;

/* Repeats of a unit, or random bytes or letters. */
typedef struct input {
    const char *name, *unit;
} input;

static const input inputs[] = {
    {"letter", "a"}, {"capital", "A"}, {"spaces", " "}, {"newlines", "\n"}, {"digits", "1"}, {"signs", "<"},
    {"combining marks", "\xcc\x81"}, {"emoji", "\xf0\x9f\xa6\x99"}, {"ideographs", "\xe6\x97\xa5"},
    {"words", "The quick brown fox. "}, {"random bytes", NULL}, {"random letters", NULL},
};

static void fill(char *text, const input *in)
{
    an_rng rng;
    an_rng_seed(&rng, 7);
    size_t unit = in->unit ? strlen(in->unit) : 0;
    for (size_t i = 0; i < TEXT_BYTES; i++)
        text[i] = in->unit                      ? in->unit[i % unit]
                  : !strcmp(in->name, "random bytes") ? (char)an_rng_below(&rng, 256)
                                                      : (char)('a' + an_rng_below(&rng, 26));
}

typedef struct job {
    const an_tokenizer *t;
    const char *text;
    an_ids ids;
    anemo_status status;
    double cpu_s;
} job;

static double thread_cpu_s(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void *work(void *arg)
{
    job *j = arg;
    double begin = thread_cpu_s();
    j->status = an_tokenizer_encode(j->t, j->text, TEXT_BYTES, false, &j->ids, NULL);
    j->cpu_s = thread_cpu_s() - begin;
    return NULL;
}

/* `whole`: the vocabulary spells every byte, so that the text must come back. */
static void run_all(const an_tokenizer *t, const char *name, bool whole)
{
    char *text = malloc(TEXT_BYTES);
    assert_non_null(text);
    for (size_t i = 0; i < AN_COUNT_OF(inputs); i++) {
        pthread_t thread;
        pthread_attr_t attr;
        job j = {.t = t, .text = text};
        fill(text, &inputs[i]);
        assert_int_equal(pthread_attr_init(&attr), 0);
        assert_int_equal(pthread_attr_setstacksize(&attr, STACK_BYTES * SLOWER), 0);
        assert_int_equal(pthread_create(&thread, &attr, work, &j), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        pthread_attr_destroy(&attr);
        assert_int_equal(j.status, ANEMO_OK);
        if (SLOWER == 1 && j.cpu_s > 1.0) fail_msg("%s, %s: %.2f s", name, inputs[i].name, j.cpu_s);
        an_str back = {0};
        an_tokenizer_decode(t, j.ids.ids, j.ids.n, false, false, &back);
        if (whole && (back.len != TEXT_BYTES || memcmp(back.data, text, TEXT_BYTES) != 0))
            fail_msg("%s, %s: the text does not come back", name, inputs[i].name);
        an_str_free(&back);
        an_ids_free(&j.ids);
    }
    free(text);
}

static bool spells_every_byte(const an_tokenizer *t)
{
    bool all = true;
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        an_ids ids = {0};
        an_str back = {0};
        assert_int_equal(an_tokenizer_encode(t, &c, 1, false, &ids, NULL), ANEMO_OK);
        an_tokenizer_decode(t, ids.ids, ids.n, false, false, &back);
        all = all && back.len == 1 && back.data[0] == c;
        an_str_free(&back);
        an_ids_free(&ids);
    }
    return all;
}

static void made_here(void **state)
{
    (void)state;
    anemo_error err;
    an_tokenizer *t;
    an_str file = {0}, run = {0};
    /* Runs of letters and spaces of 2, 4, 8, … so that merging has many levels; U+2581 is SentencePiece's space. */
    char *tekken[16], *spm[17];
    for (size_t i = 0; i < 8; i++)
        for (size_t kind = 0; kind < 3; kind++) {
            static const char *const units[] = {"a", " ", "\xe2\x96\x81"};
            an_str_clear(&run);
            for (size_t k = 0; k < (size_t)2 << i; k++) an_str_append(&run, units[kind]);
            if (kind < 2) tekken[2 * i + kind] = strdup(run.data);
            if (kind != 1) spm[2 * i + kind / 2] = strdup(run.data);
        }
    spm[16] = strdup("\xe2\x96\x81");
    tekken_small(&file, (const char *const *)tekken, 16, "");
    assert_ok(an_load_json(&t, file.data, file.len, "tekken.json", &err), &err);
    run_all(t, "small tekken", true);
    an_tokenizer_close(t);
    an_str_clear(&file);
    spm_small(&file, (const char *const *)spm, 17);
    assert_ok(an_load_spm(&t, file.data, file.len, "x.model", &err), &err);
    run_all(t, "small SentencePiece", true);
    an_tokenizer_close(t);
    for (size_t i = 0; i < 17; i++) {
        if (i < 16) free(tekken[i]);
        free(spm[i]);
    }
    an_str_free(&file);
    an_str_free(&run);
}

static void from_files(void **state)
{
    (void)state;
    anemo_error err;
    for (int i = 0; i < n_files; i++) {
        an_tokenizer *t;
        assert_ok(an_tokenizer_open(&t, files[i], &err), &err);
        run_all(t, files[i], spells_every_byte(t));
        an_tokenizer_close(t);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest small[] = {cmocka_unit_test(made_here)};
    const struct CMUnitTest real[] = {cmocka_unit_test(from_files)};
    files = argv + 1;
    n_files = argc - 1;
    return argc > 1 ? cmocka_run_group_tests(real, NULL, NULL) : cmocka_run_group_tests(small, NULL, NULL);
}
