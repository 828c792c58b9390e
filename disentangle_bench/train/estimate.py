"""How long training will take, from a few real steps of each different program on the device at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.objective import Fitted, Objective, is_fitted
from disentangle_bench.specs import DatasetSpec, RunSpec
from disentangle_bench.train.plan import make_training, stack_size, stacks
from disentangle_bench.train.timing import seconds_per_step

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


def whole(dataset: DatasetSpec) -> DatasetSpec:
    """The data set without what does not change the cost of a step: its images at their size."""
    return DatasetSpec(name=dataset.name, parameters=dataset.parameters, size=dataset.size)


def estimate_seconds(
    specs: Sequence[RunSpec],
    shapes: Mapping[str, tuple[int, int, int]],
    device: str,
    objective_of: Callable[[RunSpec, FactorDataset], Objective | Fitted],
) -> float:
    """Seconds of training for these runs, stack after stack; `shapes` gives image shapes by `whole` data sets' labels.

    Models that are fitted at once do not count.
    """
    datasets = {name: noise_dataset(shape, torch.device(device)) for name, shape in shapes.items()}
    bare = {spec.dataset.label: whole(spec.dataset) for spec in specs}
    plain = [
        spec
        if spec.dataset == bare[spec.dataset.label]
        else spec.model_copy(update={"dataset": bare[spec.dataset.label]})
        for spec in specs
    ]
    # One of each program: runs by the hundred thousand share few.
    programs = {spec.program: spec for spec in plain}
    objectives = {
        program: objective_of(spec, datasets[spec.dataset.label]) for program, spec in programs.items()
    }
    seconds: dict[tuple[str, int], float] = {}
    total = 0.0

    def size(group: Sequence[RunSpec]) -> int:
        # By memory alone: timing the sizes would take longer than anybody waits for an estimate.
        dataset = datasets[group[0].dataset.label]
        return stack_size(objectives[group[0].program], group, dataset, timed=False).runs

    for stack in stacks(plain, size):
        program = stack[0].program
        objective = objectives[program]
        if is_fitted(objective):
            continue
        kind = (program, len(stack))
        if kind not in seconds:
            seconds[kind] = _seconds_per_step(objective, stack, datasets[stack[0].dataset.label])
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
    """The mean time of a step of the stack, not compiled, which would take long too: steps may turn out faster."""
    brief = [
        spec.model_copy(update={"training": spec.training.model_copy(update={"steps": WARM_UP + TIMED})})
        for spec in specs
    ]
    return seconds_per_step(make_training(objective, brief, dataset), WARM_UP, TIMED)
