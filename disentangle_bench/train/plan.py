"""From runs to stacks: those that share a program train together, in stacks of the size that is fastest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.models.forms import Form
from disentangle_bench.models.objective import Fitted, Objective, is_fitted
from disentangle_bench.precision import PRECISIONS
from disentangle_bench.specs import RunSpec
from disentangle_bench.stop import Stopped
from disentangle_bench.train.alone import Alone
from disentangle_bench.train.loop import Training
from disentangle_bench.train.stacked import Stacked
from disentangle_bench.train.timing import seconds_per_step

MEMORY_SHARE = 0.7  # of the free memory: a captured graph and the allocator's gaps want some too
# Sizes that are timed: the layers of a small stack stay in the cache, a large stack fills the device.
SIZES = (8, 16, 32, 64, 128)
LARGEST_UNTIMED = 64
LONG_STUDY = 30_000_000  # runs x steps; a study so long pays for timing, which may compile once a size
AS_FAST = 0.98  # of the best: a smaller stack is as good then, and a stop or a lost machine costs less
WARM_UP, TIMED = 8, 50
COMPILE_FROM = 10_000  # steps; compiling takes about as long as some thousands of them


@dataclass(frozen=True)
class StackSize:
    """How many runs of a program train together.

    `speeds` are the runs x steps per second that were measured, by size; `failure` says why a measurement gave none.
    """

    runs: int
    speeds: Mapping[int, float] = field(default_factory=dict)
    failure: str = ""


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


def stack_size(
    objective: Objective | Fitted,
    specs: Sequence[RunSpec],
    dataset: FactorDataset,
    *,
    share: float = 1.0,
    timed: bool = True,
    before: Callable[[int], None] = lambda size: None,
) -> StackSize:
    """How many of these runs of one program train best together on the device of `dataset`; 1 on a CPU.

    On a CPU stacking does not pay: one run keeps all cores busy. On a GPU a stack is as large as the memory holds, and
    at most 64. For a long study stacks of 8, 16, 32, 64 and 128 runs are timed instead, unless `timed` is False.
    `share` of the device's memory is for this process. `before(size)` hears of each size before it is timed, and may
    raise Stopped. What else is raised makes the stack smaller: one run says best for itself that it cannot be trained.
    """
    if is_fitted(objective) or dataset.device.type != "cuda":
        return StackSize(1)
    try:
        fit = most_that_fit(objective, specs, dataset, share)
    except (BenchError, Stopped):
        raise
    except (Exception, SystemExit) as error:
        return StackSize(1, failure=_reason(error))
    finally:
        torch.cuda.empty_cache()
    sizes = [size for size in SIZES if size <= min(fit, len(specs))]
    if not timed or len(sizes) < 2 or len(specs) * specs[0].training.steps < LONG_STUDY:
        return StackSize(max(1, min(fit, len(specs), LARGEST_UNTIMED)))
    return fastest_size(sizes, lambda size: _speed(objective, specs[:size], dataset), before)


def most_that_fit(
    objective: Objective, specs: Sequence[RunSpec], dataset: FactorDataset, share: float = 1.0
) -> int:
    """How many of these runs the device's memory holds, from what two of them take at their peak in two steps."""
    few = specs[:2]
    device = dataset.device
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    stack = Stacked(objective, few, dataset, compiled=False, captured=False)
    for _ in range(2):
        stack.advance()
    torch.cuda.synchronize(device)
    taken = torch.cuda.max_memory_allocated(device) - before
    if compiles(specs[0]):
        taken += stack.nbytes  # the copies of weights and moments that the compiled step is held against
    del stack
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    return int(MEMORY_SHARE * min(free, share * total) / (taken / len(few)))


def fastest_size(
    sizes: Sequence[int], speed: Callable[[int], float], before: Callable[[int], None] = lambda size: None
) -> StackSize:
    """The smallest of the ascending `sizes` that is within 2 % of the most runs x steps per second.

    `speed(size)` measures them. A size whose measurement raises ends the search: larger ones would not do better.
    """
    speeds: dict[int, float] = {}
    failure = ""
    for size in sizes:
        before(size)
        try:
            speeds[size] = speed(size)
        except (BenchError, Stopped):
            raise
        except (Exception, SystemExit) as error:
            failure = f"stack of {size}: {_reason(error)}"
            break
        finally:
            torch.cuda.empty_cache()
    if not speeds:
        return StackSize(1, failure=failure)
    enough = AS_FAST * max(speeds.values())
    best = next(size for size, found in speeds.items() if found >= enough)
    return StackSize(best, speeds, failure)


def compiles(spec: RunSpec) -> bool:
    """Whether a stack of such runs is compiled on a GPU."""
    return spec.training.steps >= COMPILE_FROM


def make_training(objective: Objective, specs: Sequence[RunSpec], dataset: FactorDataset) -> Training:
    """The fastest way to train these runs on the device of `dataset`: native convolutions for one run on a CPU."""
    cuda = dataset.device.type == "cuda"
    if len(specs) == 1 and not cuda:
        return Alone(objective, specs[0], dataset)
    compiled = cuda and compiles(specs[0])
    form = fastest_form(specs[0].training.precision, dataset.device) if compiled else "product"
    return Stacked(objective, specs, dataset, compiled=compiled, captured=cuda, form=form)


def fastest_form(precision: str, device: torch.device) -> Form:
    """The form of compiled layers on a GPU: our own kernels where they were measured to be faster than products."""
    hopper = torch.cuda.get_device_capability(device) == (9, 0)
    return "kernel" if hopper and PRECISIONS[precision].computed == torch.bfloat16 else "product"


def _speed(objective: Objective, specs: Sequence[RunSpec], dataset: FactorDataset) -> float:
    """Runs x steps per second of these runs as they would be trained."""
    return len(specs) / seconds_per_step(make_training(objective, specs, dataset), WARM_UP, TIMED)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
