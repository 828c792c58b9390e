"""Downstream tasks: how well do classifiers with few labels predict each factor from the codes?"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.sampling import draw_train_and_test
from disentangle_bench.metrics.side_by_side import side_by_side
from disentangle_bench.metrics.standardised import standardised
from disentangle_bench.metrics.validated_logistic import predict_validated

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
# What is said of the test points, a column a factor, by what was learnt of the training points and their factors.
Learn = Callable[[Array, Factors, Array], list[Labels]]

TRAIN_POINTS = (10, 100, 1_000, 10_000)
LARGEST_CODE = 1e3
BINS = 255


def downstream_logistic(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_points: tuple[int, ...] = TRAIN_POINTS,
    test_points: int = 5_000,
    disjoint: bool = False,
    width: int = 1,
) -> Scores:
    """Accuracy of logistic regressions that learn each factor from few points, 0..1; mean over the factors.

    For each number in `train_points` so many rows are drawn for training, and `test_points` further rows
    for the test. A multinomial logistic regression learns each factor. Its L2 penalty is the best of ten on
    five folds, in the order of the draw. The scale of the codes matters, their mean does not. A value that
    is not among the training points is never predicted; if they have one value only, that is the
    prediction. Factors that do not vary are left out.

    Rows are drawn with replacement, as in the study, so small tables share rows between training and test
    unless they are `disjoint`. If every `width` columns are one latent, a vector, all columns are read.

    Returns `downstream_logistic`, the accuracy with the last of `train_points`. With the suffix `_N` it is
    the accuracy from N points, with `_N_factor_I` that of factor I alone, and with `_efficiency_N` the
    accuracy from N points over that from the last. Locatello et al. 2019, section 5.5, by
    disentanglement_lib's downstream_task.py.
    """

    def learn(train: Array, values: Factors, test: Array) -> list[Labels]:
        centre = train.mean(axis=0)
        # Beyond this size the penalty is nothing any more, but the solver's steps would overflow.
        scale = np.maximum(1.0, np.abs(train - centre).max(axis=0) / LARGEST_CODE)
        train, test = (train - centre) / scale, (test - centre) / scale
        return [predict_validated(train, labels, test) for labels in values.T]

    def accuracies(points: int) -> Array:
        return _accuracies(learn, draw_train_and_test(codes, factors, points, test_points, rng, disjoint))

    return _scores("downstream_logistic", {points: accuracies(points) for points in train_points})


def downstream_gbt(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_points: tuple[int, ...] = TRAIN_POINTS,
    test_points: int = 5_000,
    disjoint: bool = False,
    width: int = 1,
) -> Scores:
    """Accuracy of boosted trees that learn each factor from few points, 0..1; mean over the factors.

    Like `downstream_logistic`, with gradient-boosted trees (100 rounds, depth 3, rate 0.1). They look for
    splits between 255 quantiles of each latent; on up to 250 points that is every split. Returns the same
    scores, under the name `downstream_gbt`.
    """

    def accuracies(points: int) -> Array:
        drawn = draw_train_and_test(codes, factors, points, test_points, rng, disjoint)
        return _accuracies(
            lambda train, values, test: boosted_answers(train, values, [test] * values.shape[1], rng), drawn
        )

    return _scores("downstream_gbt", {points: accuracies(points) for points in train_points})


def boosted_answers(
    train: Array, values: Factors, tests: Sequence[Array], rng: np.random.Generator
) -> list[Labels]:
    """What boosted trees that learnt the `values` of the points `train` say, for each factor of a test of its own."""
    # Looked up here, for the trees' library takes seconds to load.
    from disentangle_bench.metrics.boosted_trees import fit_histogram

    learnt = standardised(train)
    # Around zero the trees' library has a bin of its own, which would move the splits of few points.
    lowest = learnt.min(axis=0) - 1

    def answers(labels: Labels, test: Array, stream: np.random.Generator) -> Labels:
        if labels.min() == labels.max():
            return np.full(len(test), labels[0])
        asked = standardised(test, by=train) - lowest
        return fit_histogram(learnt - lowest, labels, asked, stream, BINS).on_test

    return side_by_side(answers, values.T, tests, rng.spawn(values.shape[1]))


def _accuracies(learn: Learn, drawn: tuple[tuple[Array, Factors], tuple[Array, Factors]]) -> Array:
    """The share of test points of which the answer is right, for each factor that varies over what was drawn."""
    (train, values), (test, asked) = drawn
    said = learn(train, values, test)
    return (np.stack(said, axis=1) == asked).mean(axis=0)


def _scores(name: str, accuracies: dict[int, Array]) -> Scores:
    """All scores by the accuracies [factors] from each number of training points."""
    mean = {points: float(each.mean()) for points, each in accuracies.items()}
    *smaller, largest = mean
    scores = {name: mean[largest]}
    for points, each in accuracies.items():
        scores[f"{name}_{points}"] = mean[points]
        scores |= {f"{name}_{points}_factor_{k}": float(accuracy) for k, accuracy in enumerate(each)}
    for points in smaller:
        scores[f"{name}_efficiency_{points}"] = mean[points] / mean[largest] if mean[largest] else 0.0
    return scores


PAPER = "Locatello et al. 2019, Challenging Common Assumptions, section 5.5 (arXiv:1811.12359)"
LOGISTIC = Metric(
    score=downstream_logistic,
    headlines=("downstream_logistic",),
    paper=PAPER,
    training_rows=10_000,
    takes_width=True,
    expects=Expects(scale=False, slack=0.01),
)
BOOSTED = Metric(
    score=downstream_gbt,
    headlines=("downstream_gbt",),
    paper=PAPER,
    training_rows=10_000,
    takes_width=True,
    expects=Expects(slack=0.03),
)
