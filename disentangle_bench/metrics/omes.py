"""OMES, the overlap and multiple encoding scores: which latents move when one factor alone is changed?"""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


def omes(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    points: int = 10_000,
    alpha: float = 0.5,
    pooling: str = "mean",
    inactive: float = 0.05,
) -> Scores:
    """How far each factor moves one latent that nothing else moves; 0..1, mean over the factors.

    For each factor, `points` pairs of rows are drawn that differ in this factor alone. The association of a
    latent with the factor is 1 - |r|, where r is the correlation between its codes of the first rows and of
    the second. It is 0 if the factor does not move the latent. Latents with a standard deviation below
    `inactive` are left out.

    The overlap score of a latent and a factor is 1 minus the mean distance between the latent's
    associations with all factors and those of a perfect latent (1 for this factor, 0 elsewhere). Their
    multiple encoding score is the same over the factor's associations with all latents. `alpha` weights
    overlap against multiple encoding. The score of a factor is the mean over latents of association times
    score, weighted by association (`pooling` "mean"), or the largest ("max").

    The two values of a pair are never equal, so their correlation is negative. A perfect latent has the
    association 1 - 1 / (k - 1) with a factor of k equally spaced values, and 0 with a factor of two values.
    So the score of a perfect code is below 1 if factors have few values. Noise has association 1 with every
    factor, so codes of noise score about halfway between 1 / factors and 1 / latents.

    Factors that do not vary are left out, and so are factors without such a pair in the table. If none is
    left, or no latent is active, the score is 0. Returns `omes`, and with `_factor_I` that of each factor
    that took part. Dapueto et al. 2024, section 4, by its authors' code.
    """
    moving = np.flatnonzero(factors.min(axis=0) < factors.max(axis=0))
    active = codes.astype(np.float64)
    active = active[:, active.std(axis=0, ddof=1) >= inactive] if len(active) > 1 else active[:, :0]
    association = {}
    for factor in moving.tolist():
        first, second = pairs_that_differ_in(factor, factors, points, rng)
        if len(first):
            association[factor] = 1 - np.abs(_correlations(active[first], active[second]))
    if not association or not active.shape[1]:
        return {"omes": 0.0}
    scores = _factor_scores(np.stack(list(association.values()), axis=1), alpha, pooling)
    named = {f"omes_factor_{k}": float(score) for k, score in zip(association, scores, strict=True)}
    return {"omes": float(scores.mean()), **named}


def pairs_that_differ_in(
    factor: int, factors: Factors, pairs: int, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Two rows of each of `pairs` pairs that differ in this factor alone; empty where the table has no such pair.

    The first is uniform over the rows that have a partner, the second over its partners.
    """
    others = np.delete(factors, factor, axis=1)
    order = np.lexsort((factors[:, factor], *others.T))
    # Rows lie by the other factors and then by value: partners of a row are its group less those of its own value.
    starts, sizes = _blocks(others[order])
    own_starts, own_sizes = _blocks(factors[order])
    partners = sizes - own_sizes
    having = np.flatnonzero(partners)
    if not len(having):
        return having, having
    first = rng.choice(having, size=pairs)
    step = (rng.random(pairs) * partners[first]).astype(np.intp)
    second = starts[first] + step
    second += np.where(second >= own_starts[first], own_sizes[first], 0)
    return order[first], order[second]


def _blocks(rows: Factors) -> tuple[Rows, Rows]:
    """Where the block of equal rows that each of the sorted rows lies in starts, and how many rows it has."""
    first = np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)])
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(rows)))
    return np.repeat(starts, sizes), np.repeat(sizes, sizes)


def _correlations(first: Array, second: Array) -> Array:
    """The correlation [latents] of each latent's codes in pairs; 1 where they do not vary, for nothing moved them."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    size = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    return np.divide((first * second).sum(axis=0), size, out=np.ones_like(size), where=size > 0).clip(-1, 1)


def _factor_scores(association: Array, alpha: float, pooling: str) -> Array:
    """The score [factors] of each factor by the association [latents, factors]."""
    latents, factors = association.shape
    # The distance to the perfect association: 1 - a at the place itself, a elsewhere.
    own = 1 - 2 * association
    overlap = 1 - (association.sum(axis=1, keepdims=True) + own) / factors
    multiple = 1 - (association.sum(axis=0, keepdims=True) + own) / latents
    return alpha * _pooled(association, overlap, pooling) + (1 - alpha) * _pooled(
        association, multiple, pooling
    )


def _pooled(association: Array, score: Array, pooling: str) -> Array:
    if pooling == "max":
        return (association * score).max(axis=0)
    if pooling != "mean":
        raise ValueError(f"pooling must be mean or max, not {pooling!r}")
    weight = association.sum(axis=0)
    total = (association**2 * score).sum(axis=0)
    return np.divide(total, weight, out=np.zeros_like(weight), where=weight > 0)


METRIC = Metric(
    score=omes,
    headlines=("omes",),
    paper="Dapueto et al. 2024, Transferring Disentangled Representations, section 4 (arXiv:2409.18017)",
    # Once noise drowns the codes, more of it changes nothing.
    expects=Expects(scale=False, falls_with_noise=False),
)
