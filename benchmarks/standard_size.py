"""Does the order of settings in the small track predict that at the standard size? Rank correlations over settings."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from published_runs import read_runs, table
from scipy.stats import spearmanr
from small_track import EXPERIMENT

Settings = dict[tuple[str, str], tuple[str, str]]
# A setting (model, hyper-parameters) at 64 x 64 and what it is at 32 x 32: what is weighed against the reconstruction,
# of which a quarter is left, is divided by four, and the nearest setting of the track is taken.
SHORT: Settings = {
    ("vae", ""): ("beta_vae", "beta=0.5"),
    ("beta_vae", "beta=4"): ("vae", ""),
    ("factor_vae", "gamma=40"): ("factor_vae", "gamma=10"),
    ("beta_tcvae", "beta=6"): ("beta_tcvae", "beta=2"),
    ("dip_vae_1", "diagonal=10, lambda_od=10"): ("dip_vae_1", "diagonal=10, lambda_od=2.5"),
}
LONG: Settings = {
    ("beta_vae", "beta=1"): ("beta_vae", "beta=0.5"),
    ("beta_vae", "beta=4"): ("vae", ""),
    ("factor_vae", "gamma=40"): ("factor_vae", "gamma=10"),
}
STUDIES: dict[str, tuple[list[str], Settings]] = {
    "five settings, 3,000 steps": (["dsprites", "dsprites-models"], SHORT),
    "three settings, 300,000 steps": (["gpu-short"], LONG),
}
MEASURES = ["reconstruction_nats", "factor_vae", "mig", "beta_vae", "dci_disentanglement", "dci_completeness"]
MEASURES += ["sap", "modularity", "explicitness", "irs", "mig_sup", "jemmig", "infoe"]


def prediction() -> str:
    """For each measure and study Spearman's correlation of the means at both sizes, with its exact p-value."""
    lines = []
    for measure in MEASURES:
        line = {"measure": measure}
        for name, (experiments, settings) in STUDIES.items():
            found, p = rank_correlation(*(part[measure].to_numpy() for part in means(experiments, settings)))
            line[name] = f"{found:.2f} (p {p:.2f})"
        lines.append(line)
    return table(lines)


def means(experiments: list[str], settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means over seeds at the standard size and in the track on dSprites: a row a setting, a column a measure."""
    runs = read_runs()
    of = [runs["model"], runs["setting"]]
    standard = runs[runs["experiment"].isin(experiments)].groupby(of)[MEASURES].mean()
    small = runs[(runs["experiment"] == EXPERIMENT) & runs["dataset"].str.startswith("dsprites")]
    return standard.loc[list(settings)], small.groupby(of)[MEASURES].mean().loc[list(settings.values())]


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Spearman's correlation, and the share of all orders of `other` in which it is at least as far from 0."""
    found = spearmanr(one, other).statistic
    orders = [spearmanr(one, order).statistic for order in permutations(other)]
    return float(found), float(np.mean(np.abs(orders) >= abs(found) - 1e-12))
