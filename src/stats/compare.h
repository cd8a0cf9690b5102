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
    AN_VERDICT_UNDECIDED,
} an_verdict;

enum { AN_PAIRS_MAX = 1000 };

typedef struct an_compare_options {
    double level;      /* confidence of the interval, 0.95; sequential plans give the widened one */
    double margin;     /* 0.01: equivalence margin and noise floor of the verdict */
    int n_bootstrap;   /* 10000; 0 = no bootstrap interval */
    uint64_t seed;     /* of the bootstrap */
    int n_comparisons; /* verdicts that are given together, for Holm's correction; 1 = this one alone */
} an_compare_options;
an_compare_options an_compare_defaults(void);

typedef struct an_paired {
    size_t n;             /* pairs with two positive finite values */
    double ratio;         /* exp of the Hodges-Lehmann median of ln(a/b) */
    double lo, hi, level; /* its interval and the interval's confidence, at least what was asked for where n allows it */
    double boot_lo, boot_hi; /* BCa bootstrap of the same estimate; NaN without */
    double p;             /* exact Wilcoxon signed-rank, two-sided, of ln(a/b) = 0 */
    double p_adjusted;    /* Holm's; = p for one comparison */
    double mde;           /* smallest true difference that n pairs of this spread call in 8 of 10 cases: 0.03 = 3 % */
    size_t n_needed;      /* pairs after which the interval would leave or enter the margin at this spread; 0 = none needed */
    bool covariate;       /* the pair's bandwidth samples were used */
    an_verdict verdict;
} an_paired;

/*
 * a[i] and b[i] were measured in the same block, i < n <= AN_PAIRS_MAX. cov_a, cov_b: covariate of each measurement (memory
 * bandwidth around it), or NULL; its slope is estimated and used only where it narrows the interval. Pairs with a value that is not
 * positive and finite are left out. o may be NULL: the defaults.
 */
an_paired an_compare_paired(const double *a, const double *b, const double *cov_a, const double *cov_b, size_t n,
                            const an_compare_options *o);

/* Rows of different runs, not paired: ratio of medians, bootstrap interval, Mann-Whitney U (exact where small). */
an_paired an_compare_unpaired(const double *a, size_t n_a, const double *b, size_t n_b, const an_compare_options *o);

/* Holm: adjusted p values of n comparisons, in place of none of the given order. */
void an_holm(const double *p, size_t n, double *adjusted);

/* The adjusted verdicts of several comparisons made together: sets p_adjusted; a verdict whose p_adjusted is above 1 - level
 * becomes UNDECIDED. */
void an_compare_correct(an_paired *pairs, size_t n);

const char *an_verdict_name(an_verdict v); /* "unknown", "lower", "higher", "equivalent", "undecided" */

#endif
