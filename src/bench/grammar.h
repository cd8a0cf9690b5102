/*
 * The value grammar of llama-bench's flags: lists with commas, ranges "first-last", "first-last+step" and "first-last*factor",
 * pairs, CPU masks. Text from the command line or a plan file; nothing of it is trusted.
 */
#ifndef AN_BENCH_GRAMMAR_H
#define AN_BENCH_GRAMMAR_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { AN_GRAMMAR_VALUES_MAX = 10000, AN_CPU_MASK_BYTES = 128 };

/* Zero-initialise; an_ints_free. */
typedef struct an_ints {
    int *v; /* [n] */
    size_t n;
} an_ints;
void an_ints_free(an_ints *list);
ANEMO_MUST_CHECK anemo_status an_ints_push(an_ints *list, int value, anemo_error *err);

/*
 * Append what `text` says: "16", "1,2,8", "1-4" (1 2 3 4), "128-512+128", "1-64*2", and lists of these. A range's last value is included
 * when a step meets it. Each lies within [min, max]; a range begins with a number that is not negative. ERR_INVAL names `option`, what is
 * wrong with which part, and the grammar.
 */
ANEMO_MUST_CHECK anemo_status an_grammar_ints(const char *option, const char *text, int min, int max, an_ints *list,
                                              anemo_error *err);

/* "PP,TG": two numbers within [0, max], not both 0. */
ANEMO_MUST_CHECK anemo_status an_grammar_pair(const char *option, const char *text, int max, int pair[2],
                                              anemo_error *err);

/* "0x3": CPU i is bit i. Fills mask; *n_cpu counts its CPUs, 0 = all may be used. */
ANEMO_MUST_CHECK anemo_status an_grammar_cpu_mask(const char *option, const char *text, uint8_t mask[AN_CPU_MASK_BYTES],
                                                  int *n_cpu, anemo_error *err);

#endif
