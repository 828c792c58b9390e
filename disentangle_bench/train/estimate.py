"""How long training will take, from a few real steps of each different program on the device at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.objective import Fitted, Objective, is_fitted
from disentangle_bench.records.costs import Kind, kind_of
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


@dataclass
class Estimate:
    """What training will cost on a device: the mean seconds of a run by kind, and how many runs each stack has.

    The kinds are those of `whole` data sets. Models that are fitted at once have no seconds and no stack.
    """

    seconds: dict[Kind, float] = field(default_factory=dict)
    stacks: list[int] = field(default_factory=list)


def estimate(
    specs: Sequence[RunSpec],
    shapes: Mapping[str, tuple[int, int, int]],
    device: str,
    objective_of: Callable[[RunSpec, FactorDataset], Objective | Fitted],
) -> Estimate:
    """What training these runs will cost; `shapes` gives image shapes by `whole` data sets' labels."""
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
    found = Estimate()
    step: dict[tuple[str, int], float] = {}  # seconds of one, by program and size of the stack
    total: dict[Kind, float] = {}
    runs: dict[Kind, int] = {}

    def size(group: Sequence[RunSpec]) -> int:
        # By memory alone: timing the sizes would take longer than anybody waits for an estimate.
        dataset = datasets[group[0].dataset.label]
        return stack_size(objectives[group[0].program], group, dataset, timed=False).runs

    for stack in stacks(plain, size):
        first = stack[0]
        objective = objectives[first.program]
        if is_fitted(objective):
            continue
        found.stacks.append(len(stack))
        case, kind = (first.program, len(stack)), kind_of(first)
        if case not in step:
            step[case] = _seconds_per_step(objective, stack, datasets[first.dataset.label])
        total[kind] = total.get(kind, 0.0) + step[case] * first.training.steps
        runs[kind] = runs.get(kind, 0) + len(stack)
    found.seconds = {kind: total[kind] / runs[kind] for kind in total}
    return found


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
