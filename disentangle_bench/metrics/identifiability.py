"""Scores from work on identifiability: correlations of matched latents and factors, linear regression."""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores, Values
from disentangle_bench.metrics.sampling import draw_points
from disentangle_bench.metrics.standardised import standardised

Array = NDArray[np.float64]


def mcc(
    codes: Codes, factors: Factors | Values, *, rng: np.random.Generator, points: int | None = 10_000
) -> Scores:
    """Mean correlation coefficient, 0..1: each factor is matched with its own, most similar latent.

    The matching has the largest sum of absolute correlations. A factor without a latent, if there are more
    factors than latents, counts as 0, and so does a constant latent. Factors count as numbers in the order
    of their values, even those without an order, such as a shape. Real-valued factors count as they are.
    Latents beyond the number of factors cost nothing.

    Returns `mcc` by Pearson's correlation and `mcc_spearman` by that of ranks, which no monotone map of a
    latent changes, each with its own matching. Hyvarinen and Morioka 2016, section 6 (time-contrastive
    learning).
    """
    from scipy.stats import rankdata

    table, values = draw_points(codes, factors, points, rng)
    return {
        "mcc": _matched(standardised(table), standardised(values)),
        "mcc_spearman": _matched(
            standardised(rankdata(table, axis=0)), standardised(rankdata(values, axis=0))
        ),
    }


def r2_identifiability(
    codes: Codes,
    factors: Factors | Values,
    *,
    rng: np.random.Generator,
    points: int | None = 10_000,
    width: int = 1,
) -> Scores:
    """Share of a factor's variance that linear regression on all latents explains, 0..1; mean over factors.

    The least-squares fit with an intercept is scored on its own points, so codes without information get
    latents / points. Factors count as numbers in the order of their values, even those without an order.
    Real-valued factors count as they are. No invertible linear map of the codes changes the score: it
    measures what the codes contain, not whether it is separated. If every `width` columns are one latent, a
    vector, all columns are read.

    Returns `r2_identifiability` and `_factor_I` of each factor, which is 0 for one that does not vary.
    Zimmermann et al. 2021, Contrastive Learning Inverts the Data Generating Process.
    """
    table, values = draw_points(codes, factors, points, rng)
    directions, sizes, _ = np.linalg.svd(standardised(table), full_matrices=False)
    # Latents that are constant, or sums of others, add no direction.
    directions = directions[:, sizes > sizes.max() * max(table.shape) * np.finfo(np.float32).eps]
    # The columns have mean 0 and variance 1, or are 0 throughout.
    explained = ((directions.T @ standardised(values)) ** 2).sum(axis=0) / len(values)
    return {
        "r2_identifiability": float(explained.mean()),
        **{f"r2_identifiability_factor_{k}": float(share) for k, share in enumerate(explained)},
    }


def _matched(latents: Array, factors: Array) -> float:
    """Mean over the factors of the absolute correlation with the latent of each; both standardised."""
    from scipy.optimize import linear_sum_assignment

    # Rounding can leave a correlation a little above 1.
    strength = np.minimum(np.abs(latents.T @ factors) / len(latents), 1.0)
    return float(strength[linear_sum_assignment(strength, maximize=True)].sum() / factors.shape[1])


MCC = Metric(
    score=mcc,
    headlines=("mcc", "mcc_spearman"),
    paper="Hyvarinen and Morioka 2016, Unsupervised Feature Extraction by Time-Contrastive Learning (arXiv:1605.06336)",
    takes_values=True,
    expects=Expects(),
)
R2 = Metric(
    score=r2_identifiability,
    headlines=("r2_identifiability",),
    paper="Zimmermann et al. 2021, Contrastive Learning Inverts the Data Generating Process (arXiv:2102.08850)",
    takes_width=True,
    takes_values=True,
    expects=Expects(),
)
