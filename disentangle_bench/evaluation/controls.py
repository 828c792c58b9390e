"""What metrics say of codes whose worth is known: ceilings, floors, and the untrained encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle_bench import randomness
from disentangle_bench.build import build_networks, new_objective
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.pixels import as_floats
from disentangle_bench.evaluation.encode import encode_dataset
from disentangle_bench.evaluation.models import Scoring
from disentangle_bench.evaluation.pool import score_one
from disentangle_bench.evaluation.tables import Truth, numbers_of, values_of
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.metrics.controls import CONTROLS, symmetric
from disentangle_bench.metrics.metric import Codes, Factors
from disentangle_bench.models.objective import with_data_facts
from disentangle_bench.progress import Phases
from disentangle_bench.specs import DatasetSpec, NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.stop import Stop

PCA_IMAGES = 5000  # principal components settle long before; more only takes longer
CODE = 10


@dataclass
class Calibration:
    """`rows`: {"control", "seed", score: value, ...}; `failures`: why a metric gave no score, by metric and control."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def calibrate(
    dataset: FactorDataset, scoring: Scoring, seeds: Sequence[int], phases: Phases, stop: Stop | None = None
) -> Calibration:
    """A row per seed and control on the images that are asked for, and the metrics that raised.

    Controls: the factors themselves (the metric's ceiling here), the same as far as images show them where the data
    set has a symmetry, rotated, duplicated, noisy; random codes; the first ten principal components; the standard
    study's encoder before its first step. None where there are no factors. Raises Stopped when `stop` is asked for.
    """
    if not dataset.factor_names:
        return Calibration()
    controls = len(CONTROLS) + 2 + (dataset.symmetry is not None)
    phases.phase("calibrating", len(seeds) * controls)
    found = Calibration()
    for seed in seeds:
        for name, codes, factors in _controls(dataset, scoring.images.points, seed):
            if stop is not None:
                stop.check()
            report = score_one(codes, factors, scoring.metrics, seed, scoring.metric_seconds)
            found.rows.append({"control": name, "seed": seed} | report["scores"])
            found.failures |= {
                f"{metric} on control {name!r}": why for metric, why in report["failures"].items()
            }
            phases.advance(1)
    return found


def _controls(
    dataset: FactorDataset, points: int | str, seed: int
) -> Iterator[tuple[str, Codes, Factors | Truth]]:
    codes, factors = encode_dataset(untrained(dataset, seed).encode, dataset, points, seed)
    for name, control in CONTROLS.items():
        yield name, control(values_of(factors), np.random.default_rng([seed, *name.encode()])), factors
    if dataset.symmetry is not None:
        yield "symmetric", symmetric_codes(numbers_of(factors), dataset), factors
    yield "untrained", codes, factors
    yield "pca", *encode_dataset(principal_components(dataset, seed), dataset, points, seed)


def symmetric_codes(factors: Factors, dataset: FactorDataset) -> Codes:
    """The control `symmetric` of these rows of a data set that has a symmetry."""
    symmetry = dataset.symmetry
    assert symmetry is not None
    factor, by = (dataset.factor_names.index(name) for name in (symmetry.factor, symmetry.by))
    return symmetric(factors, factor, by, symmetry.seen.cpu().numpy())


def untrained(dataset: FactorDataset, seed: int) -> TrainedModel:
    """The standard VAE with its initial weights, as training with this seed would start."""
    spec = RunSpec.model_validate(
        {
            "dataset": DatasetSpec(name=dataset.name),
            "model": "vae",
            "hypers": {},
            "options": {},
            "seed": seed,
            "network": NetworkSpec(latents=CODE),
            "training": TrainingSpec(),
        }
    )
    objective = with_data_facts(new_objective(spec), len(dataset), dataset.image_shape)
    networks = build_networks(objective, dataset.image_shape, spec.network, seed, dataset.device)
    return TrainedModel(spec, objective, networks, dataset.device, dataset.image_shape)


def principal_components(dataset: FactorDataset, seed: int) -> Callable[[Tensor], Tensor]:
    """An encoder, images to codes: scikit-learn's PCA with ten components, fitted on random images."""
    from sklearn.decomposition import PCA

    stream = randomness.key(torch.tensor(seed), 0, "principal components")
    index = randomness.sample_without_replacement(stream, PCA_IMAGES, len(dataset)).to(dataset.device)
    pca = PCA(CODE, svd_solver="randomized", random_state=seed % 2**32).fit(_pixels(dataset.images(index)))
    return lambda images: torch.from_numpy(pca.transform(_pixels(images)))


def _pixels(images: Tensor) -> NDArray[np.float32]:
    return as_floats(images).flatten(1).cpu().numpy()
