"""Diagnostics of the codes alone: how many latents are used, and how far they depend on each other."""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Expects, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import equal_width_bins, information
from disentangle_bench.metrics.sampling import draw_points

SMALLEST_EIGENVALUE = np.finfo(np.float64).eps


def unsupervised(
    codes: Codes,
    factors: Factors,
    *,
    rng: np.random.Generator,
    points: int = 10_000,
    active_variance: float = 0.01,
    bins: int = 20,
) -> Scores:
    """Five numbers about the codes, none of which says by itself whether they are good.

    `active_units`: latents whose variance is above `active_variance` (Burda et al. 2016, section 5.3).
    `gaussian_total_correlation`: nats, from 0, between a Gaussian with the codes' covariance and its
    marginals; an exact copy of a latent, for which it is infinite, counts as an eigenvalue of 2e-16 of the
    correlations. `wasserstein_dependence`: squared 2-Wasserstein distance between the same two, from 0, in
    squared code units; `wasserstein_dependence_norm`: that over the sum of variances, 0..1 (Xiao and Wang
    2019). `mean_pairwise_information`: mutual information in nats of two latents cut into `bins` equal-width
    bins, mean over the pairs.

    Constant latents depend on nothing and drop out of the first two dependence measures. Small sample biases
    every measure upwards a little. Constants of Locatello et al. 2019.
    """
    table, _ = draw_points(codes, factors, points, rng)
    centred = table - table.mean(axis=0)
    covariance = centred.T @ centred / (len(table) - 1)
    distance = _wasserstein(covariance)
    variances = np.diag(covariance)
    return {
        "active_units": float((variances > active_variance).sum()),
        "gaussian_total_correlation": _total_correlation(covariance),
        "wasserstein_dependence": distance,
        "wasserstein_dependence_norm": distance / variances.sum() if variances.any() else 0.0,
        "mean_pairwise_information": _mean_pairwise_information(table, bins),
    }


def _total_correlation(covariance: NDArray[np.float64]) -> float:
    eigenvalues = np.linalg.eigvalsh(_correlation(covariance))
    return float(-0.5 * np.log(np.maximum(eigenvalues, SMALLEST_EIGENVALUE)).sum())


def _wasserstein(covariance: NDArray[np.float64]) -> float:
    """2 tr C - 2 tr (D^1/2 C D^1/2)^1/2, with D the diagonal of the covariance C."""
    scale = np.sqrt(np.diag(covariance))
    unit = scale.max() or 1.0
    scaled = covariance / unit**2 * np.outer(scale, scale) / unit**2
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(scaled), 0.0))
    return float(max(2 * np.diag(covariance).sum() - 2 * roots.sum() * unit**2, 0.0))


def _correlation(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    varies = np.diag(covariance) > 0
    kept = covariance[np.ix_(varies, varies)]
    scale = np.sqrt(np.diag(kept))
    return kept / scale[:, None] / scale


def _mean_pairwise_information(codes: NDArray[np.float64], bins: int) -> float:
    latents = codes.shape[1]
    if latents == 1:
        return 0.0
    labels = equal_width_bins(codes, bins)
    mutual = information(labels, labels).mutual
    return float((mutual.sum() - np.trace(mutual)) / (latents * (latents - 1)))


METRIC = Metric(
    score=unsupervised,
    headlines=(),
    paper="Locatello et al. 2019, Challenging Common Assumptions, section 5.4 (arXiv:1811.12359)",
    needs_factors=False,
    expects=Expects(highest=np.inf, scale=False, falls_with_noise=False),
)
