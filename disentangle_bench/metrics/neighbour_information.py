"""Mutual information, in nats, between a continuous latent and a factor, from distances to nearest neighbours."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def neighbour_information(
    latent: Array, factor: NDArray[np.int64], neighbours: int, rng: np.random.Generator
) -> float:
    """An estimate, from 0, of the information that `latent` [points] has of `factor` [points].

    A point's radius reaches to its `neighbours`-th nearest neighbour of the same value (as many as there are, where
    fewer); the more points of other values lie within, the less is known. Values that one point alone has are left
    out. Needs no bins, and equal codes are told apart by a touch of noise. Ross 2014, equation 5.
    """
    from scipy.special import digamma

    spread = latent.std()
    if spread == 0:
        return 0.0
    # Below the resolution of a float32 code, far above that of the float64 that it is added to.
    x = (latent - latent.mean()) / spread + 1e-8 * rng.normal(size=latent.shape)
    order = np.lexsort((x, factor))
    x, factor = x[order], factor[order]
    _, starts, counts = np.unique(factor, return_index=True, return_counts=True)
    groups = [slice(start, start + count) for start, count in zip(starts, counts, strict=True) if count > 1]
    if not groups:
        return 0.0
    kept = np.sort(np.concatenate([x[group] for group in groups]))
    terms = 0.0
    for group in groups:
        mine = x[group]
        nearest = min(neighbours, len(mine) - 1)
        # Just short of the neighbour itself, which is then not counted, by less than noise parts equal codes.
        radius = np.maximum(_distance_to_neighbour(mine, nearest) - 1e-14, 0.0)
        within = np.searchsorted(kept, mine + radius, "right") - np.searchsorted(kept, mine - radius, "left")
        terms += (digamma(nearest) - digamma(len(mine)) - digamma(np.maximum(within, 1))).sum()
    return float(max(digamma(len(kept)) + terms / len(kept), 0.0))


def _distance_to_neighbour(ordered: Array, nearest: int) -> Array:
    """For each of the `ordered` values the distance to its `nearest`-th nearest neighbour.

    That many neighbours are some to the left and the others to the right: the closest such window is it.
    """
    padded = np.concatenate([np.full(nearest, -np.inf), ordered, np.full(nearest, np.inf)])
    windows = [
        np.maximum(
            ordered - padded[left : left + len(ordered)], padded[left + nearest :][: len(ordered)] - ordered
        )
        for left in range(nearest + 1)
    ]
    return np.min(windows, axis=0)
