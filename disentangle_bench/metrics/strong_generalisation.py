"""Strong generalisation: does a prediction hold where another factor takes values that training never saw?"""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.downstream import boosted_answers
from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.sampling import RowsByValue, draw_points
from disentangle_bench.metrics.standardised import standardised

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
NAME = "strong_generalisation"


def strong_generalisation(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_points: int = 1_000,
    test_points: int = 1_000,
    width: int = 1,
) -> Scores:
    """Accuracy of predictors that saw another factor at one value only and are tested at its other values, 0..1.

    For each factor J a value is drawn. `train_points` rows that have it train predictors of all other
    factors, and `test_points` rows where J has another value test them. Accuracy is that of boosted trees
    (those of `downstream_gbt`), mean over all pairs of a target and a factor J. Rows are drawn with
    replacement, test rows uniformly over the other values of J. Factors that do not vary are left out.
    With fewer than two factors nothing can shift, and the score is the accuracy without a shift. If every
    `width` columns are one latent, a vector, all columns are read.

    Returns `strong_generalisation` and, by target factor, `_of_I` and, by the factor that shifts, `_by_J`;
    `_unshifted`, the accuracy where train and test rows come from the whole table; `_gap`, one less the
    ratio of the two; `_r2` and `_r2_unshifted`, the same of a linear predictor of the factors' values as
    numbers: 1 less its mean squared error in units of the factor's variance over the whole table, and 0
    where that is negative. Locatello et al. 2020, Weakly-Supervised Disentanglement Without Compromises,
    by disentanglement_lib's strong_downstream_task.py, which has trees only and draws J at random for each
    of some repetitions.
    """
    values = factors[:, factors.max(axis=0) > factors.min(axis=0)]
    count = values.shape[1]
    if not count:
        return {NAME: 0.0}
    variance = values.var(axis=0)
    # Latents may be equal where a factor stands still and differ elsewhere. Which of them a tree splits must not
    # depend on their order or signs, so they get an order of their own.
    codes = codes[:, np.lexsort(np.abs(standardised(draw_points(codes, values, train_points, rng)[0])))]
    train, test = (draw_points(codes, values, points, rng) for points in (train_points, test_points))
    unshifted = _accuracies(train, test, rng).mean()
    linear = _linear_r2(train, test, variance).mean()
    right, r2 = (np.full((count, count), np.nan) for _ in range(2))
    for j in range(count) if count > 1 else ():
        train, test = (
            (codes[rows].astype(np.float64), np.delete(values[rows], j, axis=1))
            for rows in _rows_before_and_after(values[:, j], train_points, test_points, rng)
        )
        others = np.arange(count) != j
        right[others, j] = _accuracies(train, test, rng)
        r2[others, j] = _linear_r2(train, test, variance[others])
    if count == 1:
        right[:], r2[:] = unshifted, linear
    shifted = float(np.nanmean(right))
    return {
        NAME: shifted,
        f"{NAME}_unshifted": float(unshifted),
        f"{NAME}_gap": 1 - shifted / float(unshifted) if unshifted else 0.0,
        f"{NAME}_r2": float(np.nanmean(r2)),
        f"{NAME}_r2_unshifted": float(linear),
        **{f"{NAME}_of_{i}": float(np.nanmean(right[i])) for i in range(count)},
        **{f"{NAME}_by_{j}": float(np.nanmean(right[:, j])) for j in range(count)},
    }


def _rows_before_and_after(
    factor: NDArray[np.int64], train_points: int, test_points: int, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Rows that have one value of the factor, and rows that have another, uniform over the other values."""
    by_value = RowsByValue(factor)
    order = rng.permutation(len(np.unique(factor)))
    train = by_value.draw_rows(np.full(train_points, order[0]), rng)
    return train, by_value.draw_rows(rng.choice(order[1:], size=test_points), rng)


def _accuracies(train: tuple[Array, Factors], test: tuple[Array, Factors], rng: np.random.Generator) -> Array:
    """The share of right answers of boosted trees, for each factor."""
    (learnt, labels), (asked, truth) = train, test
    said = boosted_answers(learnt, labels, [asked] * labels.shape[1], rng)
    right: Array = (np.stack(said, axis=1) == truth).mean(axis=0)
    return right


def _linear_r2(train: tuple[Array, Factors], test: tuple[Array, Factors], variance: Array) -> Array:
    """R2 of least squares with an intercept, at least 0, for each factor."""
    (learnt, values), (asked, truth) = train, test
    mean = values.mean(axis=0)
    weights = np.linalg.lstsq(standardised(learnt), values - mean, rcond=None)[0]
    error = (standardised(asked, by=learnt) @ weights + mean - truth) ** 2
    return np.maximum(0.0, 1 - error.mean(axis=0) / variance)


METRIC = Metric(
    score=strong_generalisation,
    headlines=(NAME,),
    paper="Locatello et al. 2020, Weakly-Supervised Disentanglement Without Compromises (arXiv:2002.02886)",
    takes_width=True,
    expects=Expects(slack=0.03),
)
