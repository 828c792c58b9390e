"""Statistics of ranks: how probable it is that one run is better than another, and Spearman's correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from disentangle_bench.report.statistics import FEWEST, TAIL, Array

EXACT_RUNS = 50  # of both sides together; the rank test is exact up to here, and approximated above


def improvements(pairs: Sequence[tuple[Sequence[float] | Array, Sequence[float] | Array]]) -> Array:
    """For each pair of samples, how probable it is that a run of the first scores above one of the second; [pairs, 4].

    The columns are value, low, high and p-value; a tie counts one half. NaN where a side has no run. The value is the
    Mann-Whitney U over the number of pairs of runs, from ranks. The 95 % interval is Newcombe's fifth method (2006,
    Statistics in Medicine 25, 559) with Student's t of n_a + n_b - 2 degrees of freedom for the normal deviate, which
    small samples need; none below 3 runs a side. The p-value is two-sided, of the exact permutation distribution of
    the ranks as they are, ties and all; above 50 runs it is the normal approximation with its correction for ties.
    """
    found = np.full((len(pairs), 4), np.nan)
    for i, pair in enumerate(pairs):
        a, b = (side[~np.isnan(side)] for side in (np.asarray(each, dtype=float) for each in pair))
        if len(a) and len(b):
            found[i] = _improvement(a, b)
    return found


def _improvement(a: Array, b: Array) -> tuple[float, float, float, float]:
    # Twice the rank is a whole number, ties or not.
    _, place, times = np.unique(np.concatenate([a, b]), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(times) - times + 1)[place.reshape(-1)]
    total = int(doubled[: len(a)].sum())
    value = (total / 2 - len(a) * (len(a) + 1) / 2) / (len(a) * len(b))
    if len(doubled) <= EXACT_RUNS:
        p_value = _exact_p(total, len(a), tuple(sorted(doubled.tolist())))
    else:
        p_value = _approximate_p(value, len(a), len(b), times)
    return value, *_improvement_ends(value, len(a), len(b)), p_value


def _exact_p(total: int, size: int, doubled: tuple[int, ...]) -> float:
    """Two-sided: twice the smaller tail of the sum of `size` of the doubled ranks, each choice being as likely."""
    chances = _sum_chances(size, doubled)
    return float(min(1.0, 2 * min(chances[: total + 1].sum(), chances[total:].sum())))


@lru_cache(maxsize=64)
def _sum_chances(size: int, doubled: tuple[int, ...]) -> Array:
    """How probable each sum of `size` of these whole numbers is, by the sum."""
    most = sum(doubled[-size:])
    ways = np.zeros((size + 1, most + 1))
    ways[0, 0] = 1
    for each in doubled:
        # From the largest choice down, so that no number is taken twice.
        for taken in range(size, 0, -1):
            ways[taken, each:] += ways[taken - 1, : most + 1 - each]
    chances: Array = ways[size] / ways[size].sum()
    return chances


def _approximate_p(value: float, first: int, second: int, times: NDArray[Any]) -> float:
    """Two-sided, of the normal distribution with continuity correction; `times` is how often each value occurs."""
    runs = first + second
    ties = float((times.astype(float) ** 3 - times).sum())
    variance = first * second / 12 * (runs + 1 - ties / (runs * (runs - 1)))
    if variance == 0:
        return 1.0
    away = max(abs(value - 0.5) * first * second - 0.5, 0.0)
    return float(min(1.0, 2 * ndtr(-away / math.sqrt(variance))))


def _improvement_ends(value: float, first: int, second: int) -> tuple[float, float]:
    """Both ends of Newcombe's interval: the probabilities that lie just so many standard errors from `value`."""
    if min(first, second) < FEWEST:
        return math.nan, math.nan
    deviate = -float(stdtrit(first + second - 2, TAIL))
    more = (first + second) / 2 - 1

    def far(x: float) -> bool:
        shape = 1 + more * ((1 - x) / (2 - x) + x / (1 + x))
        return abs(value - x) > deviate * math.sqrt(x * (1 - x) * shape / (first * second))

    ends = []
    for outer in (0.0, 1.0):
        # Between an end that is too far and the value, which is not: halve.
        inner = value
        for _ in range(50):
            middle = (outer + inner) / 2
            outer, inner = (middle, inner) if far(middle) else (outer, middle)
        ends.append(inner)
    return ends[0], ends[1]


def rank_correlation(values: Array) -> Array:
    """Spearman's rank correlation of every two columns of `values` [runs, columns], ties by average rank.

    A pair of columns is judged by the runs that have both; NaN where these are fewer than 3 or one is constant.
    """
    columns = values.shape[1]
    table = np.full((columns, columns), np.nan)
    for i in range(columns):
        for j in range(i, columns):
            both = ~np.isnan(values[:, i]) & ~np.isnan(values[:, j])
            pair = values[both][:, [i, j]]
            if len(pair) >= 3 and (np.ptp(pair, axis=0) > 0).all():
                table[i, j] = table[j, i] = np.corrcoef(pd.DataFrame(pair).rank().to_numpy().T)[0, 1]
    return np.clip(table, -1, 1)
