"""From runs to stacks: those that share a program train together, as many as the device's memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.objective import Fitted, Objective, is_fitted
from disentangle_bench.spec import RunSpec
from disentangle_bench.train.alone import Alone
from disentangle_bench.train.loop import Program
from disentangle_bench.train.stacked import Stacked

MEMORY_SHARE = 0.7  # of the free memory: a captured graph and the allocator's gaps want some too
LARGEST_STACK = 256  # a stack is what a stop or a lost machine can cost
COMPILE_FROM = 10_000  # steps; compiling takes about as long as some thousands of them


def stacks(specs: Sequence[RunSpec], size: Callable[[tuple[RunSpec, ...]], int]) -> list[tuple[RunSpec, ...]]:
    """The runs in stacks of one program each, in the order of their first runs.

    `size(group)` says how many of a group of runs with the same program may train together.
    """
    groups: dict[str, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.program, []).append(spec)
    found: list[tuple[RunSpec, ...]] = []
    for group in groups.values():
        together = size(tuple(group))
        found += [tuple(group[i : i + together]) for i in range(0, len(group), together)]
    return found


def stack_size(objective: Objective | Fitted, specs: Sequence[RunSpec], dataset: FactorDataset) -> int:
    """How many of these runs of one program fit on the device of `dataset` together; 1 on a CPU, or without steps.

    On a CPU stacking does not pay: one run keeps all cores busy. On a GPU a few runs are trained for two steps, and
    the memory that they took at their peak is what one of them needs.
    """
    if is_fitted(objective) or dataset.device.type != "cuda":
        return 1
    few = specs[:2]
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(dataset.device)
    before = torch.cuda.memory_allocated(dataset.device)
    program = Stacked(objective, few, dataset, compiled=False, captured=False)
    for _ in range(2):
        program.advance()
    torch.cuda.synchronize(dataset.device)
    each = (torch.cuda.max_memory_allocated(dataset.device) - before) / len(few)
    del program
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(dataset.device)
    return max(1, min(LARGEST_STACK, len(specs), int(MEMORY_SHARE * free / each)))


def make_program(objective: Objective, specs: Sequence[RunSpec], dataset: FactorDataset) -> Program:
    """The fastest program for these runs on the device of `dataset`: native convolutions for one run on a CPU."""
    cuda = dataset.device.type == "cuda"
    if len(specs) == 1 and not cuda:
        return Alone(objective, specs[0], dataset)
    compiled = cuda and specs[0].training.steps >= COMPILE_FROM
    return Stacked(objective, specs, dataset, compiled=compiled, captured=cuda)
