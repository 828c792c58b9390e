"""DCIMIG: the gap of the latent that stands for a factor, as a share of all information."""

import numpy as np

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import equal_width_bins, information
from disentangle_bench.metrics.sampling import draw_points


def dcimig(
    codes: Codes, factors: Factors, *, rng: np.random.Generator, points: int | None = 10_000, bins: int = 20
) -> Scores:
    """Sum over the factors of the largest gap of a latent assigned to each, over their entropies, 0..1.

    Each latent is cut into `bins` bins of equal width and assigned to the factor about which it has most
    information. Its gap is that information minus its information about the next factor. A factor without
    an assigned latent adds nothing. Duplicated and idle latents cost nothing. If no factor varies, the
    score is 0.

    Returns `dcimig`. Sepliarskaia et al. 2019, section 4.
    """
    table, values = draw_points(codes, factors, points, rng)
    found = information(equal_width_bins(table, bins), values)
    ranked = np.sort(np.pad(found.mutual, ((0, 0), (1, 0))), axis=1)
    largest = np.zeros(factors.shape[1])
    np.maximum.at(largest, found.mutual.argmax(axis=1), ranked[:, -1] - ranked[:, -2])
    entropy = found.of_factors.sum()
    return {"dcimig": float(largest.sum() / entropy) if entropy > 0 else 0.0}


METRIC = Metric(
    score=dcimig,
    headlines=("dcimig",),
    paper="Sepliarskaia et al. 2019, Evaluating Disentangled Representations, section 4 (arXiv:1910.05587)",
    expects=Expects(),
)
