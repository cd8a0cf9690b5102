/*
 * Two arms: paired by block, or two samples of different days. Estimate, interval, test and verdict. Knows nothing of
 * language models. Method: ../docs/statistics.md.
 */
#ifndef AN_STATS_COMPARE_H
#define AN_STATS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_verdict {
    AN_VERDICT_UNKNOWN,    /* fewer than two pairs */
    AN_VERDICT_LOWER,      /* the whole interval of a/b lies below 1 - margin */
    AN_VERDICT_HIGHER,     /* … above 1 + margin */
    AN_VERDICT_EQUIVALENT, /* the whole interval lies within 1 -+ margin */
    AN_VERDICT_UNDECIDED,  /* none of these, or too few pairs for an interval of the level that was asked for */
} an_verdict;

enum { AN_PAIRS_MAX = 1000, AN_PAIRS_NEEDED_MAX = 100000 };

typedef struct an_compare_options {
    double level;      /* confidence of the interval, 0.95; sequential plans give the widened one (an_look_level) */
    double margin;     /* 0.01: equivalence margin and noise floor of the verdict */
    int n_bootstrap;   /* 0 = no bootstrap interval; 10000 is usual and takes about 20 ms for 30 pairs */
    uint64_t seed;     /* of the bootstrap */
} an_compare_options;
an_compare_options an_compare_defaults(void); /* 0.95, 0.01, no bootstrap, seed 1 */

typedef struct an_paired {
    size_t n;                /* pairs with two positive finite values; unpaired: the smaller sample */
    double ratio;            /* exp of the Hodges-Lehmann median of ln(a/b) */
    double lo, hi;           /* its interval */
    double level;            /* the interval's own confidence: at least what was asked for, or all that n pairs give */
    double boot_lo, boot_hi; /* BCa bootstrap of the same estimate at the level asked for; NaN without */
    double p;                /* Wilcoxon signed-rank (unpaired: Mann-Whitney), two-sided, of ln(a/b) = 0 */
    double p_adjusted;       /* = p until an_compare_correct() */
    double mde;              /* smallest true difference that n pairs of this spread call in 8 of 10 cases: 0.03 = 3 %;
                                NaN for n < 6 */
    size_t n_needed;         /* pairs after which the interval would leave or enter the margin at this spread and ratio,
                                at most AN_PAIRS_NEEDED_MAX; 0 = none needed, the verdict stands */
    double slope;            /* of the covariate: d ln(value) / d ln(covariate); NaN where it was not used */
    bool covariate;          /* the pair's bandwidth samples were used */
    an_verdict verdict;
} an_paired;

/*
 * a[i] and b[i] were measured in the same block, i < n <= AN_PAIRS_MAX. cov_a, cov_b: covariate of each measurement
 * (memory bandwidth around it), or NULL; its slope is estimated and used only where it narrows the interval. Pairs with
 * a value that is not positive and finite are left out; the covariate is not used where it is unknown for a pair. o may
 * be NULL: the defaults.
 */
an_paired an_compare_paired(const double *a, const double *b, const double *cov_a, const double *cov_b, size_t n,
                            const an_compare_options *o);

/*
 * Rows of different runs, not paired, n_a and n_b at most AN_PAIRS_MAX: the Hodges-Lehmann median of all ln(a_i/b_j),
 * its interval by inverting Mann-Whitney's U, bootstrap of both samples. Three against three never reach 0.95 (0.90),
 * four against four do.
 */
an_paired an_compare_unpaired(const double *a, size_t n_a, const double *b, size_t n_b, const an_compare_options *o);

/* Holm's adjusted p values of n <= AN_PAIRS_MAX comparisons, in the order given. A NaN stays NaN and does not count. */
void an_holm(const double *p, size_t n, double *adjusted);

/*
 * Verdicts that are given together: sets p_adjusted by Holm's rule; LOWER and HIGHER whose p_adjusted is above 1 -
 * level become UNDECIDED. n <= AN_PAIRS_MAX.
 */
void an_compare_correct(an_paired *pairs, size_t n);

const char *an_verdict_name(an_verdict v); /* "unknown", "lower", "higher", "equivalent", "undecided" */

#endif
