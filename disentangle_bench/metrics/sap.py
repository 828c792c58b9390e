"""SAP, separated attribute predictability: is one latent far better than the next at predicting a factor?"""

import warnings

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores, Values
from disentangle_bench.metrics.sampling import draw_points, draw_train_and_test
from disentangle_bench.metrics.standardised import standardised

LARGEST_CODE = 1e3


def sap(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_points: int = 10_000,
    test_points: int = 5_000,
    penalty: float = 0.01,
    disjoint: bool = False,
) -> Scores:
    """Mean over the factors of the gap in accuracy between the two best single latents, 0..1.

    Each latent alone predicts each factor by a linear support vector machine (squared hinge loss weighted
    by `penalty`, classes balanced, one against all). Lines can hardly separate middle values, so a perfect
    code stays far below 1 if factors have many values: 0.29 for sizes 3, 6, 10, 10, 10. The scale of a
    latent matters, its mean does not. A single latent has no rival: the gap is its whole accuracy. Training
    and test points are drawn with replacement, as in the study, so small tables share rows between them
    unless they are `disjoint`.

    Returns `sap`. Kumar et al. 2018, section 3, for discrete factors; constants of Locatello et al. 2019.
    """
    (train, train_factors), (test, test_factors) = draw_train_and_test(
        codes, factors, train_points, test_points, rng, disjoint
    )
    # The machine's penalty is on its intercept too: an offset of the codes would cost accuracy.
    centre = train.mean(axis=0)
    train, test = train - centre, test - centre
    # Beyond this size the machine's own penalty is nothing any more, but its steps would overflow.
    scale = np.maximum(1.0, np.abs(train).max(axis=0) / LARGEST_CODE)
    train, test = train / scale, test / scale
    accuracy = np.empty((codes.shape[1], factors.shape[1]))
    for i in range(codes.shape[1]):
        for k in range(factors.shape[1]):
            predicted = _predict(train[:, [i]], train_factors[:, k], test[:, [i]], penalty)
            accuracy[i, k] = (predicted == test_factors[:, k]).mean()
    return {"sap": mean_gap(accuracy)}


def sap_continuous(
    codes: Codes, factors: Factors | Values, *, rng: np.random.Generator, points: int | None = 10_000
) -> Scores:
    """Mean over the factors of the gap between the two largest squared correlations with a latent, 0..1.

    Factors count as numbers in the order of their values, even those without an order, such as a shape.
    Real-valued factors count as they are. A constant latent or factor gets 0. A single latent has no rival:
    the gap is its whole squared correlation.

    Returns `sap_continuous`. Kumar et al. 2018, section 3, for continuous factors.
    """
    table, values = draw_points(codes, factors, points, rng)
    correlation = standardised(table).T @ standardised(values) / len(table)
    return {"sap_continuous": mean_gap(correlation**2)}


def mean_gap(strength: NDArray[np.float64]) -> float:
    """Mean over the columns of `strength` [latents, factors] of the largest value less the second largest."""
    ranked = np.sort(np.pad(strength, ((1, 0), (0, 0))), axis=0)
    return float((ranked[-1] - ranked[-2]).mean())


def _predict(
    train: NDArray[np.float64], labels: NDArray[np.int64], test: NDArray[np.float64], penalty: float
) -> NDArray[np.int64]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    if labels.min() == labels.max():
        return np.full(len(test), labels[0])
    # The primal solver is exact and takes no random numbers; the dual one, once the default, does.
    machine = LinearSVC(C=penalty, class_weight="balanced", dual=False, tol=1e-4, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted: NDArray[np.int64] = machine.fit(train, labels).predict(test)
    return predicted


METRIC = Metric(
    score=sap,
    headlines=("sap",),
    paper="Kumar et al. 2018, Variational Inference of Disentangled Latent Concepts, section 3 (arXiv:1711.00848)",
    revision=2,
    training_rows=10_000,
    expects=Expects(scale=False, slack=0.002),
)
CONTINUOUS = Metric(
    score=sap_continuous,
    headlines=("sap_continuous",),
    paper=METRIC.paper,
    revision=2,
    takes_values=True,
    expects=Expects(),
)
