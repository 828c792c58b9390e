"""UDR, the unsupervised disentanglement ranking: do the latents of several runs of one setting agree?

It compares runs with each other and needs no factors. So it is a function of its own and not one of the
metrics.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes
from disentangle_bench.metrics.standardised import standardised

Array = NDArray[np.float64]

PENALTY = 0.1  # of the Lasso
SWEEPS, SMALLEST_CHANGE = 1_000, 1e-7


def udr(
    runs: Sequence[Codes],
    *,
    rng: np.random.Generator | None = None,
    kl: Sequence[Array] | None = None,
    similarity: Literal["lasso", "spearman"] = "lasso",
    points: int = 1_000,
    informative_kl: float = 0.01,
) -> Array:
    """One score per run, 0..1: the median of its agreement with every other run.

    `runs` are two or more code tables [points, latents] whose rows describe the same images. The models
    differ only in their seed (and perhaps in the number of latents). `rng` draws `points` of the rows;
    without it all rows count. `kl`, one array [latents] per run, is each latent's mean divergence from the
    prior in nats. Latents with at most `informative_kl` do not take part. Without `kl`, only constant
    latents are left out.

    Two runs agree if each informative latent of one run is similar to a single latent of the other.
    Similarity is the absolute weight of a Lasso regression with penalty 0.1 on standardised codes, which
    gives 0.9 for two equal runs, or the absolute rank correlation. Agreement is the mean of two means, over
    the rows and over the columns, of largest^2 / sum. A run without informative latents gets 0. Duan et al.
    2020 (arXiv:1905.12614), section 3, as their code computes it: it gives both runs the same weight,
    whatever the numbers of their informative latents.

    Raises ValueError for fewer than two runs, tables of different length or another `similarity`.
    """
    if len(runs) < 2 or len({len(codes) for codes in runs}) > 1:
        raise ValueError("udr needs at least two runs, encoded from the same images")
    if similarity not in ("lasso", "spearman"):
        raise ValueError(f"similarity must be lasso or spearman, not {similarity!r}")
    rows = slice(None) if rng is None else rng.integers(len(runs[0]), size=points)
    chosen = [codes[rows].astype(np.float64) for codes in runs]
    kept = [np.ptp(table, axis=0) > 0 for table in chosen]
    if kl is not None:
        kept = [mask & (np.asarray(each) > informative_kl) for mask, each in zip(kept, kl, strict=True)]
    if similarity == "spearman":
        from scipy.stats import rankdata  # looked up here: it takes longer than all the rest of a table

        chosen = [rankdata(table, axis=0) for table in chosen]
    correlation, counts = _correlation(chosen, kept)
    likeness = np.abs(_lasso(correlation) if similarity == "lasso" else correlation)
    agreement = _relative_strength(likeness, counts)
    others = ~np.eye(len(runs), dtype=bool)
    return np.array([np.median(agreement[others[:, j], j]) for j in range(len(runs))])


def _correlation(tables: Sequence[Array], kept: Sequence[NDArray[np.bool_]]) -> tuple[Array, Array]:
    """Of every two latents of every two runs, [runs, runs, latents, latents]; and how many latents each run has kept.

    Latents that are not kept, and those that a run with fewer latents lacks, are 0.
    """
    widest = max(table.shape[1] for table in tables)
    values = np.zeros((len(tables), widest, len(tables[0])))
    for i, (table, mask) in enumerate(zip(tables, kept, strict=True)):
        values[i, np.flatnonzero(mask)] = standardised(table[:, mask]).T
    flat = values.reshape(-1, values.shape[2])
    found = (flat @ flat.T / values.shape[2]).reshape(len(tables), widest, len(tables), widest)
    return found.transpose(0, 2, 1, 3), np.array([mask.sum() for mask in kept])


def _lasso(correlation: Array) -> Array:
    """Weights [runs, runs, latents, latents] of Lasso regressions of the second run's latents on the first's.

    All regressions at once, by coordinate descent (Friedman et al. 2010, Journal of Statistical Software 33, equation
    5) on the correlations, which are all that they depend on.
    """
    runs = np.arange(len(correlation))
    gram = correlation[runs, runs]
    weights = np.zeros_like(correlation)
    for _ in range(SWEEPS):
        before = weights.copy()
        for latent in range(correlation.shape[2]):
            own = gram[:, latent, latent, None, None]
            explained = np.einsum("il,ijlq->ijq", gram[:, latent], weights)
            rest = correlation[:, :, latent] - explained + own * weights[:, :, latent]
            shrunk = np.sign(rest) * np.maximum(np.abs(rest) - PENALTY, 0)
            weights[:, :, latent] = np.divide(shrunk, own, out=np.zeros_like(shrunk), where=own > 0)
        if np.abs(weights - before).max() < SMALLEST_CHANGE:
            break
    return weights


def _relative_strength(likeness: Array, counts: Array) -> Array:
    """Mean of largest^2 / sum over the columns and over the rows, for every two runs; 0 where a run has no latents."""
    means = []
    for axis, count in ((2, counts[None, :]), (3, counts[:, None])):
        total = likeness.sum(axis=axis)
        strength = np.divide(likeness.max(axis=axis) ** 2, total, out=np.zeros_like(total), where=total > 0)
        means.append(strength.sum(axis=2) / np.maximum(count, 1))
    both = np.minimum(counts[:, None], counts[None, :]) > 0
    return np.where(both, (means[0] + means[1]) / 2, 0.0)
