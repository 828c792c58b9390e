"""Multinomial logistic regression with a penalty chosen by cross-validation: all folds are solved at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

INVERSE_PENALTIES = np.logspace(-4, 4, 10)
FOLDS = 5
STEPS = 100
TOLERANCE = 1e-4


def predict_validated(train: NDArray[np.float64], labels: Labels, test: NDArray[np.float64]) -> Labels:
    """What a logistic regression says of `test` with the penalty that does best on held-out points of `train`.

    Ten L2 penalties are tried on five folds, which are runs of the points as they stand; of the best the strongest is
    taken. The intercept is free. Each fit begins where that with the next stronger penalty ended and takes at most 100
    steps of L-BFGS. A single label is the answer to everything. This is what scikit-learn's
    LogisticRegressionCV(Cs=10, cv=KFold(5)) does, but that some versions of it raise where a fold lacks a label.
    """
    from scipy.optimize import minimize

    classes, label = np.unique(labels, return_inverse=True)
    if len(classes) == 1:
        return np.full(len(test), classes[0])
    points = _with_intercept(train)
    # The last of the fits holds nothing out: it is the one that answers.
    trains = np.ones((FOLDS + 1, len(labels)), dtype=bool)
    for fold, held_out in enumerate(np.array_split(np.arange(len(labels)), FOLDS)):
        trains[fold, held_out] = False
    weights = np.zeros((FOLDS + 1, len(classes), len(points)))
    best, answer = -1, weights[-1]
    for inverse_penalty in INVERSE_PENALTIES:
        # For two labels one score is fitted, whose penalty is twice that of two opposite ones.
        penalty = (2.0 if len(classes) == 2 else 1.0) / inverse_penalty
        found = minimize(
            _loss,
            weights.ravel(),
            args=(points, label, trains, penalty),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": STEPS, "gtol": TOLERANCE, "ftol": 64 * np.finfo(float).eps, "maxls": 50},
        )
        weights = found.x.reshape(weights.shape)
        right = int(((_logits(weights, points).argmax(axis=1) == label) & ~trains).sum())
        if right > best:
            best, answer = right, weights[-1]
    return np.asarray(classes[_logits(answer[None], _with_intercept(test))[0].argmax(axis=0)])


def _loss(
    flat: NDArray[np.float64], points: Array, label: Labels, trains: NDArray[np.bool_], penalty: float
) -> tuple[float, Any]:
    """The sum over the folds of mean cross-entropy and penalty, and its slope: they have nothing in common."""
    weights = flat.reshape(len(trains), -1, len(points))
    size = trains.sum(axis=1, keepdims=True)
    share = (trains / size).astype(np.float32)
    rows = np.arange(len(label))
    scores = _logits(weights, points)
    scores -= scores.max(axis=1, keepdims=True)
    right = scores[:, label, rows]
    np.exp(scores, out=scores)
    total = scores.sum(axis=1)
    loss = (share * (np.log(total) - right)).sum(dtype=np.float64)
    scores *= (share / total)[:, None]
    scores[:, label, rows] -= share
    slope = (scores.reshape(-1, len(label)) @ points.T).astype(np.float64).reshape(weights.shape)
    strength = penalty / size[..., None]
    coefficients = weights[..., :-1]
    slope[..., :-1] += strength * coefficients
    return float(loss + (strength * coefficients**2).sum() / 2), slope.ravel()


def _logits(weights: NDArray[np.float64], points: Array) -> Array:
    """Scores [fits, classes, points] by `weights` [fits, classes, features and intercept]."""
    flat = weights.reshape(-1, len(points)).astype(np.float32)
    return np.asarray(flat @ points).reshape(*weights.shape[:2], -1)


def _with_intercept(table: NDArray[np.float64]) -> Array:
    """The points as columns [features and a one, points], in the precision that the fits need and no more."""
    return np.vstack([table.T, np.ones(len(table))]).astype(np.float32)
