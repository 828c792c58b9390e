"""IRS, the interventional robustness score: does a latent stay put while all factors but one change?"""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import equal_width_bins
from disentangle_bench.metrics.sampling import draw_points


def irs(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    points: int = 10_000,
    quantile: float = 0.99,
    bins: int = 20,
) -> Scores:
    """Mean over the latents, weighted by how far they reach, of their robustness to all factors but one;
    -1..1.

    For a factor held at one value, a latent's deviation is the `quantile` of |code - mean there|; its mean
    over the values, over the latent's largest deviation from its mean over all points, is how much the other
    factors move it. One less this, for the factor with which it is largest, is the latent's robustness.
    Factors with more than `bins` values are cut into that many equal-width bins. The weight of a latent is
    its largest deviation, so latents count by their scale; constant ones have none. 0 where all are constant.

    Returns `irs` and the number of latents that vary `irs_active`. Suter et al. 2019, section 4; `quantile`
    of Locatello et al. 2019 (the paper takes the maximum, 1).
    """
    table, values = draw_points(codes, factors, points, rng)
    varies = table.min(axis=0) < table.max(axis=0)
    if not varies.any():
        return {"irs": 0.0, "irs_active": 0.0}
    table = table[:, varies]
    reach = np.abs(table - table.mean(axis=0)).max(axis=0)
    moved = [_mean_deviation(table, column, quantile) for column in equal_width_bins(values, bins).T]
    robust = 1 - np.min(moved, axis=0) / reach
    return {"irs": float(np.average(robust, weights=reach)), "irs_active": float(varies.sum())}


def _mean_deviation(
    codes: NDArray[np.float64], factor: NDArray[np.int64], quantile: float
) -> NDArray[np.float64]:
    """Each latent's deviation [latents] while the factor is held, averaged over the factor's values."""
    deviations = []
    for value in np.unique(factor):
        held = codes[factor == value]
        deviations.append(np.quantile(np.abs(held - held.mean(axis=0)), quantile, axis=0))
    return np.mean(deviations, axis=0)


METRIC = Metric(
    score=irs,
    headlines=("irs",),
    paper="Suter et al. 2019, Robustly Disentangled Causal Mechanisms, section 4 (arXiv:1811.00007)",
    expects=Expects(lowest=-1.0, scale=False),
)
