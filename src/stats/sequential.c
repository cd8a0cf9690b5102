/* Blocks, looks and when to stop. */
#include "stats/sequential.h"

#include <math.h>

enum { LOOK_N = 5 };

static const int look_blocks[LOOK_N] = {6, 9, 14, 20, 30};

bool an_look_due(int n_block, int max_blocks)
{
    for (int i = 0; i < LOOK_N; i++)
        if (n_block == look_blocks[i]) return true;
    return n_block == max_blocks;
}

int an_look_count(int n_block)
{
    int n = 0;
    while (n < LOOK_N && look_blocks[n] <= n_block) n++;
    if (n_block > look_blocks[LOOK_N - 1]) n++;
    return n > 1 ? n : 1;
}

/*
 * How the error of 5 % is shared out. Six pairs can give 1/32 and no less (min..max), so the first look takes that; the
 * others share what is left. Intervals of one plan that miss hang together, so that any of them misses in 5 % (counted
 * in tests/truth) though the shares of five looks add up to 6.3 %, which is the worst that any drift and any reason to
 * stop can make of it. They are spelt so that the discrete distribution of signed ranks meets them: the second is
 * 4/512, which nine pairs have.
 */
double an_look_level(int n_look, double level)
{
    static const double share[LOOK_N + 1] = {0.03125, 0.0078125, 0.007, 0.008, 0.009, 0.003};
    if (n_look < 1) return level;
    return 1 - (1 - level) / 0.05 * share[n_look <= LOOK_N ? n_look - 1 : LOOK_N];
}

void an_block_order(an_rng *rng, size_t n, size_t *order)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = (size_t)an_rng_below(rng, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
}

/* Half of the interval, relative to the ratio. */
static double half_width(const an_paired *p)
{
    return p->n < 2 || p->level < 0.9 ? INFINITY : 0.5 * (log(p->hi) - log(p->lo));
}

static bool known(const an_paired *p, const an_stop_rule *rule)
{
    bool called = p->verdict == AN_VERDICT_LOWER || p->verdict == AN_VERDICT_HIGHER;
    double half = half_width(p);
    return half <= log1p(rule->precision) || (called && half <= 0.1 * fabs(log(p->ratio)));
}

an_stop an_sequential_look(const double *const *values, const double *const *cov, size_t n_cell, int n_block,
                           const an_stop_rule *rule)
{
    double ones[AN_PAIRS_MAX];
    const double *first = NULL, *first_cov = NULL;
    an_compare_options o = an_compare_defaults();
    size_t n = (size_t)n_block, n_pair = 0;
    bool all_known = true;
    if (n_block >= rule->max_blocks) return AN_STOP_BLOCKS;
    if (n_block < 1 || !an_look_due(n_block, rule->max_blocks)) return AN_STOP_GO_ON;
    o.level = an_look_level(an_look_count(n_block), rule->level);
    o.margin = rule->margin;
    for (size_t i = 0; i < n_cell; i++) {
        if (!(values[i][n - 1] > 0)) continue;
        const double *own_cov = cov ? cov[i] : NULL;
        if (!first) {
            first = values[i];
            first_cov = own_cov;
            continue;
        }
        an_paired p = an_compare_paired(first, values[i], first_cov, own_cov, n, &o);
        all_known = all_known && known(&p, rule);
        n_pair++;
    }
    if (first && n_pair == 0) {
        for (size_t i = 0; i < AN_PAIRS_MAX; i++) ones[i] = 1;
        an_paired p = an_compare_paired(first, ones, NULL, NULL, n < AN_PAIRS_MAX ? n : AN_PAIRS_MAX, &o);
        all_known = half_width(&p) <= log1p(rule->precision);
    }
    return all_known ? AN_STOP_PRECISE : AN_STOP_GO_ON;
}

/* Marginal standard error rule: the cut after which the mean of the rest is known best. */
size_t an_steady_from(const double *values, size_t n)
{
    double best = INFINITY, mean = 0, squares = 0;
    size_t cut = 0;
    if (n < 4) return 0;
    /* From the end, so that mean and squares of each tail come by one update (Welford). */
    for (size_t i = n; i-- > 0;) {
        double m = (double)(n - i), delta = values[i] - mean;
        mean += delta / m;
        squares += delta * (values[i] - mean);
        if (i <= n / 2 && squares / (m * m) <= best) {
            best = squares / (m * m);
            cut = i;
        }
    }
    return cut;
}
