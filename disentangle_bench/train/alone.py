"""The reference trainer: one run at a time, plain modules and plain Adam. It is what a trained run means."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.convolution import channels_last
from disentangle_bench.models.objective import Adam, Call, Fitted, Log, Losses, NetworkSize, Objective
from disentangle_bench.spec import NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.train import randomness
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.gradients import distinct_losses, gradients_of
from disentangle_bench.train.loop import Diverged, train
from disentangle_bench.train.memory import keep_freed_memory
from disentangle_bench.train.precision import PRECISIONS, caller

Networks = dict[str, nn.Module]
MOMENTS = {"means": "exp_avg", "squares": "exp_avg_sq"}  # our names and torch's for what Adam keeps


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
    program = Alone(objective, spec, dataset)
    (result,) = train(program, on_steps=on_steps)
    if result.failure is not None:
        raise Diverged(result.failure)
    return Trained(program.networks(0), result.curves, result.seconds)


class Alone:
    """One run's training at some step; a stack of one to the training loop (see `train.loop.Program`)."""

    def __init__(self, objective: Objective, spec: RunSpec, dataset: FactorDataset) -> None:
        self.specs: tuple[RunSpec, ...] = (spec,)
        self.step = 0
        self.compilation = self.capture = "none"
        self.objective = objective
        self.precision = PRECISIONS[spec.training.precision]
        self._networks = build_networks(
            objective, dataset.image_shape, spec.network, spec.seed, dataset.device
        )
        self.on_cpu = dataset.device.type == "cpu"
        if self.on_cpu:
            keep_freed_memory()
        for network in self._networks.values():
            network.to(self.precision.kept)
            if self.on_cpu:
                network.to(memory_format=torch.channels_last)
        self.optimisers = build_optimisers(objective, self._networks, spec.training)
        self.hyper = {
            name: torch.tensor(value, dtype=self.precision.kept, device=dataset.device)
            for name, value in spec.hypers.items()
        }
        self.seed = torch.tensor(spec.seed, device=dataset.device)
        self.batches = Batches(spec.dataset, dataset)
        self.draws = objective.draws(spec.training.batch_size, spec.network.latents)
        self.sums: Log = {}

    def advance(self) -> None:
        """One more step."""
        self.step += 1
        step = torch.tensor(self.step, device=self.seed.device)
        size = self.specs[0].training.batch_size
        images = self.batches.step_images(self.seed, step, self.objective, size)
        noise = in_precision(randomness.draw(self.draws, self.seed, step), self.precision.kept)
        floats = as_floats(images, self.precision.kept)
        floats = channels_last(floats) if self.on_cpu else floats.contiguous()
        log = self._update(floats, noise, step)
        self.sums = {name: self.sums[name] + value for name, value in log.items()} if self.sums else log

    def _update(self, images: Tensor, noise: dict[str, Tensor], step: Tensor) -> Log:
        """Every network moved by its own loss, all gradients taken at the same weights. Returns the log."""
        losses, log = self.objective.losses(self._caller(), images, noise, self.hyper, step)
        for name, gradients in own_gradients(losses, self._networks).items():
            for parameter, gradient in zip(self._networks[name].parameters(), gradients, strict=True):
                parameter.grad = in_order_of(parameter, gradient)
        for optimiser in self.optimisers.values():
            optimiser.step()
        return {name: value.detach() for name, value in log.items()}

    def _caller(self) -> Call:
        """How the objective calls the networks: as they are, where nothing needs to be converted."""
        if self.precision.computed == self.precision.kept:
            return lambda name, inputs: self._networks[name](inputs)
        weights = {name: dict(network.named_parameters()) for name, network in self._networks.items()}
        return caller(self._networks, weights, self.precision)

    def take_sums(self) -> list[dict[str, Tensor]]:
        """Each logged value summed over the steps since the last call."""
        sums, self.sums = self.sums, {}
        return [{name: value.cpu() for name, value in sums.items()}]

    def state(self) -> dict[str, Tensor]:
        """Weights, Adam's moments and unfinished sums, each with a first axis of one run."""
        tensors = {f"sums.{name}": value for name, value in self.sums.items()}
        for name, key, parameter in self._parameters():
            tensors[f"weights.{name}.{key}"] = parameter.detach()
            for ours, theirs in MOMENTS.items():
                tensors[f"{ours}.{name}.{key}"] = self.optimisers[name].state[parameter][theirs]
        return {key: value[None].to("cpu", copy=True) for key, value in tensors.items()}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on from what `state()` gave after `step` steps."""
        self.step = step
        device = self.seed.device
        self.sums = {
            k.removeprefix("sums."): v[0].to(device) for k, v in state.items() if k.startswith("sums.")
        }
        for name, key, parameter in self._parameters():
            parameter.detach().copy_(state[f"weights.{name}.{key}"][0])
            moments = {
                theirs: torch.empty_like(parameter).copy_(state[f"{ours}.{name}.{key}"][0]).detach()
                for ours, theirs in MOMENTS.items()
            }
            # torch's Adam counts its steps per weight, as a float32.
            count = torch.tensor(float(step), device=device)
            self.optimisers[name].state[parameter] = {"step": count, **moments}

    def networks(self, run: int) -> Networks:
        """A copy of the run's networks, in float32."""
        return {
            name: copy.deepcopy(network).to(torch.float32).to(memory_format=torch.contiguous_format)
            for name, network in self._networks.items()
        }

    def _parameters(self) -> list[tuple[str, str, nn.Parameter]]:
        return [
            (name, key, parameter)
            for name, network in self._networks.items()
            for key, parameter in network.named_parameters()
        ]


def in_order_of(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient laid out in memory as its parameter is.

    torch's fused Adam pairs values by their place in memory, and the gradient of a weight that was used transposed may
    lie in another order; updates would go to the wrong weights without a word.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, requires_grad=False).copy_(gradient)


def own_gradients(losses: Losses, networks: Networks) -> dict[str, list[Tensor]]:
    """Each network's gradients of its own loss, in the order of its parameters."""
    weights = {name: list(network.parameters()) for name, network in networks.items()}
    return gradients_of(distinct_losses(losses, networks), weights)


def build_networks(
    objective: Objective | Fitted,
    image_shape: tuple[int, int, int],
    size: NetworkSpec,
    seed: int,
    device: torch.device,
) -> Networks:
    """Freshly initialised networks: the same weights for the same seed on every device."""
    sizes = NetworkSize(**size.model_dump(exclude_none=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.network_seed(seed))
        networks = objective.build(image_shape, sizes)
    return {name: network.to(device) for name, network in networks.items()}


def build_optimisers(
    objective: Objective, networks: Networks, training: TrainingSpec
) -> dict[str, torch.optim.Optimizer]:
    """An Adam for each network, with the objective's settings where it has some of its own, else the grid's."""
    settings = adam_settings(objective, networks, training)
    return {name: _adam(network, settings[name]) for name, network in networks.items()}


def adam_settings(objective: Objective, networks: Networks, training: TrainingSpec) -> dict[str, Adam]:
    """Adam's settings for each network: the objective's own, else the grid's."""
    common = Adam(training.learning_rate, training.adam_betas, training.adam_eps)
    own = objective.adam()
    return {name: own.get(name, common) for name in networks}


def as_floats(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """0..1 from uint8 0..255."""
    return images.to(dtype) / 255


def in_precision(noise: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The drawn float32 numbers in `dtype`; integers as they are."""
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in noise.items()}


def _adam(network: nn.Module, settings: Adam) -> torch.optim.Optimizer:
    # AdamW without weight decay is Adam.
    return torch.optim.AdamW(
        network.parameters(),
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,  # one pass over the weights instead of ten, on a CPU too
    )
