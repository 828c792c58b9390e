"""Plug-in mutual information between latents cut into bins and factors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.sampling import draw_points

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def equal_width_bins(values: Array | Labels, bins: int) -> Labels:
    """The bin 0..bins-1 of every value [points, columns], of equal widths over the range of its column.

    The largest value belongs to the last bin, and all of a constant column to bin 0. Outliers widen the bins.
    """
    table = values.astype(np.float64, copy=False)
    lowest, highest = table.min(axis=0), table.max(axis=0)
    width = np.where(highest > lowest, highest - lowest, 1.0)
    labels = ((table - lowest) / width * bins).astype(np.int64)
    return np.minimum(labels, bins - 1)


def entropies(labels: Labels) -> Array:
    """The entropy of each column of `labels` [points, columns], integers from 0 on."""
    return np.array([_entropy(np.bincount(column)) for column in labels.T])


@dataclass(frozen=True)
class Information:
    """What latents and factors know of each other, in nats.

    `mutual` information and `joint` entropy are [latents, factors], the others are the entropy of each one.
    """

    mutual: Array
    joint: Array
    of_factors: Array
    of_latents: Array


def information(latents: Labels, factors: Labels) -> Information:
    """The plug-in entropies of binned latents [points, latents] with factors [points, factors], from 0 on."""
    of_latents, of_factors = entropies(latents), entropies(factors)
    joint = np.empty((latents.shape[1], factors.shape[1]))
    columns = np.ascontiguousarray(latents.T)
    for k, factor in enumerate(np.ascontiguousarray(factors.T)):
        scaled = factor * (latents.max() + 1)
        for j, column in enumerate(columns):
            joint[j, k] = _entropy(np.bincount(scaled + column))
    mutual = np.maximum(of_latents[:, None] + of_factors - joint, 0.0)
    return Information(mutual, joint, of_factors, of_latents)


def information_shares(
    codes: NDArray[np.float32],
    factors: Labels,
    *,
    rng: np.random.Generator,
    points: int | None = 10_000,
    bins: int = 20,
) -> Array:
    """How much of each factor's entropy each latent knows, [latents, factors], 0..1: the picture behind MIG.

    Latents are cut into `bins` equal-width bins over `points` rows drawn with replacement (None: all rows), as `mig`
    does. A factor that has one value has no entropy, and its column is 0.
    """
    table, values = draw_points(codes, factors, points, rng)
    found = information(equal_width_bins(table, bins), values)
    entropy = np.where(found.of_factors > 0, found.of_factors, 1.0)
    return found.mutual / entropy


def _entropy(counts: NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
