"""Score dSprites runs as two papers score theirs, beside this project's own way.

    python benchmarks/protocols.py STUDY... --out docs/results/protocols.csv

Papers that name the same metric measure different things. The code of Lin et al. 2020 (arXiv:1906.06034;
github.com/fjxmlzn/InfoGAN-CR), whose dSprites figures results/published.csv holds, scores 73,728 points drawn with
replacement, each a sample of its posterior instead of the mean. Its FactorVAE and beta-VAE metrics are accuracies on
the 500 training votes themselves, without pruning. Its DCI takes the weights of a Lasso, or the importances of shallow
forests, that predict each factor's value, the shape being a number too.

The code of Chen et al. 2018 (arXiv:1802.04942; github.com/rtqichen/beta-tcvae) takes MIG over four factors, without
the shape, and its entropies from the posteriors' densities instead of a histogram.

Each run gets a row of means and one of samples; two controls come first. The studies must have their weights.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Lasso

from disentangle_bench.data.load import load_dataset
from disentangle_bench.evaluate.load import load_run
from disentangle_bench.evaluate.trained_model import TrainedModel
from disentangle_bench.metrics.beta_vae import beta_vae
from disentangle_bench.metrics.controls import CONTROLS
from disentangle_bench.metrics.dci import concentration, dci
from disentangle_bench.metrics.factor_vae import factor_vae
from disentangle_bench.metrics.mig import mig
from disentangle_bench.models.vae import VAE
from disentangle_bench.records.study_dir import StudyDir

POINTS = 73_728  # a tenth of dSprites
BATCH = 512
PENALTY = 0.02  # of the Lasso
TREES = 10  # of a forest, scikit-learn's default at the time
DEPTHS = (4, 2, 4, 2, 2)  # of the trees for shape, scale, orientation, x, y
DENSITIES_AT = 500  # samples for the entropies of each value of a factor, and twice as many for those of all
PART = 20  # samples whose densities are held at a time

Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = [of_control(name) for name in ("rotated", "random")]
    for study in arguments.studies:
        for path in sorted(StudyDir(study).runs.iterdir()):
            model = load_run(path)
            spec = model.spec
            run = {
                "dataset": spec.dataset.label,
                "model": spec.model,
                **spec.hypers,
                "seed": spec.seed,
                "steps": spec.training.steps,
                "learning_rate": spec.training.learning_rate,
            }
            found, factors = posterior(model)
            of_densities = {"mig_chen": mig_of_densities(found, factors)}
            for name, codes in (("means", found.means), ("samples", found.samples)):
                rows.append({**run, "codes": name, **scores(codes.numpy(), factors), **of_densities})
                print(rows[-1], flush=True)
            table = pd.DataFrame(rows).astype({"seed": "Int64"})
            hypers = [name for name in table if name not in rows[-1]]
            table[[*hypers, *rows[-1]]].to_csv(arguments.out, index=False)


def of_control(name: str) -> dict[str, object]:
    """The row of codes whose worth is known, made from the factors of random points."""
    rng = np.random.default_rng(0)
    dataset = load_dataset("dsprites_rendered")
    factors = dataset.factors(torch.from_numpy(rng.integers(len(dataset), size=POINTS))).numpy()
    codes = CONTROLS[name](factors, rng)
    run = {"dataset": dataset.name, "model": f"control: {name}", "steps": 0}
    return {**run, **scores(codes, factors)}


class Posterior(NamedTuple):
    """What an encoder says of some points, each tensor [points, latents]."""

    means: torch.Tensor
    log_variances: torch.Tensor
    samples: torch.Tensor


def posterior(model: TrainedModel) -> tuple[Posterior, NDArray[np.int64]]:
    """The posteriors of points drawn with replacement, and their factors [points, factors]."""
    assert isinstance(model.objective, VAE)
    dataset = load_dataset(model.spec.dataset.name)
    stream = torch.Generator().manual_seed(model.spec.seed)
    index = torch.randint(len(dataset), (POINTS,), generator=stream)
    parts = []
    with torch.no_grad():
        for part in index.split(BATCH):
            images = dataset.images(part).float() / 255
            mean, log_variance = model.objective.posterior(lambda name, x: model.networks[name](x), images)
            noise = torch.randn(mean.shape, generator=stream)
            parts.append((mean, log_variance, mean + noise * torch.exp(0.5 * log_variance)))
    return Posterior(*map(torch.cat, zip(*parts, strict=True))), dataset.factors(index).numpy()


def mig_of_densities(found: Posterior, factors: NDArray[np.int64]) -> float:
    """MIG over scale, orientation and position, mutual information being H(z) - H(z | factor) of the posteriors."""
    every = Posterior(*(table[: 2 * DENSITIES_AT] for table in found))
    whole = entropies(every.samples, found)
    gaps = []
    for values in torch.from_numpy(factors).T[1:]:
        each = values.unique()
        of_value = [Posterior(*(table[values == value] for table in found)) for value in each]
        given = torch.stack([entropies(one.samples[:DENSITIES_AT], one) for one in of_value]).mean(0)
        best = (whole - given).clamp(min=0).topk(2).values
        gaps.append((best[0] - best[1]) / math.log(len(each)))
    return float(torch.stack(gaps).mean())


def entropies(samples: torch.Tensor, found: Posterior) -> torch.Tensor:
    """Entropy in nats of each latent's mixture of posteriors [latents], at samples of it [samples, latents]."""
    precisions = torch.exp(-found.log_variances)
    constants = found.log_variances + math.log(2 * math.pi)
    total = torch.zeros(samples.shape[1])
    for part in samples.split(PART):
        exponents = (part[:, None] - found.means).square_().mul_(precisions).add_(constants).mul_(-0.5)
        total -= (exponents.logsumexp(1) - math.log(len(found.means))).sum(0)
    return total / len(samples)


def scores(codes: NDArray[np.float32], factors: NDArray[np.int64]) -> dict[str, float]:
    """This project's metrics under their own names, and the paper's with `_cr` behind them."""
    seeds = np.random.SeedSequence(0).spawn(6)
    rng = [np.random.default_rng(seed) for seed in seeds]
    votes = {"train_votes": 500, "eval_votes": 1, "variance_points": POINTS, "prune_std": 0.0}
    return {
        "factor_vae": factor_vae(codes, factors, rng=rng[0])["factor_vae"],
        "factor_vae_cr": factor_vae(codes, factors, rng=rng[1], batch=100, **votes)["factor_vae_train"],
        "mig": mig(codes, factors, rng=rng[2])["mig"],
        "mig_cr": mig(codes, factors, rng=rng[2], points=None)["mig"],
        "beta_vae": beta_vae(codes, factors, rng=rng[3])["beta_vae"],
        "beta_vae_cr": beta_vae(codes, factors, rng=rng[4], train_points=500, batch=50)["beta_vae_train"],
        "dci": dci(codes, factors, rng=rng[5])["dci_disentanglement"],
        "dci_lasso_cr": concentration(lasso_weights(codes, factors)),
        "dci_forest_cr": concentration(forest_importance(codes, factors)),
    }


def lasso_weights(codes: NDArray[np.float32], factors: NDArray[np.int64]) -> Array:
    """Absolute weights [latents, factors] of a Lasso for each factor, codes and values standardised."""
    inputs, targets = standard(codes), standard(factors)
    return np.abs([Lasso(alpha=PENALTY).fit(inputs, target).coef_ for target in targets.T]).T


def forest_importance(codes: NDArray[np.float32], factors: NDArray[np.int64]) -> Array:
    """Importances [latents, factors] of a forest for each factor."""
    inputs, targets = standard(codes), standard(factors)
    return np.array(
        [
            RandomForestRegressor(TREES, max_depth=depth, random_state=0)
            .fit(inputs, target)
            .feature_importances_
            for depth, target in zip(DEPTHS, targets.T, strict=True)
        ]
    ).T


def standard(table: NDArray[np.generic]) -> Array:
    """Columns with mean 0 and standard deviation 1."""
    values = table.astype(np.float64)
    return (values - values.mean(0)) / values.std(0)


if __name__ == "__main__":
    main()
