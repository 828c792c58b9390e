"""How long training will take, from a few real steps of each different program on the device at hand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch

from disentangle_bench import registry
from disentangle_bench.spec import RunSpec
from disentangle_bench.train import randomness
from disentangle_bench.train.alone import build_networks, build_optimisers, train_step

WARM_UP, TIMED = 2, 5


def estimate_seconds(
    specs: Sequence[RunSpec], shapes: Mapping[str, tuple[int, int, int]], device: str
) -> float:
    """Seconds of training for these runs one after the other; `shapes` gives each data set's image shape by name."""
    seconds: dict[str, float] = {}
    total = 0.0
    for spec in specs:
        program = str(
            (spec.model, spec.options, spec.network, spec.training.batch_size, shapes[spec.dataset.name])
        )
        if program not in seconds:
            seconds[program] = _seconds_per_step(spec, shapes[spec.dataset.name], torch.device(device))
        total += seconds[program] * spec.training.steps
    return total


def _seconds_per_step(spec: RunSpec, shape: tuple[int, int, int], device: torch.device) -> float:
    """The mean time of a step on random pixels."""
    objective = registry.resolve("model", spec.model)(**spec.options)
    networks = build_networks(objective, shape, spec.network, spec.seed, device)
    optimisers = build_optimisers(objective, networks, spec.training)
    batch = spec.training.batch_size
    seed = torch.tensor(spec.seed, device=device)
    pixels = randomness.uniform(seed, objective.batches * batch * shape[0] * shape[1] * shape[2])
    images = pixels.reshape(-1, *shape)
    hyper = {name: torch.tensor(value, device=device) for name, value in spec.hypers.items()}
    draws = objective.draws(batch, spec.network.latents)
    started = 0.0
    for step in range(1, WARM_UP + TIMED + 1):
        if step == WARM_UP + 1:
            _wait(device)
            started = time.perf_counter()
        noise = randomness.draw(draws, seed, step)
        train_step(objective, networks, optimisers, images, noise, hyper, torch.tensor(step))
    _wait(device)
    return (time.perf_counter() - started) / TIMED


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
