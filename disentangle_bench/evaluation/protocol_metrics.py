"""What papers' own code measures under the name of a metric, where that is no constant of this package's function.

Lin et al. 2020 (arXiv:1906.06034, github.com/fjxmlzn/InfoGAN-CR) and Chen et al. 2018 (arXiv:1802.04942,
github.com/rtqichen/beta-tcvae) published theirs.
"""

import math
import sys
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.beta_vae import beta_vae
from disentangle_bench.metrics.dci import concentration
from disentangle_bench.metrics.factor_vae import factor_vae
from disentangle_bench.metrics.metric import Codes, Factors, Metric, Scores
from disentangle_bench.metrics.standardised import standardised

PENALTY = 0.02  # of the Lasso
TREES = 10  # of a forest, scikit-learn's default at the time
DEPTHS = (4, 2, 4, 2, 2)  # of the trees for shape, scale, orientation and position of dSprites
PART = 20  # samples whose densities are held at a time
# The share of rows trained on, of a score on its own training rows, is 1.
EVERY_ROW = sys.maxsize

Array = NDArray[np.float64]


def trained_votes(
    codes: Codes, factors: Factors, *, rng: np.random.Generator, prune_std: float = 0.0
) -> Scores:
    """The FactorVAE metric as accuracy on the very 500 votes that named the latents, 0..1; chance is above 1 / factors.

    A vote is of 100 points, and variances are over all rows. Returns `factor_vae` and the number of latents that take
    part `factor_vae_active`.
    """
    constants: dict[str, Any] = {"train_votes": 500, "eval_votes": 1, "batch": 100, "variance_points": None}
    found = factor_vae(codes, factors, rng=rng, prune_std=prune_std, **constants)
    return {"factor_vae": found["factor_vae_train"], "factor_vae_active": found["factor_vae_active"]}


def trained_differences(codes: Codes, factors: Factors, *, rng: np.random.Generator) -> Scores:
    """The beta-VAE metric as accuracy on the 500 points, of 50 pairs each, that the classifier was fitted to.

    Returns `beta_vae`. Of Lin et al. 2020.
    """
    found = beta_vae(codes, factors, rng=rng, train_points=500, eval_points=1, batch=50)
    return {"beta_vae": found["beta_vae_train"]}


def dci_lasso(codes: Codes, factors: Factors, *, rng: np.random.Generator) -> Scores:
    """DCI's disentanglement from the absolute weights of a Lasso for each factor, codes and values standardised.

    Factors are numbers, the shape too. Correlations below the penalty of .02 count for nothing. Codes that know nothing
    get 0 on tables of some 50,000 rows or more and anything up to 1 on smaller ones. Returns `dci_lasso`. Of Lin et
    al. 2020.
    """
    from sklearn.linear_model import Lasso

    inputs, targets = standardised(codes.astype(np.float64)), standardised(factors)
    weights = np.abs([Lasso(alpha=PENALTY).fit(inputs, target).coef_ for target in targets.T])
    return {"dci_lasso": concentration(weights.T)}


def dci_forest(codes: Codes, factors: Factors, *, rng: np.random.Generator) -> Scores:
    """DCI's disentanglement from the importances of a shallow forest for each factor, which is a number.

    Returns `dci_forest`. Of Lin et al. 2020, after github.com/cianeastwood/qedr. Raises ValueError unless there are
    five factors, for the depths are those for dSprites.
    """
    from sklearn.ensemble import RandomForestRegressor

    if factors.shape[1] != len(DEPTHS):
        raise ValueError(
            f"its trees' depths are for the five factors of dSprites, not for {factors.shape[1]}"
        )
    inputs, targets = standardised(codes.astype(np.float64)), standardised(factors)
    importance = []
    for depth, target in zip(DEPTHS, targets.T, strict=True):
        forest = RandomForestRegressor(TREES, max_depth=depth, random_state=int(rng.integers(2**31)))
        importance.append(forest.fit(inputs, target).feature_importances_)
    return {"dci_forest": concentration(np.array(importance).T)}


def mig_of_densities(
    means: NDArray[np.floating],
    log_variances: NDArray[np.floating],
    factors: Factors,
    *,
    rng: np.random.Generator,
    samples: int = 500,
) -> Scores:
    """MIG from the densities of posteriors, whose means and log-variances are [points, latents], not from codes.

    A factor's information is H(z) - H(z | factor), each the mean of -log of the mixture's density at `samples` samples
    of it (twice as many for H(z)), in units of log(values of the factor). Returns `mig_of_densities`. Chen et al. 2018,
    whose code takes 10,000 samples of each; leave the shape of dSprites out, as it does.
    """
    table = np.stack([means, log_variances]).astype(np.float64)
    whole = _entropies(table, 2 * samples, rng)
    gaps = []
    for factor in factors.T:
        values = np.unique(factor)
        given = np.mean([_entropies(table[:, factor == value], samples, rng) for value in values], axis=0)
        known = np.sort(np.maximum(whole - given, 0.0), axis=None)
        gaps.append((known[-1] - known[-2]) / math.log(len(values)))
    return {"mig_of_densities": float(np.mean(gaps))}


def _entropies(posteriors: Array, samples: int, rng: np.random.Generator) -> Array:
    """The entropy in nats of each latent of a mixture of posteriors [mean and log-variance, points, latents]."""
    means, log_variances = posteriors
    drawn = posteriors[:, rng.permutation(len(means))[:samples]]
    at = drawn[0] + rng.normal(size=drawn[0].shape) * np.exp(0.5 * drawn[1])
    precisions, constants = np.exp(-log_variances), log_variances + math.log(2 * math.pi)
    total = np.zeros(means.shape[1])
    for part in np.split(at, range(PART, len(at), PART)):
        exponents = -0.5 * ((part[:, None] - means) ** 2 * precisions + constants)
        largest = exponents.max(axis=1)
        total -= (largest + np.log(np.exp(exponents - largest[:, None]).mean(axis=1))).sum(axis=0)
    return total / len(at)


DCI_LASSO = Metric(
    score=dci_lasso,
    headlines=("dci_lasso",),
    paper="Eastwood and Williams 2018, with the Lasso of Lin et al. 2020 (arXiv:1906.06034)",
)
DCI_FOREST = Metric(
    score=dci_forest,
    headlines=("dci_forest",),
    paper="Eastwood and Williams 2018, with the forests of Lin et al. 2020 (arXiv:1906.06034)",
)
TRAINED_VOTES = Metric(
    score=trained_votes,
    headlines=("factor_vae",),
    paper="Kim and Mnih 2018 (arXiv:1802.05983), on training votes as Lin et al. 2020 (arXiv:1906.06034)",
    training_rows=EVERY_ROW,
)
PRUNED_VOTES = Metric(
    score=partial(trained_votes, prune_std=0.05),
    headlines=("factor_vae",),
    paper="Kim and Mnih 2018, Disentangling by Factorising (arXiv:1802.05983)",
    training_rows=EVERY_ROW,
)
TRAINED_DIFFERENCES = Metric(
    score=trained_differences,
    headlines=("beta_vae",),
    paper="Higgins et al. 2017, on training points as Lin et al. 2020 (arXiv:1906.06034)",
    training_rows=EVERY_ROW,
)
