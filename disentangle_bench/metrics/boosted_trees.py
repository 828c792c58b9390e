"""Gradient-boosted classification trees with importances: scikit-learn's own, and the same on histograms, far
faster.
"""

from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingClassifier

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

ROUNDS = 100
DEPTH = 3
RATE = 0.1
LEAVES = 2**DEPTH


@dataclass(frozen=True)
class Fit:
    """What a booster found: the labels it gives, and `importance` [features], summing to 1 or all 0."""

    importance: Array
    on_train: Labels
    on_test: Labels


def fit_exact(train: Array, labels: Labels, test: Array, rng: np.random.Generator) -> Fit:
    """Trees that try every split: scikit-learn's GradientBoostingClassifier with its defaults."""
    seed = int(rng.integers(2**31))
    model = GradientBoostingClassifier(
        n_estimators=ROUNDS, max_depth=DEPTH, learning_rate=RATE, random_state=seed
    ).fit(train, labels)
    return Fit(_shares(model.feature_importances_), model.predict(train), model.predict(test))


def fit_histogram(
    train: Array, labels: Labels, test: Array, rng: np.random.Generator, bins: int = 4095
) -> Fit:
    """The same algorithm with splits between `bins` quantiles of each feature, by LightGBM.

    LightGBM's own multi-class objective weighs splits by curvature and would give other importances. So it
    only grows the trees here: squared-error splits of the residuals, as scikit-learn's; the leaves' values
    and the scores are kept on this side.
    """
    classes, label = np.unique(labels, return_inverse=True)
    is_class = np.eye(len(classes))[label]
    points = np.vstack([train, test])
    scores = np.tile(np.log(is_class.mean(axis=0)), (len(points), 1))
    # Where nothing varies there is nothing to split, and the most frequent label is given to all.
    growers = _growers(train, len(classes), bins, rng) if np.ptp(train, axis=0).any() else []
    for step in range(ROUNDS if growers else 0):
        residual = is_class - _softmax(scores[: len(train)])
        order, grower = growers[step % len(growers)]
        leaf = _grow(grower, residual, points[:, order])
        values = _leaf_values(leaf[: len(train)], residual)
        scores += RATE * values[leaf]
    importance = np.zeros(train.shape[1])
    for order, grower in growers:
        importance[order] += grower.feature_importance("gain")
    given = classes[scores.argmax(axis=1)]
    return Fit(_shares(importance), given[: len(train)], given[len(train) :])


def _growers(
    train: Array, classes: int, bins: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.int64], lightgbm.Booster]]:
    """Boosters to be used in turn, each with its own order of the features.

    Of equally good splits LightGBM takes the first feature's, scikit-learn a random one's; in turns, copies
    of a latent share the importance here too. Each order comes with its reverse, so that of two copies each
    is first.
    """
    forward = [rng.permutation(train.shape[1]) for _ in range(2)]
    settings = {
        "objective": "none",
        "num_class": classes,
        "learning_rate": 1.0,
        "max_depth": DEPTH,
        "num_leaves": LEAVES,
        "max_bin": bins,
        "min_data_in_bin": 1,
        "min_data_in_leaf": 1,
        "min_sum_hessian_in_leaf": 0.0,
        "feature_pre_filter": False,
        "force_col_wise": True,
        "deterministic": True,
        "num_threads": 1,
        "verbose": -1,
    }
    orders = [order for each in forward for order in (each, each[::-1])]
    return [
        (order, lightgbm.Booster(settings, lightgbm.Dataset(train[:, order], params=settings)))
        for order in orders
    ]


def _grow(grower: lightgbm.Booster, residual: Array, points: Array) -> NDArray[np.int64]:
    """The leaf [points, classes] of every point in one more tree per class, fitted to the `residual`.

    No two classes share a leaf's number. With a second derivative of 1 everywhere, LightGBM's gain is the
    fall in squared error.
    """
    ones = np.ones_like(residual)
    grower.update(train_set=None, fobj=lambda *_: (-residual, ones))
    last = grower.current_iteration() - 1
    leaf = np.asarray(
        grower.predict(points, pred_leaf=True, start_iteration=last, num_iteration=1, num_threads=1)
    )
    return leaf.astype(np.int64).reshape(len(points), -1) + LEAVES * np.arange(residual.shape[1])


def _leaf_values(leaf: NDArray[np.int64], residual: Array) -> Array:
    """The value of each leaf: a Newton step on the multinomial loss, from the residuals in it."""
    classes = residual.shape[1]
    slope = np.bincount(leaf.ravel(), residual.ravel(), minlength=LEAVES * classes)
    size = np.abs(residual).ravel()
    curvature = np.bincount(leaf.ravel(), size * (1 - size), minlength=LEAVES * classes)
    steep = curvature > 1e-150
    return (classes - 1) / classes * np.divide(slope, curvature, out=np.zeros_like(slope), where=steep)


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    normalised: Array = powers / powers.sum(axis=1, keepdims=True)
    return normalised


def _shares(importance: Array) -> Array:
    total = importance.sum()
    return importance / total if total > 0 else np.zeros_like(importance)
