"""The reference trainer: one run at a time, plain modules and plain Adam. It is what a trained run means."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.objective import Adam, Log, Losses, NetworkSize, Objective
from disentangle_bench.spec import NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.train import randomness
from disentangle_bench.train.batches import Batches

CURVE_POINTS = 200
Networks = dict[str, nn.Module]


class Diverged(Exception):
    """A loss is no longer finite; its message says at which step."""


@dataclass(frozen=True)
class Trained:
    """What training leaves: the networks, a row per recorded interval, and the seconds it took."""

    networks: Networks
    curves: list[dict[str, float]]
    seconds: float


def train_alone(
    objective: Objective,
    spec: RunSpec,
    dataset: FactorDataset,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> Trained:
    """The run `spec` trained on the device of `dataset`; `on_steps(n)` hears of every n further steps done.

    Curves hold the mean of each logged value over an interval of steps (about 200 intervals a run), at the
    interval's last step. Raises Diverged when the loss of an interval is not finite.
    """
    training = spec.training
    networks = build_networks(objective, dataset.image_shape, spec.network, spec.seed, dataset.device)
    optimisers = build_optimisers(objective, networks, training)
    seed = torch.tensor(spec.seed, device=dataset.device)
    hyper = {name: torch.tensor(value, device=dataset.device) for name, value in spec.hypers.items()}
    batches = Batches(spec.dataset, dataset)
    draws = objective.draws(training.batch_size, spec.network.latents)
    interval = max(1, training.steps // CURVE_POINTS)
    curves: list[dict[str, float]] = []
    sums: Log = {}
    started = time.perf_counter()
    for step in range(1, training.steps + 1):
        images = as_floats(batches.images(seed, step, objective.batches * training.batch_size))
        noise = randomness.draw(draws, seed, step)
        log = train_step(objective, networks, optimisers, images, noise, hyper, torch.tensor(step))
        sums = {name: sums[name] + value for name, value in log.items()} if sums else log
        if step % interval == 0 or step == training.steps:
            # The only point of the loop where the host waits for the device.
            curves.append(_curve_row(step, sums, steps=(step - 1) % interval + 1))
            sums = {}
            on_steps((step - 1) % interval + 1)
    if not all(bool(torch.isfinite(p).all()) for network in networks.values() for p in network.parameters()):
        raise Diverged(f"a weight is not finite after step {training.steps}")
    return Trained(networks, curves, time.perf_counter() - started)


def train_step(
    objective: Objective,
    networks: Networks,
    optimisers: dict[str, torch.optim.Optimizer],
    images: Tensor,
    noise: dict[str, Tensor],
    hyper: dict[str, Tensor],
    step: Tensor,
) -> Log:
    """One update of every network from its own loss, all gradients taken at the same parameters. Returns the log."""
    losses, log = objective.losses(lambda name, inputs: networks[name](inputs), images, noise, hyper, step)
    for name, gradients in own_gradients(losses, networks).items():
        for parameter, gradient in zip(networks[name].parameters(), gradients, strict=True):
            parameter.grad = gradient
    for optimiser in optimisers.values():
        optimiser.step()
    return {name: value.detach() for name, value in log.items()}


def own_gradients(losses: Losses, networks: Networks) -> dict[str, list[Tensor]]:
    """Each network's gradients of its own loss, in the order of its parameters; one backward pass a distinct loss.

    Only a loss's own networks are differentiated, so no loss can move another's parameters whatever the graph holds.
    """
    if losses.keys() != networks.keys():
        raise ValueError(f"the objective has losses for {sorted(losses)} and networks {sorted(networks)}")
    owners: dict[int, list[str]] = {}
    for name, loss in losses.items():
        owners.setdefault(id(loss), []).append(name)
    gradients: dict[str, list[Tensor]] = {}
    for position, names in enumerate(owners.values(), start=1):
        parameters = [parameter for name in names for parameter in networks[name].parameters()]
        found = iter(torch.autograd.grad(losses[names[0]], parameters, retain_graph=position < len(owners)))
        for name in names:
            gradients[name] = [next(found) for _ in networks[name].parameters()]
    return gradients


def build_networks(
    objective: Objective,
    image_shape: tuple[int, int, int],
    size: NetworkSpec,
    seed: int,
    device: torch.device,
) -> Networks:
    """Freshly initialised networks: the same weights for the same seed on every device."""
    sizes = NetworkSize(**size.model_dump())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.network_seed(seed))
        networks = objective.build(image_shape, sizes)
    return {name: network.to(device) for name, network in networks.items()}


def build_optimisers(
    objective: Objective, networks: Networks, training: TrainingSpec
) -> dict[str, torch.optim.Optimizer]:
    """An Adam for each network, with the objective's settings where it has some of its own, else the grid's."""
    common = Adam(training.learning_rate, training.adam_betas, training.adam_eps)
    own = objective.adam()
    return {name: _adam(network, own.get(name, common)) for name, network in networks.items()}


def as_floats(images: Tensor) -> Tensor:
    """float32 in 0..1 from uint8 0..255."""
    return images.to(torch.float32) / 255


def _adam(network: nn.Module, settings: Adam) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        network.parameters(), lr=settings.learning_rate, betas=settings.betas, eps=settings.eps
    )


def _curve_row(step: int, sums: Log, steps: int) -> dict[str, float]:
    """Means over the interval; a vector `kl_per_latent` becomes `kl_per_latent_0`, `kl_per_latent_1`, ..."""
    row: dict[str, float] = {"step": step}
    for name, total in sums.items():
        values = (total / steps).tolist()
        row |= (
            {f"{name}_{i}": v for i, v in enumerate(values)} if isinstance(values, list) else {name: values}
        )
    broken = [name for name, value in row.items() if not torch.isfinite(torch.tensor(value))]
    if broken:
        raise Diverged(f"{broken[0]} is not finite by step {step}")
    return row
