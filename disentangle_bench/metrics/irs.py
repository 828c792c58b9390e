"""IRS, the interventional robustness score: does a latent stay the same while all factors but one change?"""

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
    """Robustness of the latents to all factors but one, -1..1; mean over latents, weighted by their range.

    Fix a factor at one value. The deviation of a latent is the `quantile` of |code - mean there|. Its mean
    over the values, divided by the latent's largest deviation from its overall mean, says how much the
    other factors move the latent. The robustness of the latent is 1 minus this, for the factor that gives
    the largest result. Factors with more than `bins` values are cut into that many bins of equal width. The
    weight of a latent is its largest deviation, so latents count by their scale, and constant ones not at
    all. If all are constant, the score is 0.

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
