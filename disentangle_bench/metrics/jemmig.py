"""JEMMIG, a mutual information gap that also charges for other information in the best informed latent."""

import numpy as np

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import equal_width_bins, information
from disentangle_bench.metrics.sampling import draw_points

# Nats: the same information, added up in another order, differs by less.
ROUNDING = 1e-9


def jemmig(
    codes: Codes, factors: Factors, *, rng: np.random.Generator, points: int | None = 10_000, bins: int = 20
) -> Scores:
    """Mean over the factors of 1 - (H(z, v) - I(z; v) + I(z'; v)) / (H(v) + log bins), 0..1.

    z is the latent with the most information about the factor v, and z' the second best, both cut into
    `bins` bins of equal width. If latents are equally well informed, z is the one with the least other
    information. The joint entropy H(z, v) grows with all other information in z, so a latent that holds two
    factors loses. This is the normalised form, reversed so that 1 is best. The paper's plain form is a sum
    of nats, and 0 is best. Factors with one value are left out. If no factor is left, the score is 0.

    Returns `jemmig`. Do and Tran 2020, section 3.3.
    """
    table, values = draw_points(codes, factors, points, rng)
    found = information(equal_width_bins(table, bins), values)
    varying = np.flatnonzero(found.of_factors)
    if not len(varying):
        return {"jemmig": 0.0}
    ranked = np.sort(np.pad(found.mutual, ((1, 0), (0, 0))), axis=0)[:, varying]
    best_informed = found.mutual[:, varying] >= ranked[-1] - ROUNDING
    joint = np.where(best_informed, found.joint[:, varying], np.inf).min(axis=0)
    excess = joint - ranked[-1] + ranked[-2]
    return {"jemmig": float((1 - excess / (found.of_factors[varying] + np.log(bins))).mean())}


METRIC = Metric(
    score=jemmig,
    headlines=("jemmig",),
    paper="Do and Tran 2020, Theory and Evaluation Metrics for Disentangled Representations (arXiv:1908.09961)",
    revision=2,
    expects=Expects(),
)
