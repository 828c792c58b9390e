"""The mutual information gap: does exactly one latent know each factor?"""

import numpy as np

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import equal_width_bins, information
from disentangle_bench.metrics.sampling import draw_points


def mig(
    codes: Codes, factors: Factors, *, rng: np.random.Generator, points: int | None = 10_000, bins: int = 20
) -> Scores:
    """Mean over the factors of the gap between the two best informed latents, over the entropy; 0..1.

    Each latent is cut into `bins` bins of equal width over the range of the drawn points. Factors are taken
    as they are. A factor with more values than bins cannot reach 1, so a perfect code gets 0.90 on
    dSprites. `points` rows are drawn with replacement (None: all rows are used). A single latent has no
    rival: the gap is its whole information. Factors with one value have no entropy and are left out. If no
    factor is left, the score is 0.

    Returns `mig`. Chen et al. 2018, equation 6; binning of Locatello et al. 2019.
    """
    table, values = draw_points(codes, factors, points, rng)
    found = information(equal_width_bins(table, bins), values)
    ranked = np.sort(np.pad(found.mutual, ((1, 0), (0, 0))), axis=0)
    varies = found.of_factors > 0
    if not varies.any():
        return {"mig": 0.0}
    gaps = (ranked[-1] - ranked[-2])[varies] / found.of_factors[varies]
    return {"mig": float(gaps.mean())}


METRIC = Metric(
    score=mig,
    headlines=("mig",),
    paper="Chen et al. 2018, Isolating Sources of Disentanglement in VAEs, equation 6 (arXiv:1802.04942)",
    expects=Expects(),
)
