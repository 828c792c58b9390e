"""Models that are fitted at once, not trained step by step."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.pixels import as_floats
from disentangle_bench.models.objective import Fitted, NetworkSize
from disentangle_bench.specs import RunSpec
from disentangle_bench.train.alone import Networks
from disentangle_bench.train.batches import Batches


@dataclass(frozen=True)
class Trained:
    """What training leaves: the networks, a row per recorded interval, and the seconds it took."""

    networks: Networks
    curves: list[dict[str, float]]
    seconds: float


def train_fitted(objective: Fitted, spec: RunSpec, dataset: FactorDataset) -> Trained:
    """The run `spec` fitted to random images of those it may train on, on the CPU, and moved to the data's device.

    Its curve is one row: step 0 and the reconstruction in nats of the images that it was fitted to.
    """
    started = time.perf_counter()
    seen = Batches(spec.dataset, dataset).training_images(torch.tensor(spec.seed), objective.fit_images).cpu()
    networks = objective.fit(seen, NetworkSize(**spec.network.model_dump()), spec.seed)
    with torch.no_grad():
        noise = torch.zeros(len(seen), spec.network.latents)
        measured = objective.evaluate(lambda name, inputs: networks[name](inputs), as_floats(seen), noise)
    curve: dict[str, float] = {"step": 0, "reconstruction": float(measured["reconstruction_nats"].mean())}
    networks = {name: network.to(dataset.device) for name, network in networks.items()}
    return Trained(networks, [curve], time.perf_counter() - started)
