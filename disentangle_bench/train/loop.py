"""The training loop: steps, curves, checkpoints, and a stop when somebody asks for one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from disentangle_bench.precision import PRECISIONS, float32_products
from disentangle_bench.specs import RunSpec
from disentangle_bench.stop import Stop, Stopped
from disentangle_bench.train.checkpoint import Checkpoint

CURVE_POINTS = 200
COST = 50  # a checkpoint of one second is taken every 50 seconds at most


class Training(Protocol):
    """The training of one run or of a stack of runs, at some step. All runs are always at the same step."""

    specs: tuple[RunSpec, ...]
    step: int
    compilation: str  # "none", "compiled", "compiled with kernels", or why it could not be
    capture: str  # "none", "captured" as a CUDA graph, or why it could not be

    def advance(self) -> None:
        """One more step of every run. May return before the device has done it."""
        ...

    def take_sums(self) -> list[dict[str, Tensor]]:
        """For each run the logged values summed over the steps since the last call, on the CPU."""
        ...

    def state(self) -> dict[str, Tensor]:
        """All that decides the further course, on the CPU, each tensor with a first axis [runs]."""
        ...

    def restore(self, step: int, state: dict[str, Tensor]) -> None:
        """Go on from what `state()` gave after `step` steps."""
        ...

    def networks(self, run: int) -> dict[str, nn.Module]:
        """The networks of the run at this position of `specs`, as plain modules in float32."""
        ...


@dataclass
class Result:
    """How one run's training went: a row of curves per interval, the seconds spent, and the reason if it failed.

    A run of a stack is charged its share of the stack's seconds.
    """

    curves: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    failure: str | None = None


class CheckpointKeeper:
    """Gives `keep` a checkpoint every so many seconds of training, and rarer where that would cost over 2 %."""

    def __init__(self, keep: Callable[[Checkpoint], None], every: float) -> None:
        self.keep = keep
        self.every = every
        self.wait = every
        self.last = time.perf_counter()

    def due(self, share: float = 1.0) -> bool:
        """Whether that share of the time to wait has passed since the last checkpoint."""
        return time.perf_counter() - self.last > self.wait * share

    def take(self, checkpoint: Checkpoint) -> None:
        """Keep it, and see how long that takes."""
        started = time.perf_counter()
        self.keep(checkpoint)
        self.last = time.perf_counter()
        self.wait = max(self.every, COST * (self.last - started))


def train(
    training: Training,
    *,
    resume: Checkpoint | None = None,
    keeper: CheckpointKeeper | None = None,
    stop: Stop | None = None,
    on_steps: Callable[[int], None] = lambda steps: None,
    on_losses: Callable[[dict[str, dict[str, float]]], None] = lambda rows: None,
) -> list[Result]:
    """Train `training` to its end, from `resume` where one is given; a Result for each of its runs.

    A run whose loss or weights are not finite gets a failure, and the others go on. When `stop` is asked for, a
    checkpoint goes to `keeper` and Stopped is raised; without `keeper` the steps since the start are lost. `on_losses`
    gets each new row of curves by its run's id.
    """
    steps = training.specs[0].training.steps
    interval = max(1, steps // CURVE_POINTS)
    results = [Result() for _ in training.specs]
    if resume is not None:
        training.restore(resume.step, resume.tensors)
        results = [Result(list(run.curves), run.seconds, run.failure) for run in resume.runs]
    reported = training.step
    began = time.perf_counter()
    before = sum(result.seconds for result in results)

    def checkpoint() -> Checkpoint:
        _share_seconds(results, before + time.perf_counter() - began)
        return Checkpoint.of(training.specs, training.step, training.state(), results)

    stop = stop or Stop()
    with float32_products(PRECISIONS[training.specs[0].training.precision]), stop.listening():
        while training.step < steps and any(result.failure is None for result in results):
            training.advance()
            if training.step % interval == 0 or training.step == steps:
                # The only point of the loop where the host waits for the device.
                _record(training, results, (training.step - 1) % interval + 1)
                on_steps(training.step - reported)
                on_losses(_new_rows(training, results))
                reported = training.step
            if training.step == steps:
                break
            if stop.requested:
                if keeper is not None:
                    keeper.take(checkpoint())
                raise Stopped(stop.reason)
            if keeper is not None and keeper.due():
                keeper.take(checkpoint())
        _check_weights(training, results)
    _share_seconds(results, before + time.perf_counter() - began)
    if keeper is not None and keeper.due(share=0.1):
        keeper.take(checkpoint())  # what follows, scoring, may be stopped too
    return results


def _record(training: Training, results: list[Result], steps: int) -> None:
    """A row of curves for each run: means over the last `steps` steps. A run that diverged gets its reason."""
    for result, sums in zip(results, training.take_sums(), strict=True):
        if result.failure is not None:
            continue
        row = curve_row(training.step, sums, steps)
        broken = [name for name, value in row.items() if not math.isfinite(value)]
        if broken:
            result.failure = f"{broken[0]} is not finite by step {training.step}"
        else:
            result.curves.append(row)


def _new_rows(training: Training, results: list[Result]) -> dict[str, dict[str, float]]:
    """The last row of each run that has not failed, by its id."""
    each = zip(training.specs, results, strict=True)
    return {spec.id: result.curves[-1] for spec, result in each if result.failure is None}


def curve_row(step: int, sums: dict[str, Tensor], steps: int) -> dict[str, float]:
    """Means over the interval; a vector `kl_per_latent` becomes `kl_per_latent_0`, `kl_per_latent_1`, ..."""
    row: dict[str, float] = {"step": step}
    # Sums that come from a checkpoint are in another order.
    for name, total in sorted(sums.items()):
        values = (total / steps).tolist()
        row |= (
            {f"{name}_{i}": v for i, v in enumerate(values)} if isinstance(values, list) else {name: values}
        )
    return row


def _check_weights(training: Training, results: list[Result]) -> None:
    for run, result in enumerate(results):
        if result.failure is None:
            weights = [p for network in training.networks(run).values() for p in network.parameters()]
            if not all(bool(torch.isfinite(weight).all()) for weight in weights):
                result.failure = f"a weight is not finite after step {training.step}"


def _share_seconds(results: list[Result], seconds: float) -> None:
    for result in results:
        result.seconds = seconds / len(results)
