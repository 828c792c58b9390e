"""Explicitness: can a linear classifier predict each factor's values from the codes?"""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.logistic_regression import fit_logistic
from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.sampling import draw_train_and_test
from disentangle_bench.metrics.standardised import standardised


def explicitness(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_points: int = 10_000,
    test_points: int = 5_000,
    inverse_penalty: float = 1.0,
    disjoint: bool = False,
    width: int = 1,
) -> Scores:
    """Mean area under the ROC curves of a logistic regression per factor, 0..1; chance is 0.5.

    Codes are standardised by the training points; constant latents stay at 0. Every value of a factor has
    its own curve over the `test_points`. Values that are missing from either sample are left out. Any
    invertible linear map of a perfect code scores 1: explicitness measures information, not separation.

    Training and test points are drawn with replacement, as in the study, so small tables share rows between
    them unless they are `disjoint`. If every `width` columns are one latent, a vector, all columns are
    read.

    Returns `explicitness` and the same on the training points `explicitness_train`. Ridgeway and Mozer
    2018, section 3; constants of Locatello et al. 2019.
    """
    (train, train_factors), (test, test_factors) = draw_train_and_test(
        codes, factors, train_points, test_points, rng, disjoint
    )
    test, train = standardised(test, by=train), standardised(train)
    areas = []
    for learnt, asked in zip(train_factors.T, test_factors.T, strict=True):
        if learnt.min() == learnt.max():
            continue
        model = fit_logistic(train, learnt, inverse_penalty=inverse_penalty)
        areas.append(
            [
                _mean_area(model.predict_proba(points), model.classes_, values)
                for points, values in ((test, asked), (train, learnt))
            ]
        )
    on_test, on_train = np.mean(areas, axis=0) if areas else (0.5, 0.5)
    return {"explicitness": float(on_test), "explicitness_train": float(on_train)}


def _mean_area(
    probabilities: NDArray[np.float64], classes: NDArray[np.int64], values: NDArray[np.int64]
) -> float:
    """Mean area under the ROC curves of the classes' `probabilities` [points, classes] for the true
    `values`.
    """
    from scipy.stats import rankdata

    is_class = values[:, None] == classes
    positive = is_class.sum(axis=0)
    negative = len(values) - positive
    # The area is the chance that a point of the class outranks one that is not of it.
    ranks = np.where(is_class, rankdata(probabilities, axis=0), 0.0).sum(axis=0)
    both = (positive > 0) & (negative > 0)
    above = ranks[both] - positive[both] * (positive[both] + 1) / 2
    return float((above / (positive[both] * negative[both])).mean()) if both.any() else 0.5


METRIC = Metric(
    score=explicitness,
    headlines=("explicitness",),
    paper="Ridgeway and Mozer 2018, Learning Deep Disentangled Embeddings with the F-Statistic Loss, section 3",
    training_rows=10_000,
    takes_width=True,
    expects=Expects(slack=0.002),
)
