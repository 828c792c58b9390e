"""UDR, the unsupervised disentanglement ranking: do runs of one setting agree, latent by latent?

It scores runs beside each other and needs no factors, so it is a function of its own and not one of the metrics.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes
from disentangle_bench.metrics.standardised import standardised

Array = NDArray[np.float64]


def udr(
    runs: Sequence[Codes],
    *,
    rng: np.random.Generator,
    kl: Sequence[Array] | None = None,
    similarity: Literal["lasso", "spearman"] = "lasso",
    points: int = 1_000,
    informative_kl: float = 0.01,
) -> Array:
    """One score per run, 0..1: the median of its agreement with every other run.

    `runs` are two or more code tables [points, latents] whose rows describe the same images, of models that differ in
    their seed alone (and, if at all, in the number of latents). `kl`, one array [latents] per run, is each latent's
    mean divergence from the prior in nats: those of at most `informative_kl` do not take part; without it, only
    constant latents are left out.

    Two runs agree in that each informative latent of the one is like a single latent of the other. Likeness is the
    absolute weight of a Lasso regression with penalty 0.1 on standardised codes, which makes .9 of two equal runs, or
    the absolute rank correlation. Agreement is the mean over rows and over columns of largest^2 / sum; a run without
    informative latents gets 0. Duan et al. 2020, section 3, equation 3.

    Raises ValueError for fewer than two runs, tables of different length or another `similarity`.
    """
    if len(runs) < 2 or len({len(codes) for codes in runs}) > 1:
        raise ValueError("udr needs at least two runs, encoded from the same images")
    if similarity not in ("lasso", "spearman"):
        raise ValueError(f"similarity must be lasso or spearman, not {similarity!r}")
    rows = rng.integers(len(runs[0]), size=points)
    tables = [codes[rows].astype(np.float64) for codes in runs]
    kept = [np.ptp(table, axis=0) > 0 for table in tables]
    if kl is not None:
        kept = [mask & (np.asarray(each) > informative_kl) for mask, each in zip(kept, kl, strict=True)]
    tables = [standardised(table[:, mask]) for table, mask in zip(tables, kept, strict=True)]
    measure = _lasso if similarity == "lasso" else _spearman
    agreement = np.zeros((len(runs), len(runs)))
    for i, first in enumerate(tables):
        for j, second in enumerate(tables):
            if i != j and first.shape[1] and second.shape[1]:
                agreement[i, j] = _relative_strength(measure(first, second))
    others = ~np.eye(len(runs), dtype=bool)
    return np.array([np.median(agreement[others[:, j], j]) for j in range(len(runs))])


def _lasso(first: Array, second: Array) -> Array:
    """Absolute weights [latents of the first, latents of the second] of regressing the second on the first."""
    from sklearn.linear_model import Lasso

    weights = Lasso(alpha=0.1).fit(first, second).coef_
    return np.abs(np.reshape(weights, (second.shape[1], first.shape[1]))).T


def _spearman(first: Array, second: Array) -> Array:
    from scipy.stats import rankdata

    ranks = [standardised(rankdata(table, axis=0)) for table in (first, second)]
    correlation: Array = np.abs(ranks[0].T @ ranks[1]) / len(first)
    return correlation


def _relative_strength(likeness: Array) -> float:
    """Mean of largest^2 / sum over the columns and over the rows; 0 for those that are 0 altogether."""
    means = []
    for axis in (0, 1):
        total = likeness.sum(axis=axis)
        strength = np.divide(likeness.max(axis=axis) ** 2, total, out=np.zeros_like(total), where=total > 0)
        means.append(strength.mean())
    return float(np.mean(means))
