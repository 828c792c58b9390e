"""What metrics say of codes whose worth is known: ceilings, floors, and the untrained encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.launch.job import Watcher, make_objective
from disentangle_bench.metrics.controls import CONTROLS
from disentangle_bench.metrics.metric import Codes, Factors
from disentangle_bench.scoring import score_codes
from disentangle_bench.spec import DatasetSpec, NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.train import randomness
from disentangle_bench.train.alone import as_floats, build_networks
from disentangle_bench.train.trained import TrainedModel, encode_dataset

PCA_IMAGES = 5000  # principal components settle long before; more only takes longer
CODE = 10


def calibrate(
    dataset: FactorDataset, metrics: Sequence[str], points: int | str, seed: int, watcher: Watcher
) -> list[dict[str, Any]]:
    """A row per control, {"control", "seed", score: value, ...}, on `points` random images ("all": every one).

    Controls: the factors themselves (the metric's ceiling here), rotated, duplicated, noisy; random codes; the first
    ten principal components; the standard study's encoder before its first step.
    """
    watcher.phase("calibrating", len(CONTROLS) + 2)
    rows = []
    for name, codes, factors in _controls(dataset, points, seed):
        rows.append({"control": name, "seed": seed} | score_codes(codes, factors, metrics=metrics, seed=seed))
        watcher.advance(1)
    return rows


def _controls(dataset: FactorDataset, points: int | str, seed: int) -> Iterator[tuple[str, Codes, Factors]]:
    codes, factors = encode_dataset(untrained(dataset, seed).encode, dataset, points, seed)
    for name, control in CONTROLS.items():
        yield name, control(factors, np.random.default_rng([seed, *name.encode()])), factors
    yield "untrained", codes, factors
    yield "pca", *encode_dataset(principal_components(dataset, seed), dataset, points, seed)


def untrained(dataset: FactorDataset, seed: int) -> TrainedModel:
    """The standard VAE with its initial weights, as training with this seed would start."""
    spec = RunSpec(
        dataset=DatasetSpec(name=dataset.name),
        model="vae",
        hypers={},
        options={},
        seed=seed,
        network=NetworkSpec(latents=CODE),
        training=TrainingSpec(),
    )
    objective = make_objective(spec, dataset)
    networks = build_networks(objective, dataset.image_shape, spec.network, seed, dataset.device)
    return TrainedModel(spec, objective, networks, dataset.device)


def principal_components(dataset: FactorDataset, seed: int) -> Callable[[Tensor], Tensor]:
    """An encoder, images to codes: scikit-learn's PCA with ten components, fitted on random images."""
    stream = randomness.key(torch.tensor(seed), 0, "principal components")
    index = randomness.sample_without_replacement(stream, PCA_IMAGES, len(dataset)).to(dataset.device)
    pca = PCA(CODE, svd_solver="randomized", random_state=seed % 2**32).fit(_pixels(dataset.images(index)))
    return lambda images: torch.from_numpy(pca.transform(_pixels(images)))


def _pixels(images: Tensor) -> NDArray[np.float32]:
    return as_floats(images).flatten(1).cpu().numpy()
