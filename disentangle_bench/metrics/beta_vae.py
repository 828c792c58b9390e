"""The beta-VAE metric: can a linear classifier say, from differences of codes, which factor was shared?"""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.logistic_regression import fit_logistic
from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.sampling import RowsByValue, parted

LARGEST_FEATURE = 1e3


def beta_vae(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_points: int = 10_000,
    eval_points: int = 5_000,
    batch: int = 64,
    inverse_penalty: float = 1.0,
    disjoint: bool = False,
) -> Scores:
    """Accuracy of a logistic regression that names the shared factor, 0..1; chance is 1 / factors.

    A point is made of `batch` pairs of rows. All pairs share the value of the same random factor; each pair
    has a value of its own. The features of the point are the mean absolute differences of each latent over
    the pairs. The classifier has an L2 penalty of 1 / `inverse_penalty`, so latents far smaller than 1
    count for little. It is linear, so a rotation of a perfect code still scores high. Training and test
    points are made of rows drawn with replacement from the whole table, as in the study, or, with
    `disjoint`, from two parts that share no row.

    Returns `beta_vae` and the accuracy on the training points `beta_vae_train`. Higgins et al. 2017,
    appendix A; constants and classifier of Locatello et al. 2019.
    """
    train_from = held_out_from = (codes, factors)
    if disjoint:
        train_from, held_out_from = parted(codes, factors, train_points / (train_points + eval_points), rng)
    train, train_labels = _differences(*train_from, train_points, batch, rng)
    held_out, held_out_labels = _differences(*held_out_from, eval_points, batch, rng)
    if factors.shape[1] == 1:
        return {"beta_vae": 1.0, "beta_vae_train": 1.0}
    # Beyond this size the penalty is nothing any more, but the solver's steps would overflow.
    scale = max(1.0, train.max() / LARGEST_FEATURE)
    model = fit_logistic(train / scale, train_labels, inverse_penalty=inverse_penalty, steps=200)
    return {
        "beta_vae": float((model.predict(held_out / scale) == held_out_labels).mean()),
        "beta_vae_train": float((model.predict(train / scale) == train_labels).mean()),
    }


def _differences(
    codes: Codes, factors: Factors, points: int, batch: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features [points, latents] and the shared factor [points] of each point."""
    by_value = [RowsByValue(column) for column in factors.T]
    labels = np.sort(rng.integers(len(by_value), size=points))
    features = np.empty((points, codes.shape[1]))
    for factor, rows_by_value in enumerate(by_value):
        mine = labels == factor
        values = rows_by_value.draw_values((mine.sum(), batch), rng)
        first = codes[rows_by_value.draw_rows(values, rng)]
        second = codes[rows_by_value.draw_rows(values, rng)]
        features[mine] = np.abs(first - second).mean(axis=1, dtype=np.float64)
    return features, labels


METRIC = Metric(
    score=beta_vae,
    headlines=("beta_vae",),
    paper="Higgins et al. 2017, beta-VAE, appendix A.4 (openreview.net/forum?id=Sy2fzU9gl)",
    revision=2,
    training_rows=10_000 * 64 * 2,
    expects=Expects(scale=False, slack=0.002),
)
