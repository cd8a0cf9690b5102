"""Ratios of pairs: the Hodges-Lehmann estimate on logarithms, with the interval of the signed ranks."""
import functools
import math
import statistics


@functools.lru_cache(maxsize=None)
def _rank_counts(n):
    """Of the 2^n ways to sign the ranks 1..n, how many have each sum of positive ranks."""
    counts = [1]
    for rank in range(1, n + 1):
        wider = counts + [0] * rank
        for total, ways in enumerate(counts):
            wider[total + rank] += ways
        counts = wider
    return counts


def cut(n, level=0.95):
    """
    How many Walsh averages may be cut off at either end so that what is left still has `level` confidence, and the
    confidence that it then has. Too few pairs for the level cut nothing off, and the confidence says so.
    """
    counts = _rank_counts(n)
    ways, k, tail = 2 ** n, 0, 0
    while 2 * (tail + counts[k]) <= (1 - level) * ways:
        tail += counts[k]
        k += 1
    # k averages lie below the lower end when k is 0 already: the interval is open to those below the smallest.
    return max(k - 1, 0), 1 - 2 * (tail if k else 1) / ways


def ratio(values):
    """{ratio, lo, hi, level, n} of paired ratios (> 0); None without any."""
    logs = [math.log(v) for v in values if v and v > 0]
    n = len(logs)
    if n == 0:
        return None
    walsh = sorted((logs[i] + logs[j]) / 2 for i in range(n) for j in range(i, n))
    k, level = cut(n)
    return {"ratio": math.exp(statistics.median(walsh)), "lo": math.exp(walsh[k]), "hi": math.exp(walsh[-1 - k]),
            "level": level if n > 1 else 0.0, "n": n}


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None
