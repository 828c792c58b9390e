"""The reference: one run at a time, plain modules and plain Adam. It is what a trained run means."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from disentangle_bench.build import build_networks
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.pixels import as_floats
from disentangle_bench.models.convolution import channels_last
from disentangle_bench.models.objective import (
    Adam,
    Log,
    Losses,
    Objective,
    Step,
    with_hypers,
)
from disentangle_bench.precision import PRECISIONS
from disentangle_bench.specs import RunSpec, TrainingSpec
from disentangle_bench.train.adam import FusedAdam
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.gradients import distinct_losses, gradients_of
from disentangle_bench.train.memory import keep_freed_memory, map_constants
from disentangle_bench.train.step_draws import Ahead, StepDraws

Networks = dict[str, nn.Module]


class Alone:
    """One run's training at some step; a stack of one to the training loop (see `train.loop.Training`)."""

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
            map_constants()
        for network in self._networks.values():
            network.to(self.precision.kept)
            if self.on_cpu:
                network.to(memory_format=torch.channels_last)
        self._computing = self._networks
        if self.precision.computed != self.precision.kept:
            self._computing = {
                name: _weights_in(copy.deepcopy(network), self.precision.computed)
                for name, network in self._networks.items()
            }
        self._weights: dict[str, list[Tensor]] = {
            name: list(network.parameters()) for name, network in self._computing.items()
        }
        adam = adam_settings(objective, self._networks, spec.training)
        self.optimisers = {
            name: FusedAdam(list(network.parameters()), adam[name])
            for name, network in self._networks.items()
        }
        self.hyper = {
            name: torch.tensor(value, dtype=self.precision.kept, device=dataset.device)
            for name, value in spec.hypers.items()
        }
        self.seed = torch.tensor(spec.seed, device=dataset.device)
        batches = Batches(spec.dataset, dataset)
        batches.check(objective)
        size = spec.training.batch_size
        self.draws = StepDraws(batches, objective, objective.draws(size, spec.network.latents), size)
        self.ahead = Ahead(self.draws, self.seed)
        self.sums: Log = {}

    def advance(self) -> None:
        """One more step."""
        self.step += 1
        step = torch.tensor(self.step, device=self.seed.device)
        index, drawn = self.ahead.numbers(self.step)
        images = self.draws.images(index, self.seed, step)
        noise = in_precision(drawn, self.precision.kept)
        floats = as_floats(images, self.precision.kept)
        floats = channels_last(floats) if self.on_cpu else floats.contiguous()
        log = self._update(floats, noise, step)
        self.sums = {name: self.sums[name] + value for name, value in log.items()} if self.sums else log

    def _update(self, images: Tensor, noise: dict[str, Tensor], step: Tensor) -> Log:
        """Every network moved by its own loss, all gradients taken at the same weights. Returns the log."""
        if self._computing is not self._networks:
            self._convert()
        running = with_hypers(self.objective, self.hyper)
        losses, log = running.losses(self._call, Step(images, noise, step))
        count = step.to(torch.float32)
        for name, gradients in own_gradients(losses, self._weights).items():
            self.optimisers[name].update(gradients, count)
        return {name: value.detach() for name, value in log.items()}

    def _call(self, name: str, inputs: Tensor) -> Tensor:
        """How the objective calls the networks."""
        if self._computing is self._networks:
            return self._networks[name](inputs)
        return self._computing[name](inputs.to(self.precision.computed)).to(self.precision.kept)

    @torch.no_grad()
    def _convert(self) -> None:
        """Give the networks that compute the weights of those that are kept."""
        for name, converted in self._weights.items():
            torch._foreach_copy_(converted, self.optimisers[name].weights)

    def take_sums(self) -> list[dict[str, Tensor]]:
        """Each logged value summed over the steps since the last call."""
        sums, self.sums = self.sums, {}
        return [{name: value.cpu() for name, value in sums.items()}]

    def state(self) -> dict[str, Tensor]:
        """Weights, Adam's moments and unfinished sums, each with a first axis of one run."""
        tensors = {f"sums.{name}": value for name, value in self.sums.items()} | self._tensors()
        return {key: value[None].to("cpu", copy=True) for key, value in tensors.items()}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on from what `state()` gave after `step` steps."""
        self.step = step
        device = self.seed.device
        self.sums = {
            k.removeprefix("sums."): v[0].to(device) for k, v in state.items() if k.startswith("sums.")
        }
        for key, tensor in self._tensors().items():
            tensor.copy_(state[key][0])

    def networks(self, run: int) -> Networks:
        """A copy of the run's networks, in float32."""
        return {
            name: copy.deepcopy(network).to(torch.float32).to(memory_format=torch.contiguous_format)
            for name, network in self._networks.items()
        }

    def _tensors(self) -> dict[str, Tensor]:
        """The weights and Adam's moments themselves, by the names that a checkpoint has for them."""
        found = {}
        for name, network in self._networks.items():
            adam = self.optimisers[name]
            for position, (key, _) in enumerate(network.named_parameters()):
                found[f"weights.{name}.{key}"] = adam.weights[position]
                found[f"means.{name}.{key}"] = adam.means[position]
                found[f"squares.{name}.{key}"] = adam.squares[position]
        return found


def own_gradients(losses: Losses, weights: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    """Each network's gradients of its own loss, in the order of its weights."""
    return gradients_of(distinct_losses(losses, weights), weights)


def _weights_in(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network with its weights in `dtype`; its buffers stay as they are."""
    for weight in network.parameters():
        weight.data = weight.data.to(dtype)
    return network


def adam_settings(objective: Objective, networks: Networks, training: TrainingSpec) -> dict[str, Adam]:
    """Adam's settings for each network: the objective's own, else the grid's."""
    common = Adam(training.learning_rate, training.adam_betas, training.adam_eps)
    own = objective.adam()
    return {name: own.get(name, common) for name in networks}


def in_precision(noise: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The drawn float32 numbers in `dtype`; integers as they are."""
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in noise.items()}
