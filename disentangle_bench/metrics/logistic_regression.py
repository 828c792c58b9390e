"""Multinomial logistic regression with every choice pinned, so that a new scikit-learn does not move a
score.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray


def fit_logistic(
    features: NDArray[np.float64],
    labels: NDArray[np.int64],
    *,
    inverse_penalty: float,
    balanced: bool = False,
    steps: int = 100,
) -> Any:
    """The fitted classifier of `labels` [points], at least two different, by `features` [points, features].

    The L2 penalty is 1 / `inverse_penalty` (infinity for none) on the sum of the losses, the intercept is
    free, and L-BFGS takes at most `steps` steps. That it may stop there is part of the definition and no
    cause for a warning.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=inverse_penalty,
        class_weight="balanced" if balanced else None,
        solver="lbfgs",
        tol=1e-4,
        max_iter=steps,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, labels)
