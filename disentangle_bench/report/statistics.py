"""The statistics of means, variances and fronts: pure functions of arrays, without files and without tables.

Nothing here draws random numbers: the same scores give the same intervals and p-values at every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, binom, stdtr, stdtrit

Array = NDArray[np.float64]
Marks = NDArray[np.bool_]

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
FEWEST = 3  # runs that an interval or a test of means needs: two say nearly nothing of how scores spread


@dataclass(frozen=True)
class Spread:
    """A statistic of each column, and the ends of its 95 % interval (NaN for none); each an array [columns]."""

    value: Array
    low: Array
    high: Array


def spreads(values: Array) -> dict[str, Spread]:
    """Mean, median and interquartile mean of each column of `values` [runs, columns], with 95 % intervals.

    NaN stands for a run without the number, and is left out. No interval is given below 3 runs, nor to a mean of
    numbers that are all equal. The mean has Student's t interval (Student 1908). The median has the interval between
    two ordered runs that holds at least 95 % for any continuous scores (Thompson 1936), which there is from 6 runs on.
    The interquartile mean drops the lowest and the highest quarter of the runs, rounded down (Agarwal et al. 2021,
    arXiv:2108.13264); its interval is Tukey and McLaughlin's (1963, Sankhya A 25) for a trimmed mean.
    """
    found = {name: np.full((3, values.shape[1]), np.nan) for name in ("mean", "median", "iqm")}
    ordered = np.sort(values, axis=0)  # NaN goes last
    counts = (~np.isnan(values)).sum(axis=0)
    for runs in np.unique(counts[counts > 0]):
        chosen = counts == runs
        part = ordered[:runs, chosen]
        found["mean"][:, chosen] = _trimmed_mean(part, 0)
        found["median"][:, chosen] = _median(part)
        found["iqm"][:, chosen] = _trimmed_mean(part, int(runs) // 4)
    return {name: Spread(*rows) for name, rows in found.items()}


def deviation(values: Array) -> Array:
    """The standard deviation (n - 1) of each column of `values` [runs, columns] without its NaN; NaN below 2 runs.

    It is exactly 0 where all numbers are equal.
    """
    counts = (~np.isnan(values)).sum(axis=0)
    centred = values - np.nansum(values, axis=0) / np.maximum(counts, 1)
    squares = np.nansum(centred**2, axis=0)
    found = np.where(counts > 1, np.sqrt(squares / np.maximum(counts - 1, 1)), np.nan)
    # The mean of equal numbers can leave them by the last bit of a float.
    equal = (np.isnan(values) | (values == _first_number(values))).all(axis=0)
    return np.where(equal & (counts > 1), 0.0, found)


def _first_number(values: Array) -> Array:
    """The least number of each column, NaN for none."""
    return np.sort(values, axis=0)[0]


def _trimmed_mean(ordered: Array, cut: int) -> Array:
    """Value, low and high [3, columns] of the mean without `cut` runs at either end; `ordered` [runs, columns].

    The standard error is that of the scores with the dropped ones moved to the nearest kept one, and Student's t has
    one degree of freedom less than there are kept runs. Nothing dropped is the mean with its usual interval.
    """
    runs = len(ordered)
    kept = ordered[cut : runs - cut]
    value = kept.mean(axis=0)
    if runs < FEWEST:
        return np.stack([value, np.full_like(value, np.nan), np.full_like(value, np.nan)])
    moved = np.clip(ordered, kept[0], kept[-1])
    error = deviation(moved) * np.sqrt((runs - 1) / (len(kept) * (len(kept) - 1)))
    reach = np.where(error > 0, -stdtrit(len(kept) - 1, TAIL) * error, np.nan)
    return np.stack([value, value - reach, value + reach])


def _median(ordered: Array) -> Array:
    """Value, low and high [3, columns] of the median of `ordered` [runs, columns]."""
    runs = len(ordered)
    value = (ordered[(runs - 1) // 2] + ordered[runs // 2]) / 2
    # The chance that at most k of n runs lie below the median is that of at most k heads in n throws.
    below = [k for k in range(runs // 2) if bdtr(k, runs, 0.5) <= TAIL]
    if not below:
        return np.stack([value, np.full_like(value, np.nan), np.full_like(value, np.nan)])
    return np.stack([value, ordered[below[-1]], ordered[runs - 1 - below[-1]]])


def differences(means: Array, deviations: Array, counts: NDArray[Any]) -> Array:
    """Two-sided p-values of Welch's t test (Welch 1947) of every two means [k]; NaN where one has below 3 runs. [k, k].

    Where neither side varies at all a t test has no scale, and the p-value is that of the exact permutation test: 2
    over the number of ways to choose the runs of one side.
    """
    has = (counts >= FEWEST) & ~np.isnan(means)
    count = np.where(has, counts, FEWEST)
    square = np.where(has, deviations, 0.0) ** 2 / count
    error = square[:, None] + square[None]
    gap = np.abs(means[:, None] - means[None])
    parts = square**2 / (count - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = error**2 / (parts[:, None] + parts[None])
        found = 2 * stdtr(freedom, -gap / np.sqrt(error))
    found = np.where(error == 0, 2 / binom(count[:, None] + count[None], count[:, None]), found)
    # Means of the same numbers can differ by the last bits of a float.
    found = np.where(np.isclose(means[:, None], means[None], rtol=1e-12, atol=0), 1.0, found)
    return np.where(has[:, None] & has[None], found, np.nan)


def holm(p_values: Array) -> Array:
    """Holm's (1979, Scandinavian Journal of Statistics 6) adjusted p-values of one family, of any shape; NaN stays.

    Where all of them at or below 5 % are believed, the chance of one false finding among all is at most 5 %.
    """
    flat = p_values.ravel()
    order = np.argsort(flat)  # NaN goes last
    order = order[: int((~np.isnan(flat)).sum())]
    adjusted = np.full(flat.shape, np.nan)
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(flat[order] * steps), 1.0)
    return adjusted.reshape(p_values.shape)


def significant_pairs(*tests: Array) -> tuple[Marks, ...]:
    """Which pairs differ at 5 %, given the p-values [k, k] of one or more measures: all of them are one family."""
    pairs = np.triu_indices(len(tests[0]), 1)
    adjusted = holm(np.stack([test[pairs] for test in tests]))
    found = []
    for row in adjusted:
        apart = np.zeros(tests[0].shape, dtype=bool)
        apart[pairs] = row <= 1 - CONFIDENCE
        found.append(apart | apart.T)
    return tuple(found)


def among_the_best(gains: Array, deviations: Array, counts: NDArray[Any]) -> Marks:
    """Whether no other mean of `gains` [k] (high is good) is significantly higher; False for below 3 runs.

    Every two means are compared (`differences`), with Holm's correction over all pairs: equal means differ
    significantly, by chance, in at most 5 % of tables.
    """
    (differ,) = significant_pairs(differences(gains, deviations, counts))
    beaten = (differ & (gains[None] > gains[:, None])).any(axis=1)
    return (counts >= FEWEST) & ~np.isnan(gains) & ~beaten


def among_the_front(costs: Sequence[Array], gains: Sequence[Array]) -> Marks:
    """Whether no other row significantly beats it; `costs` and `gains` are each means, deviations and counts [k].

    A row is beaten by one that is significantly better in one measure and has a mean at least as good in the other.
    Both measures' pairs are one family of Holm's correction. False for a row with below 3 runs in either.
    """
    cheap, good = significant_pairs(differences(*costs), differences(*gains))
    cost, gain = costs[0], gains[0]
    cheaper = cheap & (cost[None] < cost[:, None]) & (gain[None] >= gain[:, None])
    better = good & (gain[None] > gain[:, None]) & (cost[None] <= cost[:, None])
    has = (np.minimum(costs[2], gains[2]) >= FEWEST) & ~np.isnan(cost) & ~np.isnan(gain)
    return has & ~(cheaper | better).any(axis=1)


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
    """How much of the variance of `values` the objective, the setting within it and the seed make: omega squared.

    `objectives` and `settings` say for each run what it is a run of; equal settings of two objectives are two groups.
    From nested sums of squares S with d degrees of freedom, and the mean square m of the runs around their setting:
    (S - d m) / (S_total + m) for the objectives' means around the whole mean, and for the settings' means around their
    objective's (Hays 1963); the seed has the rest. Chance alone gives 0 on average, and so may give a little less than
    0. None for a constant score and where no setting has two runs.
    """
    numbers = np.asarray(values, dtype=float)
    has = ~np.isnan(numbers)
    numbers = numbers[has]
    _, outer = np.unique(np.asarray([str(o) for o in objectives])[has], return_inverse=True)
    inner_keys = np.asarray([f"{o}\n{s}" for o, s in zip(objectives, settings, strict=True)])[has]
    _, inner = np.unique(inner_keys, return_inverse=True)
    models, groups = len(np.unique(outer)), len(np.unique(inner))
    if len(numbers) <= groups or np.ptp(numbers) == 0:
        return None
    by_objective, by_setting = _group_means(numbers, outer), _group_means(numbers, inner)
    noise = ((numbers - by_setting) ** 2).sum() / (len(numbers) - groups)
    total = ((numbers - numbers.mean()) ** 2).sum() + noise
    objective = (((by_objective - numbers.mean()) ** 2).sum() - (models - 1) * noise) / total
    hyperparameter = (((by_setting - by_objective) ** 2).sum() - (groups - models) * noise) / total
    return Variance(
        objective=float(objective),
        hyperparameter=float(hyperparameter),
        seed=float(1 - objective - hyperparameter),
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
