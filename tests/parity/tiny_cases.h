/* The cases of tests/golden/tiny/manifest.json. */
#ifndef AN_TESTS_PARITY_TINY_CASES_H
#define AN_TESTS_PARITY_TINY_CASES_H

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tiny_case {
    const char *name;  /* borrowed from the manifest */
    const char *group; /* "arch", "gguf-type", "mlx", "file" */
    char model[512];   /* path */
    int n_tok, n_vocab;
    int32_t *ids;            /* [n_tok] */
    float *logits;           /* [n_tok, n_vocab]: one prefill */
    float *decode_logits;    /* the same one id at a time; = logits unless the case keeps its own */
    int n_prefill_is_decode; /* so many leading ids must give the same in both ways */
    double tolerance;        /* of the largest absolute reference logit */
} tiny_case;

typedef struct tiny_cases {
    json_t *manifest;
    tiny_case *cases;
    size_t n;
} tiny_cases;

/* Everything is read and checked here; tiny_cases_close afterwards, on success alone. */
ANEMO_MUST_CHECK anemo_status tiny_cases_open(tiny_cases *out, const char *folder, anemo_error *err);
void tiny_cases_close(tiny_cases *cases);

/* Largest |got - want| over n values as a share of the largest |want|; infinite when a value is not finite. */
double tiny_error(const float *got, const float *want, size_t n);

#endif
