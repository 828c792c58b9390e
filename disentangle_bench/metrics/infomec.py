"""InfoMEC: modularity, compactness and explicitness, all three as shares of information."""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.logistic_regression import fit_logistic
from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import entropies
from disentangle_bench.metrics.neighbour_information import neighbour_information
from disentangle_bench.metrics.sampling import draw_distinct
from disentangle_bench.metrics.standardised import standardised

Array = NDArray[np.float64]


def infomec(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    points: int = 10_000,
    neighbours: int = 10,
    prune_range: float = 0.1,
) -> Scores:
    """InfoM, InfoC and InfoE of continuous codes, each 0..1.

    The information of each latent about each factor is estimated by `neighbours` nearest neighbours, as a
    share of the factor's entropy.

    - InfoM is the largest share of a latent over the sum of its shares, mean over the latents, rescaled so
      that a latent that knows all factors equally gets 0.
    - InfoC is the same over the factors.
    - InfoE is the share of entropy that an unregularised logistic regression on all latents saves, mean
      over the factors, on the points of the fit. The regression stops after 100 steps of L-BFGS, which is
      part of its definition.

    `points` different rows are drawn, or all are taken if there are no more. With replacement, the copies
    of a row would be its nearest neighbours, and every latent would seem to know nothing.

    Latents whose range is at most `prune_range` of the widest do not take part in InfoM and InfoC. Factors
    that do not vary take no part at all. A single factor, or latent, has nothing to be mixed up with:
    InfoM, or InfoC, is 1. If all codes are constant, all scores are 0.

    Returns `infom`, `infoc`, `infoe` and the number of latents that take part `infom_active`. Hsu et al.
    2023, section 3; continuous latents and discrete factors.
    """
    table, values = draw_distinct(codes, factors, points, rng)
    reach = np.ptp(table, axis=0)
    values = values[:, np.ptp(values, axis=0) > 0]
    if not reach.any() or not values.shape[1]:
        return {"infom": 0.0, "infoc": 0.0, "infoe": 0.0, "infom_active": 0.0}
    active = table[:, reach > prune_range * reach.max()]
    known = np.array(
        [
            [neighbour_information(latent, factor, neighbours, rng) for factor in values.T]
            for latent in active.T
        ]
    )
    shares = known / entropies(values)
    return {
        "infom": concentration(shares),
        "infoc": concentration(shares.T),
        "infoe": explained(table, values),
        "infom_active": float(active.shape[1]),
    }


def concentration(shares: Array) -> float:
    """How far each row of `shares` stands in one column, mean over the rows: 1 when all, 0 when evenly spread."""
    columns = shares.shape[1]
    total = shares.sum(axis=1)
    if columns == 1:
        return float(total.any())
    even = np.full(len(shares), 1 / columns)
    largest = np.divide(shares.max(axis=1), total, out=even, where=total > 0)
    return float((largest.mean() - 1 / columns) / (1 - 1 / columns))


def explained(codes: Array, factors: NDArray[np.int64]) -> float:
    """Mean over the factors of the share of entropy that a linear classifier on standardised codes saves."""
    codes = standardised(codes)
    saved = []
    for values in factors.T:
        model = fit_logistic(codes, values, inverse_penalty=np.inf, balanced=True)
        column = np.searchsorted(model.classes_, values)
        chance = model.predict_proba(codes)[np.arange(len(values)), column]
        loss = -np.log(np.maximum(chance, np.finfo(np.float64).tiny)).mean()
        blind = np.log(len(model.classes_))
        saved.append(max(1 - loss / blind, 0.0))
    return float(np.mean(saved))


METRIC = Metric(
    score=infomec,
    headlines=("infom", "infoc", "infoe"),
    paper="Hsu et al. 2023, Disentanglement via Latent Quantization, section 3 (arXiv:2305.18378)",
    revision=2,
    expects=Expects(scale=False, slack=0.01),
)
