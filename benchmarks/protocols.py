"""Score finished runs by every paper's protocol, the means of their posteriors and samples of them.

    python benchmarks/protocols.py STUDY... --out docs/results/protocols.csv

A row is what one protocol (disentangle_bench/evaluation/protocols.py) says of one table of codes. Two controls come
first. `mig_of_densities` is Chen et al.'s own MIG, which needs the posteriors, of 73,728 rows. The studies must have
their weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.evaluation.encode import encode_dataset
from disentangle_bench.evaluation.load import load_run
from disentangle_bench.evaluation.protocol_metrics import mig_of_densities
from disentangle_bench.evaluation.protocols import CHEN2018, PROTOCOLS, score_by_protocol
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.metrics.controls import CONTROLS
from disentangle_bench.models.vae import VAE
from disentangle_bench.records.study_dir import StudyDir

COLUMNS = ["factor_vae", "beta_vae", "mig", "mig_of_densities", "sap", "modularity", "explicitness"]
COLUMNS += ["dci_disentanglement", "dci_lasso", "dci_forest", "infom", "infoc", "infoe"]
DENSITY_POINTS = 73_728
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    models = [
        load_run(path) for study in arguments.studies for path in sorted(StudyDir(study).runs.iterdir())
    ]
    rows: list[dict[str, object]] = []
    datasets = {model.spec.dataset.name: load_dataset(model.spec.dataset.name) for model in models}
    for name, dataset in datasets.items():
        factors = dataset.factors(torch.arange(len(dataset))).numpy()
        for control in ("rotated", "random"):
            codes = CONTROLS[control](factors, np.random.default_rng(SEED))
            row = {"dataset": name, "model": f"control: {control}"}
            rows += [row | scores for scores in by_every_protocol(codes, factors, dataset)]
    for model in models:
        dataset = datasets[model.spec.dataset.name]
        means, log_variances, factors = posteriors(model, dataset)
        noise = np.random.default_rng(SEED).normal(size=means.shape).astype(np.float32)
        tables = {"means": means, "samples": means + noise * np.exp(0.5 * log_variances)}
        densities = of_densities(means, log_variances, factors, dataset)
        for codes_are, codes in tables.items():
            row = {
                "dataset": dataset.name,
                "model": model.spec.model,
                **model.spec.hypers,
                "codes": codes_are,
            }
            for scores in by_every_protocol(codes, factors, dataset, codes_are):
                rows.append(row | scores | (densities if scores["protocol"] == CHEN2018.source.name else {}))
    found = pd.DataFrame(rows)
    first = [name for name in found if name not in COLUMNS]
    found[[*first, *(name for name in COLUMNS if name in found)]].to_csv(arguments.out, index=False)


def by_every_protocol(
    codes: NDArray[np.float32], factors: NDArray[np.int64], dataset: FactorDataset, codes_are: str = ""
) -> list[dict[str, object]]:
    """A row a protocol: its name, the rows it scored and those scores that stand in the table.

    The trees of `dlib2019` take many minutes, and samples, which it does not score, go without.
    """
    rows: list[dict[str, object]] = []
    for name, protocol in PROTOCOLS.items():
        asked = [metric for metric, about in protocol.metrics.items() if set(about.headlines) & set(COLUMNS)]
        if name == "dlib2019" and codes_are == "samples":
            asked.remove("dci")
        report = score_by_protocol(name, codes, factors, dataset.factor_names, SEED, asked)
        scores = {key: value for key, value in report["scores"].items() if key in COLUMNS}
        rows.append({"protocol": name, "points": report["points"], **scores})
        print(rows[-1], report["failures"], flush=True)
    return rows


def posteriors(
    model: TrainedModel, dataset: FactorDataset
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Means and log-variances [rows, latents] of the whole data set, and its factors [rows, factors]."""
    objective = model.objective
    assert isinstance(objective, VAE)

    def both(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found = objective.posterior(lambda name, x: model.networks[name](x), images.float() / 255)
        return torch.cat(found, dim=1)

    table, factors = encode_dataset(both, dataset, "all", SEED)
    return *np.split(table, 2, axis=1), factors


def of_densities(
    means: NDArray[np.float32],
    log_variances: NDArray[np.float32],
    factors: NDArray[np.int64],
    dataset: FactorDataset,
) -> dict[str, float]:
    """Chen et al.'s MIG of random rows, without the factors that they leave out."""
    rng = np.random.default_rng(SEED)
    rows = rng.permutation(len(means))[:DENSITY_POINTS]
    kept = factors[:, [name not in CHEN2018.left_out for name in dataset.factor_names]]
    return mig_of_densities(means[rows], log_variances[rows], kept[rows], rng=rng)


if __name__ == "__main__":
    main()
