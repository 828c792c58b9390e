"""MIG-sup, the mutual information gap of the latents: does each latent know only one factor?"""

import numpy as np

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import equal_width_bins, information
from disentangle_bench.metrics.sampling import draw_points


def mig_sup(
    codes: Codes, factors: Factors, *, rng: np.random.Generator, points: int | None = 10_000, bins: int = 20
) -> Scores:
    """Mean over the latents of the gap between the two factors a latent knows best, as shares; 0..1.

    Each latent is cut into `bins` bins of equal width. Its information about a factor is divided by that
    factor's entropy. Constant latents and factors are left out. A latent of noise knows next to nothing
    about any factor and lowers the mean. A duplicated latent does not. So MIG and MIG-sup complement each
    other.

    Returns `mig_sup`. Li et al. 2020, section 5.2.
    """
    table, values = draw_points(codes, factors, points, rng)
    found = information(equal_width_bins(table, bins), values)
    latents, varying = found.of_latents > 0, found.of_factors > 0
    if not latents.any() or not varying.any():
        return {"mig_sup": 0.0}
    known = found.mutual[np.ix_(latents, varying)] / found.of_factors[varying]
    ranked = np.sort(np.pad(known, ((0, 0), (1, 0))), axis=1)
    return {"mig_sup": float((ranked[:, -1] - ranked[:, -2]).mean())}


METRIC = Metric(
    score=mig_sup,
    headlines=("mig_sup",),
    paper="Li et al. 2020, Progressive Learning and Disentanglement of Hierarchical Representations, section 5.2",
    expects=Expects(),
)
