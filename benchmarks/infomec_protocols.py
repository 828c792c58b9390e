"""Score 3D Shapes runs by InfoMEC as the versions of its authors' code do, beside this project's own way.

    python benchmarks/infomec_protocols.py STUDY... --out results/protocols_infomec.csv

The repository of Hsu et al. 2023 (arXiv:2305.18378; github.com/kylehkhsu/latent_quantization) has InfoM and InfoC
twice. The file that it offers to others leaves out latents whose range is at most a 20th of the widest, and takes 10
neighbours; the one that its training script logs draws the line at an eighth and takes scikit-learn's 3. InfoE is the
same in both. Quantized latents (QLAE's) are labels to it, not numbers: plug-in information, every latent that takes two
values or more, and a logistic regression on one column a value. The studies must have their weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import OneHotEncoder

from disentangle_bench.data.load import load_dataset
from disentangle_bench.launch.job import load_run
from disentangle_bench.metrics.infomec import concentration, explained, infomec
from disentangle_bench.metrics.mutual_information import information
from disentangle_bench.metrics.sampling import draw_points
from disentangle_bench.rundir import StudyDir
from disentangle_bench.train.trained import encode_dataset

POINTS = 50_000  # as the study; each score draws 10,000 of them
DRAWN = 10_000
VERSIONS = {
    "ours": {"neighbours": 10, "prune_range": 1 / 10},
    "their metric file": {"neighbours": 10, "prune_range": 1 / 20},
    "their training script": {"neighbours": 3, "prune_range": 1 / 8},
}
COLUMNS = ["seed", "steps", "version", "infom", "infoc", "infoe", "infom_active"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    for path in (run for study in arguments.studies for run in sorted(StudyDir(study).runs.iterdir())):
        model = load_run(path)
        spec = model.spec
        codes, factors = encode_dataset(model.encode, load_dataset(spec.dataset.name), POINTS, spec.seed)
        hypers = {name: value for name, value in spec.hypers.items() if name in ("beta", "gamma")}
        run = {"model": spec.model, **hypers, "seed": spec.seed, "steps": spec.training.steps}
        for version, scores in versions(codes, factors, spec.seed, quantized=spec.model == "qlae").items():
            rows.append({**run, "version": version, **scores})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    table[[*(name for name in table if name not in COLUMNS), *COLUMNS]].to_csv(arguments.out, index=False)


def versions(
    codes: NDArray[np.float32], factors: NDArray[np.int64], seed: int, quantized: bool
) -> dict[str, dict[str, float]]:
    """The scores by each version."""
    found = {
        name: infomec(codes, factors, rng=np.random.default_rng(seed), points=DRAWN, **constants)
        for name, constants in VERSIONS.items()
        if name == "ours" or not quantized
    }
    if quantized:
        found["their metric file"] = of_labels(codes, factors, np.random.default_rng(seed))
    return found


def of_labels(
    codes: NDArray[np.float32], factors: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, float]:
    """InfoMEC of codes each of whose values is a label."""
    table, values = draw_points(codes, factors, DRAWN, rng)
    labels = np.stack([np.unique(latent, return_inverse=True)[1] for latent in table.T], axis=1)
    labels = labels[:, labels.max(axis=0) > 0]
    found = information(labels, values)
    shares = found.mutual / found.of_factors
    columns = OneHotEncoder(sparse_output=False).fit_transform(labels)
    return {
        "infom": concentration(shares),
        "infoc": concentration(shares.T),
        "infoe": explained(columns, values),
        "infom_active": float(labels.shape[1]),
    }


if __name__ == "__main__":
    main()
