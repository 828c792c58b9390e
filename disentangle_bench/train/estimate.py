"""How long training will take, from a few real steps of each different program on the device at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.objective import Fitted, Objective, is_fitted
from disentangle_bench.spec import DatasetSpec, RunSpec
from disentangle_bench.train.plan import make_program, stack_size, stacks

WARM_UP, TIMED = 5, 10


class Noise:
    """Random pixels in place of a data set's, which need not be there for an estimate."""

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        self.shape, self.device = shape, device

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height, width]."""
        return torch.randint(256, (len(index), *self.shape), dtype=torch.uint8, device=self.device)

    def to(self, device: torch.device) -> Noise:
        """The same on another device."""
        return Noise(self.shape, device)


def estimate_seconds(
    specs: Sequence[RunSpec],
    shapes: Mapping[str, tuple[int, int, int]],
    device: str,
    objective_of: Callable[[RunSpec, FactorDataset], Objective | Fitted],
) -> float:
    """Seconds of training for these runs, stack after stack; `shapes` gives each data set's image shape by name.

    Models that are fitted at once do not count.
    """
    datasets = {name: noise_dataset(shape, torch.device(device)) for name, shape in shapes.items()}
    plain = [spec.model_copy(update={"dataset": DatasetSpec(name=spec.dataset.name)}) for spec in specs]
    objectives = {spec.program: objective_of(spec, datasets[spec.dataset.name]) for spec in plain}
    seconds: dict[tuple[str, int], float] = {}
    total = 0.0
    for stack in stacks(
        plain, lambda group: stack_size(objectives[group[0].program], group, datasets[group[0].dataset.name])
    ):
        objective = objectives[stack[0].program]
        if is_fitted(objective):
            continue
        kind = (stack[0].program, len(stack))
        if kind not in seconds:
            seconds[kind] = _seconds_per_step(objective, stack, datasets[stack[0].dataset.name])
        total += seconds[kind] * stack[0].training.steps
    return total


def noise_dataset(shape: tuple[int, int, int], device: torch.device) -> FactorDataset:
    """A data set of random pixels with two factors of 64 values."""
    return FactorDataset(
        name="noise",
        factor_names=("first", "second"),
        factor_sizes=(64, 64),
        image_shape=shape,
        provenance="noise",
        fingerprint="",
        store=Noise(shape, device),
        device=device,
    )


def _seconds_per_step(objective: Objective, specs: Sequence[RunSpec], dataset: FactorDataset) -> float:
    """The mean time of a step of the stack, after a few to warm up."""
    # Without compiling, which would take longer than anybody waits for an estimate: steps may turn out faster.
    brief = [
        spec.model_copy(update={"training": spec.training.model_copy(update={"steps": WARM_UP + TIMED})})
        for spec in specs
    ]
    program = make_program(objective, brief, dataset)
    started = 0.0
    for step in range(WARM_UP + TIMED):
        if step == WARM_UP:
            program.take_sums()  # waits for the device
            started = time.perf_counter()
        program.advance()
    program.take_sums()
    return (time.perf_counter() - started) / TIMED
