"""Modularity: does each latent depend on one factor at most?"""

import numpy as np

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import equal_width_bins, information
from disentangle_bench.metrics.sampling import draw_points


def modularity(
    codes: Codes, factors: Factors, *, rng: np.random.Generator, points: int | None = 10_000, bins: int = 20
) -> Scores:
    """Mean over the latents of how far one factor outweighs the others, 0..1.

    A latent's share is 1 - (sum of squared information about all factors but the best) / (squared
    information about the best * (factors - 1)). Information is mutual, between a factor and the latent cut
    into `bins` bins of equal width. Only ratios count, so a latent of pure noise gets a meaningless value
    in between, often 0.5 and more. Constant latents are left out (the study's code counts them as 0 or
    fails). If all are constant, the score is 0.

    Returns `modularity`. Ridgeway and Mozer 2018, section 3; binning of Locatello et al. 2019.
    """
    table, values = draw_points(codes, factors, points, rng)
    squared = information(equal_width_bins(table, bins), values).mutual ** 2
    best = squared.max(axis=1)
    squared, best = squared[best > 0], best[best > 0]
    if not len(best):
        return {"modularity": 0.0}
    others = squared.sum(axis=1) - best
    return {"modularity": float((1 - others / (best * max(factors.shape[1] - 1, 1))).mean())}


METRIC = Metric(
    score=modularity,
    headlines=("modularity",),
    paper="Ridgeway and Mozer 2018, Learning Deep Disentangled Embeddings with the F-Statistic Loss, section 3",
    revision=2,
    expects=Expects(falls_with_noise=False),
)
