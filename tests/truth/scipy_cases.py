#!/usr/bin/env python3
"""Writes scipy_cases.txt: 1,000 random data sets and what SciPy makes of them, for test_scipy.c.

    python3 tests/truth/scipy_cases.py > tests/truth/scipy_cases.txt        (SciPy 1.17.1; a minute)

Every data set is one line: kind, counts, whole numbers (thousandths of a value), then the expected figures. What has no
public function in SciPy is computed here in the plainest way: all pairs listed and sorted, distributions counted with
whole numbers.
"""
import math
import sys
from fractions import Fraction

import numpy as np
import scipy
from scipy import stats

SEED = 20261125
EXACT_PAIRS, EXACT_BOTH = 50, 40  # up to here ranks are counted, beyond it is the normal distribution
RESAMPLES = 5000
rng = np.random.default_rng(SEED)


def number(x):
    return "nan" if math.isnan(x) else "%.12g" % x


def line(kind, counts, data, figures):
    print(kind, *counts, *(int(x) for x in data), *(number(x) for x in figures))


def noise(n):
    """Whole numbers of one of several shapes: normal, heavy tails, few different values, two humps, steps."""
    shape = rng.integers(5)
    scale = 10 ** rng.uniform(0.7, 2.2)
    if shape == 0:
        x = rng.normal(0, scale, n)
    elif shape == 1:
        x = np.clip(rng.standard_cauchy(n) * scale, -3000, 3000)
    elif shape == 2:
        x = rng.integers(-3, 4, n) * max(1, int(scale / 3))
    elif shape == 3:
        x = rng.normal(0, scale, n) + rng.choice([-4 * scale, 4 * scale], n)
    else:
        x = rng.normal(0, scale, n) + (np.arange(n) >= n // 2) * 2 * scale
    return np.round(x).astype(int)


# ---- paired


def subset_counts(ranks):
    """How many subsets of ranks have each sum."""
    count = [1] + [0] * sum(ranks)
    for r in ranks:
        for s in range(len(count) - 1, r - 1, -1):
            count[s] += count[s - r]
    return count


def signed_rank_p(x):
    kept = x[x != 0]
    n = len(kept)
    if n == 0:
        return 1.0
    ties = len(set(np.abs(kept))) < n
    if n > EXACT_PAIRS:
        return stats.wilcoxon(x, zero_method="wilcox", correction=False, method="asymptotic").pvalue
    if not ties:
        return stats.wilcoxon(kept, method="exact").pvalue
    if n <= 10:
        return stats.wilcoxon(kept, method=stats.PermutationMethod(n_resamples=2**n)).pvalue
    ranks = np.rint(2 * stats.rankdata(np.abs(kept))).astype(int)
    w = min(ranks[kept > 0].sum(), ranks[kept < 0].sum())
    return min(1.0, float(Fraction(2 * sum(subset_counts(list(ranks))[: w + 1]), 2**n)))


def critical(counts, total, alpha):
    """Largest w with 2 P(W <= w) <= alpha, and P(W <= max(w, 0))."""
    below, w = 0, -1
    for s, c in enumerate(counts):
        if Fraction(2 * (below + c), total) > Fraction(alpha).limit_denominator(10**9):
            break
        below += c
        w = s
    return w, float(Fraction(below if w >= 0 else counts[0], total))


def normal_critical(mean, sd, alpha):
    w = max(-1, math.floor(mean - 0.5 + sd * stats.norm.ppf(alpha / 2)))
    return w, stats.norm.cdf((max(w, 0) + 0.5 - mean) / sd)


def interval(pairs, w, tail):
    pairs = np.sort(pairs)
    w = max(w, 0)
    return [np.median(pairs), pairs[w], pairs[len(pairs) - 1 - w], 1 - 2 * tail]


def walsh(x):
    i, j = np.triu_indices(len(x))
    return (x[i] + x[j]) / 2


def paired(n, alpha):
    x = noise(n)
    if rng.random() < 0.3:
        x[rng.integers(0, n, max(1, n // 5))] = 0
    if n > EXACT_PAIRS:
        w, tail = normal_critical(n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24), alpha)
    else:
        w, tail = critical(subset_counts(list(range(1, n + 1))), 2**n, alpha)
    line("paired", [n], list(x), [1 - alpha] + interval(walsh(x / 1000), w, tail) + [signed_rank_p(x)])


# ---- two samples


def chosen_counts(ranks, k):
    """How many ways to choose k of the ranks give each sum."""
    count = [dict() for _ in range(k + 1)]
    count[0][0] = 1
    for r in ranks:
        for j in range(k, 0, -1):
            for s, c in count[j - 1].items():
                count[j][s + r] = count[j].get(s + r, 0) + c
    return count[k]


def rank_sum_p(x, y):
    n = len(x) + len(y)
    if n > EXACT_BOTH:
        return stats.mannwhitneyu(x, y, method="asymptotic").pvalue if len(set(x) | set(y)) > 1 else 1.0
    if len(set(x) | set(y)) == n:
        return stats.mannwhitneyu(x, y, method="exact").pvalue
    if math.comb(n, len(x)) <= 5000:
        return stats.mannwhitneyu(x, y, method=stats.PermutationMethod(n_resamples=5000)).pvalue
    ranks = np.rint(2 * stats.rankdata(np.concatenate([x, y]))).astype(int)
    counts = chosen_counts([int(r) for r in ranks], len(x))
    got = ranks[: len(x)].sum()
    low = sum(c for s, c in counts.items() if s <= got)
    high = sum(c for s, c in counts.items() if s >= got)
    return min(1.0, 2 * min(low, high) / sum(counts.values()))


def unpaired(n_x, n_y, alpha):
    x, y = noise(n_x), noise(n_y)
    x += int(rng.normal(0, 30))
    if n_x + n_y > EXACT_BOTH:
        m = n_x * n_y
        w, tail = normal_critical(m / 2, math.sqrt(m * (n_x + n_y + 1) / 12), alpha)
    else:
        counts = chosen_counts(range(1, n_x + n_y + 1), n_x)
        least = n_x * (n_x + 1) // 2
        w, tail = critical([counts.get(least + u, 0) for u in range(n_x * n_y + 1)], math.comb(n_x + n_y, n_x), alpha)
    pairs = np.subtract.outer(x, y).ravel() / 1000
    line("unpaired", [n_x, n_y], list(x) + list(y), [1 - alpha] + interval(pairs, w, tail) + [rank_sum_p(x, y)])


# ---- one sample


def order_interval(x, q):
    """Order statistics that miss the quantile by at most 2.5 % on either side, else the extremes."""
    x = np.sort(x)
    n = len(x)
    low = max([i for i in range(1, n + 1) if stats.binom.cdf(i - 1, n, q) <= 0.025], default=1)
    high = min([i for i in range(1, n + 1) if stats.binom.sf(i - 1, n, q) <= 0.025], default=n)
    level = stats.binom.cdf(high - 1, n, q) - stats.binom.cdf(low - 1, n, q)
    return [np.quantile(x, q), x[low - 1], x[high - 1], level]


def outliers(x):
    q1, q3 = np.quantile(x, [0.25, 0.75])
    r = q3 - q1
    severe_low, severe_high = x < q1 - 3 * r, x > q3 + 3 * r
    mad = stats.median_abs_deviation(x)
    z = 0.6745 * np.max(np.abs(x - np.median(x))) / mad if mad > 0 else math.nan
    return [severe_low.sum(), (x < q1 - 1.5 * r).sum() - severe_low.sum(), (x > q3 + 1.5 * r).sum() - severe_high.sum(),
            severe_high.sum(), z]


def sample(n):
    x = noise(n) + 5000
    v = x / 1000
    figures = [np.median(v), v.mean(), v.std(ddof=1), stats.median_abs_deviation(v)]
    figures += order_interval(v, 0.5)[1:] if n >= 6 else [v.min(), v.max(), 1 - 2 * stats.binom.cdf(0, n, 0.5)]
    for q in (0.5, 0.9, 0.95, 0.99):
        figures += order_interval(v, q) if n >= round(1 / (1 - q)) else [math.nan] * 4
    figures += outliers(x)  # of whole numbers, so that a value on a fence is on it for everybody
    fit = stats.linregress(np.arange(n), v)
    figures += [fit.slope, fit.pvalue]
    line("sample", [n], list(x), figures)


def holm(m):
    p = np.round(rng.uniform(0, 1, m) ** rng.integers(1, 6) * 1000)
    order = np.argsort(p, kind="stable")
    adjusted = np.zeros(m)
    worst = 0
    for k, i in enumerate(order):
        worst = max(worst, min(1, (m - k) * p[i] / 1000))
        adjusted[i] = worst
    line("holm", [m], list(p), list(adjusted))


# ---- bootstrap: the ends of SciPy's intervals, and how far chance may take another run's from them


def centre_of_rows(x, axis=-1):
    i, j = np.triu_indices(x.shape[-1])
    return np.median((x[..., i] + x[..., j]) / 2, axis=axis)


def shift_of_rows(x, y, axis=-1):
    pairs = x[..., :, None] - y[..., None, :]
    return np.median(pairs.reshape(*pairs.shape[:-2], -1), axis=axis)


def bootstrap(counts):
    samples = [np.round(rng.normal(0, 30, n) + (rng.random(n) < 0.1) * 150).astype(int) for n in counts]
    ends, pool = [[], []], []
    for seed in range(6):  # of whole numbers, so that equal medians are equal
        got = stats.bootstrap([1.0 * s for s in samples], centre_of_rows if len(counts) == 1 else shift_of_rows,
                              n_resamples=RESAMPLES, confidence_level=0.95, method="BCa",
                              rng=np.random.default_rng(seed), batch=500)
        pool.extend(got.bootstrap_distribution)
        ends[0].append(got.confidence_interval.low)
        ends[1].append(got.confidence_interval.high)
    figures = []
    for end in ends:
        # Four standard errors of the share of resamples below the end, and of the bias that is estimated from them.
        at = np.mean(pool < np.mean(end))
        bias = stats.norm.pdf(stats.norm.ppf(at)) / stats.norm.pdf(0)
        error = 4 * math.hypot(math.sqrt(at * (1 - at)), bias) / math.sqrt(RESAMPLES)
        below, above = np.quantile(pool, np.clip([at - error, at + error], 0, 1))
        figures += [np.mean(end) / 1000, max(np.mean(end) - below, above - np.mean(end)) / 1000]
    line("bootstrap" if len(counts) == 1 else "bootstrap2", counts, np.concatenate(samples), figures)


def main():
    print("# Made by tests/truth/scipy_cases.py with SciPy %s, NumPy %s, seed %d"
          % (scipy.__version__, np.__version__, SEED))
    levels = [0.05, 0.03125, 0.01, 0.0078125, 0.1]
    for i in range(400):
        low, high = (51, 90) if i % 20 == 0 else (31, 51) if i % 5 == 0 else (2, 31)
        paired(int(rng.integers(low, high)), levels[i % 5])
    for i in range(250):
        top = 45 if i % 10 == 0 else 13
        unpaired(int(rng.integers(2, top)), int(rng.integers(2, top)), levels[i % 5])
    for i in range(250):
        sample(int(rng.integers(100, 160)) if i % 10 == 0 else int(rng.integers(4, 60)))
    for i in range(60):
        holm(int(rng.integers(1, 15)))
    for i in range(40):
        bootstrap([int(rng.integers(10, 31))] if i < 30 else [int(rng.integers(7, 16)), int(rng.integers(7, 16))])


if __name__ == "__main__":
    sys.exit(main())
