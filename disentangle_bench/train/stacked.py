"""Many runs as one program: every tensor has a first axis of runs, seeds and hyper-parameters are tensors too.

A step is drawn, computed and applied on the device without the host: on a GPU it is compiled once, captured as a CUDA
graph, and then only replayed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from disentangle_bench.build import build_networks
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.forms import Form, use_form
from disentangle_bench.models.objective import Log, Objective
from disentangle_bench.precision import PRECISIONS
from disentangle_bench.specs import RunSpec
from disentangle_bench.train import compiled as compiling
from disentangle_bench.train import step_draws
from disentangle_bench.train.alone import Networks, adam_settings
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.capture import DeviceOnly, Replayed
from disentangle_bench.train.step_draws import StepDraws
from disentangle_bench.train.update import Function, Inputs, Update, Weights

COMPILED = {"product": "compiled", "kernel": "compiled with kernels"}
IN_FLIGHT = 64  # steps that may wait in a GPU's queue; a stop or a checkpoint has to wait for them


class Stacked:
    """The training of runs that share a program, as one (see `train.loop.Training`).

    `form` is that of the layers. `compiled` has torch compile the update; `captured` replays the step as a CUDA graph.
    Where either cannot be had, training goes on without, and `compilation` and `capture` say why. A compiled update of
    kernels is held against a plain one of products, and products are compiled where kernels fail. Raises ValueError
    where the runs differ in more than seed and hyper-parameters.
    """

    def __init__(
        self,
        objective: Objective,
        specs: Sequence[RunSpec],
        dataset: FactorDataset,
        *,
        compiled: bool,
        captured: bool,
        form: Form = "product",
    ) -> None:
        self.specs = tuple(specs)
        if any(spec.program != specs[0].program for spec in specs):
            raise ValueError("runs of one stack differ in nothing but seed and hyper-parameters")
        self.step = 0
        self.objective = objective
        self.device = dataset.device
        self.precision = PRECISIONS[specs[0].training.precision]
        self.batch_size = specs[0].training.batch_size
        self.template, self.weights = self._initial(dataset.image_shape)
        self.means = _zeros_like(self.weights)
        self.squares = _zeros_like(self.weights)
        self.seeds = torch.tensor([spec.seed for spec in specs], device=self.device)
        self.hyper = {
            name: torch.tensor([spec.hypers[name] for spec in specs], dtype=self.precision.kept).to(
                self.device
            )
            for name in specs[0].hypers
        }
        batches = Batches(specs[0].dataset, dataset)
        batches.check(objective)
        noise = objective.draws(self.batch_size, specs[0].network.latents)
        self.draws = StepDraws(batches, objective, noise, self.batch_size)
        self._numbers: step_draws.Function = self.draws.numbers
        # `step`, counted by the device: it says which steps were really taken.
        self.clock = torch.zeros((), dtype=torch.int64, device=self.device)
        self.sums: Log = {}
        training = specs[0].training
        adam = adam_settings(objective, self.template, training)
        # No bound method of the stack: the cycle would keep a dropped stack's memory until the next collection.
        plain_form: Form = "product" if compiled else form
        self.plain_update = Update(objective, self.template, adam, training.precision, plain_form)
        self._update: Function = self.plain_update
        self.compilation = "none"
        self.capture = "none"
        self._to_compile: list[Form] = list(dict.fromkeys((form, plain_form))) if compiled else []
        self._settled = False  # what the update is, and whether steps are captured
        self._look_next = captured
        self._replayed: Replayed | None = None
        self._steps_here = 0
        self._behind = torch.cuda.Event() if self.device.type == "cuda" else None

    def advance(self) -> None:
        """One more step of every run; on a GPU it may only be queued."""
        if self._replayed is not None:
            self._replayed.advance(self._step)
        else:
            self._step()
        self.step += 1
        self._steps_here += 1
        if self._behind is not None and self._steps_here % IN_FLIGHT == 0:
            self._behind.synchronize()
            self._behind.record()

    def take_sums(self) -> list[dict[str, Tensor]]:
        """Each run's logged values summed over the steps since the last call, on the CPU.

        Raises RuntimeError where the device has not done all the steps.
        """
        self._check_clock()
        sums = {name: _on_cpu(value) for name, value in self.sums.items()}
        for value in self.sums.values():
            value.zero_()
        return [{name: value[run] for name, value in sums.items()} for run in range(len(self.specs))]

    def state(self) -> dict[str, Tensor]:
        """Weights, Adam's moments and unfinished sums [runs, ...], on the CPU."""
        self._check_clock()
        tensors = {f"sums.{name}": value for name, value in self.sums.items()} | self._tensors()
        return {key: _on_cpu(value) for key, value in tensors.items()}

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on from what `state()` gave after `step` steps."""
        self.step = step
        self.clock.fill_(step)
        for key, value in self._tensors().items():
            value.copy_(state[key])
        self.sums = {
            key.removeprefix("sums."): value.to(self.device)
            for key, value in state.items()
            if key.startswith("sums.")
        }

    def networks(self, run: int) -> Networks:
        """The run's networks as plain modules in float32."""
        found = copy.deepcopy(self.template)
        use_form(found.values())
        for name, network in found.items():
            # Buffers are constants, the same for all runs, and stand in the template already.
            own = {key: value[run] for key, value in self.weights[name].items()}
            network.load_state_dict(network.state_dict() | own)
            network.to(torch.float32)
        return found

    @property
    def nbytes(self) -> int:
        """Of weights and moments."""
        return sum(value.nbytes for value in self._tensors().values())

    def _tensors(self) -> dict[str, Tensor]:
        """The weights and Adam's moments themselves, by the names that a checkpoint has for them."""
        parts = {"weights": self.weights, "means": self.means, "squares": self.squares}
        return {
            f"{part}.{name}.{key}": value
            for part, networks in parts.items()
            for name, own in networks.items()
            for key, value in own.items()
        }

    def _initial(self, image_shape: tuple[int, int, int]) -> tuple[Networks, Weights]:
        """Networks to run the weights in, and each run's initial weights, those of the run alone."""
        cpu = torch.device("cpu")
        runs = [
            build_networks(self.objective, image_shape, spec.network, spec.seed, cpu) for spec in self.specs
        ]
        # Before the first run's networks move to the device: moving a module moves its own parameters.
        weights = {
            name: {
                key: torch.stack([dict(run[name].named_parameters())[key].detach() for run in runs])
                .to(self.device, self.precision.kept)
                .contiguous()
                for key, _ in network.named_parameters()
            }
            for name, network in runs[0].items()
        }
        template = {name: network.to(self.device, self.precision.kept) for name, network in runs[0].items()}
        return template, weights

    def _step(self) -> None:
        """Everything of one step, from the draws on; nothing of it waits for the host."""
        look = DeviceOnly(self.device) if self._look_next else None
        with look or nullcontext():
            self.clock.add_(1)
            index, noise = self._numbers(self.seeds, self.clock)
            images = self.draws.images(index, self.seeds, self.clock)
        inputs = (self.weights, self.means, self.squares, images, noise, self.hyper, self.clock)
        log = self._update(*inputs) if self._settled else self._unsettled_update(inputs, look)
        if not self.sums:
            self.sums = {name: torch.zeros_like(value) for name, value in log.items()}
        for name, value in log.items():
            self.sums[name].add_(value)

    def _unsettled_update(self, inputs: Inputs, look: DeviceOnly | None) -> Log:
        """The update of the first steps, which settle whether the next ones are compiled and captured.

        There is one such step for each form that is tried, until one can be compiled.
        """
        if self._to_compile:
            log = self._compiled_step(self._to_compile.pop(0), inputs, look)
        else:
            with look or nullcontext():
                log = self._update(*inputs)
        if look is not None:
            self.capture = f"failed: {look.faults[0]}" if look.faults else "captured"
            self._look_next = False
        self._settled = not self._to_compile
        if self._settled and self.capture == "captured":
            self._replayed = Replayed(self.device)
        return log

    def _compiled_step(self, form: Form, inputs: Inputs, look: DeviceOnly | None) -> Log:
        """A step by the compiled update with layers of this form, which is kept where it agrees with the plain one."""
        update = replace(self.plain_update, form=form)
        compiled, wrong, log = compiling.first_step(self.plain_update, update, inputs, look)
        earlier = "" if self.compilation == "none" else f"; kernels {self.compilation}"
        if compiled is None:
            self.compilation = f"failed: {wrong}{earlier}"
            return log
        self._update, self._to_compile = compiled, []
        self._numbers, wrong = compiling.compiled_numbers(self.draws.numbers, self.seeds, self.clock)
        self.compilation = COMPILED[form] + earlier + (wrong and f"; draws failed: {wrong}")
        return log

    def _check_clock(self) -> None:
        """Hold the steps that were asked for against those that the device has done; it waits for the device."""
        done = int(self.clock)
        if done != self.step:
            raise RuntimeError(f"the device has done {done} of {self.step} steps: {self.capture}")


def _zeros_like(weights: Weights) -> Weights:
    return {
        name: {key: torch.zeros_like(value) for key, value in own.items()} for name, own in weights.items()
    }


def _on_cpu(value: Tensor) -> Tensor:
    """A copy, also where it is on the CPU already: the original goes on changing."""
    return value.to("cpu", copy=True)
