"""The statistics of the tables: pure functions of arrays, without files and without tables.

Every bootstrap draws from a seed of its own, so that the same numbers give the same intervals at every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 5000
PAIR_RESAMPLES = 2000
COLUMNS_AT_ONCE = 512  # columns bootstrapped together: 20 MB of resampled statistics


@dataclass(frozen=True)
class Spread:
    """A statistic of each column, and the ends of its 95 % bootstrap interval; each an array [columns]."""

    value: Array
    low: Array
    high: Array


def spreads(values: Array) -> dict[str, Spread]:
    """Mean, median and interquartile mean of each column of `values` [runs, columns], with 95 % intervals.

    NaN stands for a run without the number, and is left out. The intervals are the 2.5 and 97.5 % quantiles of the
    statistic over 5,000 resamples of the runs with replacement (Efron 1979), NaN below 2 runs. The interquartile mean
    drops the lowest and the highest quarter of the runs, rounded down (Agarwal et al. 2021, arXiv:2108.13264).
    """
    columns = values.shape[1]
    found = {name: np.full((3, columns), np.nan) for name in ("mean", "median", "iqm")}
    ordered = np.sort(values, axis=0)  # NaN goes last
    counts = (~np.isnan(values)).sum(axis=0)
    for runs in np.unique(counts[counts > 0]):
        chosen = np.flatnonzero(counts == runs)
        weights = _resampled_weights(int(runs))
        for start in range(0, len(chosen), COLUMNS_AT_ONCE):
            part = chosen[start : start + COLUMNS_AT_ONCE]
            for name, (plain, resampled) in weights.items():
                found[name][:, part] = _ends(ordered[:runs, part].T, plain, resampled)
    return {name: Spread(*rows) for name, rows in found.items()}


def deviation(values: Array) -> Array:
    """The standard deviation (n - 1) of each column of `values` [runs, columns] without its NaN; NaN below 2 runs."""
    counts = (~np.isnan(values)).sum(axis=0)
    centred = values - np.nansum(values, axis=0) / np.maximum(counts, 1)
    squares = np.nansum(centred**2, axis=0)
    return np.where(counts > 1, np.sqrt(squares / np.maximum(counts - 1, 1)), np.nan)


def _resampled_weights(runs: int) -> dict[str, tuple[Array, Array]]:
    """Each statistic as weights on the ordered values, [runs], and for every resample, [RESAMPLES, runs].

    A resample of ordered values is a draw of positions; once these are ordered too, mean, median and interquartile
    mean are fixed weights on them. So one draw serves every column that has as many runs, by one matrix product.
    """
    drawn = np.sort(np.random.default_rng([0, runs]).integers(runs, size=(RESAMPLES, runs)), axis=1)
    cut = runs // 4
    kept = {
        "mean": range(runs),
        "median": range((runs - 1) // 2, runs // 2 + 1),
        "iqm": range(cut, runs - cut),
    }
    weights = {}
    for name, positions in kept.items():
        plain = np.zeros(runs)
        plain[positions] = 1 / len(positions)
        resampled = np.zeros((RESAMPLES, runs))
        for position in positions:
            resampled[np.arange(RESAMPLES), drawn[:, position]] += 1 / len(positions)
        weights[name] = plain, resampled
    return weights


def _ends(ordered: Array, plain: Array, resampled: Array) -> Array:
    """Value, low and high, [3, columns], of the weighted statistic of `ordered` values [columns, runs]."""
    value = ordered @ plain
    if ordered.shape[1] < 2:
        return np.stack([value, np.full_like(value, np.nan), np.full_like(value, np.nan)])
    low, high = _quantiles(ordered @ resampled.T)
    # A constant column can leave its value by the last bit of a float; an interval must hold it.
    return np.stack([value, np.minimum(low, value), np.maximum(high, value)])


def _quantiles(samples: Array) -> tuple[Array, Array]:
    """The 2.5 and 97.5 % quantiles of each row, interpolated as `numpy.quantile` does, by a faster full sort."""
    ordered = np.sort(samples, axis=1)
    tail = (1 - CONFIDENCE) / 2
    places = np.array([tail, 1 - tail]) * (samples.shape[1] - 1)
    below = places.astype(int)
    low, high = (ordered[:, below] + (ordered[:, below + 1] - ordered[:, below]) * (places - below)).T
    return low, high


def improvements(pairs: Sequence[tuple[Sequence[float] | Array, Sequence[float] | Array]]) -> Array:
    """For each pair of samples, how probable it is that a run of the first scores above one of the second; [pairs, 3].

    The columns are value, low and high; a tie counts one half. NaN where a side has no run, no interval where one has
    a single run. The value is the Mann-Whitney U over the number of pairs of runs; the interval is a 95 % percentile
    bootstrap that resamples each side, 2,000 times (Agarwal et al. 2021, arXiv:2108.13264, section 4.3).
    """
    found = np.full((len(pairs), 3), np.nan)
    wins: dict[tuple[int, int], list[tuple[int, Array]]] = {}
    for i, pair in enumerate(pairs):
        a, b = (side[~np.isnan(side)] for side in (np.asarray(each, dtype=float) for each in pair))
        if len(a) and len(b):
            won = (a[:, None] > b) + 0.5 * (a[:, None] == b)
            found[i, 0] = won.mean()
            wins.setdefault((len(a), len(b)), []).append((i, won.ravel()))
    for (first, second), group in wins.items():
        if min(first, second) > 1:
            # How often each pair of runs is drawn, the same for all samples of these sizes: one matrix product.
            drawn = _pair_shares(first, second)
            index = [i for i, _ in group]
            low, high = _quantiles(np.stack([won for _, won in group]) @ drawn.T)
            found[index, 1], found[index, 2] = low, high
    return found


def _pair_shares(first: int, second: int) -> Array:
    """The share of each pair of runs in every resample of the two sides: [PAIR_RESAMPLES, first * second]."""
    rng = np.random.default_rng([1, first, second])
    sides = [rng.multinomial(n, np.full(n, 1 / n), size=PAIR_RESAMPLES) / n for n in (first, second)]
    return (sides[0][:, :, None] * sides[1][:, None, :]).reshape(PAIR_RESAMPLES, -1)


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


@dataclass(frozen=True)
class Variance:
    """The shares of a score's variance, which add up to 1, and what they were found from."""

    objective: float
    hyperparameter: float
    seed: float
    runs: int


def variance_shares(
    values: Sequence[float], objectives: Sequence[Any], settings: Sequence[Any]
) -> Variance | None:
    """How the squared deviations of `values` from their mean split over objective, setting within it, and seed.

    `objectives` and `settings` say for each run what it is a run of; equal settings of two objectives are told apart.
    Nested sums of squares (one-way analyses of variance, one within the other): the objective's share is that of the
    objectives' means around the whole mean, the hyper-parameters' that of the settings' means around their
    objective's, the seed's that of the runs around their setting's. None below 2 runs or for a constant score. With
    few seeds the first two are too large: chance alone gives k groups of n runs about (k - 1) / (n - 1).
    """
    numbers = np.asarray(values, dtype=float)
    has = ~np.isnan(numbers)
    numbers = numbers[has]
    _, outer = np.unique(np.asarray([str(o) for o in objectives])[has], return_inverse=True)
    inner_keys = np.asarray([f"{o}\n{s}" for o, s in zip(objectives, settings, strict=True)])[has]
    _, inner = np.unique(inner_keys, return_inverse=True)
    if len(numbers) < 2 or np.ptp(numbers) == 0:
        return None
    by_objective, by_setting = _group_means(numbers, outer), _group_means(numbers, inner)
    total = ((numbers - numbers.mean()) ** 2).sum()
    return Variance(
        objective=float(((by_objective - numbers.mean()) ** 2).sum() / total),
        hyperparameter=float(((by_setting - by_objective) ** 2).sum() / total),
        seed=float(((numbers - by_setting) ** 2).sum() / total),
        runs=len(numbers),
    )


def _group_means(values: Array, group: NDArray[np.intp]) -> Array:
    """For each value the mean of its group."""
    means: Array = (np.bincount(group, weights=values) / np.bincount(group))[group]
    return means


def on_front(costs: Array, gains: Array) -> NDArray[np.bool_]:
    """Whether no other point has a lower cost or a higher gain and is at least as good in the other one.

    Equal points do not beat each other; a point that lacks a number is on no front.
    """
    has = ~np.isnan(costs) & ~np.isnan(gains)
    marks = np.zeros(len(costs), dtype=bool)
    cost, gain = costs[has], gains[has]
    at_least = (cost[None] <= cost[:, None]) & (gain[None] >= gain[:, None])
    better = (cost[None] < cost[:, None]) | (gain[None] > gain[:, None])
    marks[has] = ~(at_least & better).any(axis=1)
    return marks


def hypervolume(costs: Array, gains: Array, worst: tuple[float, float], best: tuple[float, float]) -> float:
    """The share of the box between two corners (cost, gain), `worst` and `best`, that the points dominate; 0..1.

    A corner of the box is dominated by a point that is at least as good in both. Points outside are moved to its edge,
    points without a number are left out. NaN where the box has no area or no point is left. Zitzler and Thiele 1998.
    """
    width, height = worst[0] - best[0], best[1] - worst[1]
    has = ~np.isnan(costs) & ~np.isnan(gains)
    if not has.any() or not width > 0 or not height > 0:
        return float("nan")
    x = np.clip((worst[0] - costs[has]) / width, 0, 1)
    y = np.clip((gains[has] - worst[1]) / height, 0, 1)
    order = np.argsort(-x, kind="stable")
    x, y = x[order], np.maximum.accumulate(y[order])
    return float((y * (x - np.append(x[1:], 0.0))).sum())
