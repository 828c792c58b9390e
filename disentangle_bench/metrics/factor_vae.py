"""The FactorVAE metric: does the same latent always vary least when a factor is fixed?"""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.sampling import RowsByValue, draw_points


def factor_vae(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    train_votes: int = 10_000,
    eval_votes: int = 5_000,
    batch: int = 64,
    variance_points: int | None = 10_000,
    prune_std: float = 0.05,
) -> Scores:
    """Accuracy of a majority vote that names the fixed factor, 0..1; chance is 1 / factors.

    A vote fixes one random factor at one random value and takes `batch` points that have it. It goes to the
    latent whose variance over these points is smallest, divided by its variance over `variance_points`
    points (None: all rows). Latents that tie share the vote. `train_votes` votes decide which factor each
    latent stands for. The score is the accuracy of this rule on `eval_votes` other votes.

    Latents with a standard deviation below `prune_std` over all points do not take part. If none is left,
    the score is 0. Without this threshold a constant latent would win every vote, and a perfect code would
    fall to chance.

    Returns `factor_vae`, the accuracy on the training votes `factor_vae_train`, and the number of latents
    that take part `factor_vae_active`. Kim and Mnih 2018, section 2; constants and threshold of Locatello
    et al. 2019.
    """
    sample, _ = draw_points(codes, factors, variance_points, rng)
    variances = sample.var(axis=0, ddof=1)
    active = np.sqrt(variances) >= prune_std
    if not active.any():
        return {"factor_vae": 0.0, "factor_vae_train": 0.0, "factor_vae_active": 0.0}
    # A constant latent comes here only under a threshold of 0: its local variance, 0, is the smallest.
    scale = np.where(variances[active] > 0, variances[active], 1.0)
    by_value = [RowsByValue(column) for column in factors.T]
    train = _count_votes(codes, by_value, active, scale, train_votes, batch, rng)
    held_out = _count_votes(codes, by_value, active, scale, eval_votes, batch, rng)
    named = train.argmax(axis=0), np.arange(train.shape[1])
    return {
        "factor_vae": float(held_out[named].sum() / eval_votes),
        "factor_vae_train": float(train[named].sum() / train_votes),
        "factor_vae_active": float(active.sum()),
    }


def _count_votes(
    codes: Codes,
    by_value: list[RowsByValue],
    active: NDArray[np.bool_],
    scale: NDArray[np.float64],
    votes: int,
    batch: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """How often [factors, active latents] each latent varied least while each factor was fixed."""
    counts = np.zeros((len(by_value), len(scale)))
    votes_of_factor = np.bincount(rng.integers(len(by_value), size=votes), minlength=len(by_value))
    for factor, rows_by_value in enumerate(by_value):
        values = rows_by_value.draw_values((votes_of_factor[factor], 1), rng)
        rows = rows_by_value.draw_rows(values.repeat(batch, axis=1), rng)
        # In float64 the variance of equal float32 values is exactly 0, in float32 it is not.
        local = codes[rows].astype(np.float64).var(axis=1, ddof=1)[:, active]
        share = local / scale
        least = share == share.min(axis=1, keepdims=True)
        counts[factor] = (least / least.sum(axis=1, keepdims=True)).sum(axis=0)
    return counts


METRIC = Metric(
    score=factor_vae,
    headlines=("factor_vae",),
    paper="Kim and Mnih 2018, Disentangling by Factorising, section 2 (arXiv:1802.05983)",
    revision=2,
    training_rows=10_000 * 64,
    expects=Expects(scale=False),
)
