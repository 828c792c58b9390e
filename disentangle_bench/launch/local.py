"""The launcher of one device: job after job, here."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.launch.job import device_name, make_objective, run_job
from disentangle_bench.launch.work import Work
from disentangle_bench.progress import Progress
from disentangle_bench.rundir import RunRecord
from disentangle_bench.spec import RunSpec
from disentangle_bench.train.plan import StackSize, stack_size
from disentangle_bench.train.stop import Stop


def run_here(
    work: Work,
    progress: Progress,
    stop: Stop,
    *,
    device: torch.device,
    together: int | None = None,
    checkpoint_every: float = 300.0,
) -> Generator[RunRecord, None, None]:
    """The records of all jobs, each as soon as it is there; one data set after the other is on the device.

    `together`: runs of a stack at most, None for what fits. Raises Stopped when `stop` is asked for.
    """
    for label, data in work.datasets.items():
        if any(spec.dataset.label == label for spec in work.specs):
            yield from _run_on(label, data.to(device), work, progress, stop, together, checkpoint_every)


def _run_on(
    label: str,
    dataset: FactorDataset,
    work: Work,
    progress: Progress,
    stop: Stop,
    together: int | None,
    checkpoint_every: float,
) -> Iterator[RunRecord]:
    """The records of all jobs on this data set, which leaves the device with the last of them."""

    def size(group: Sequence[RunSpec]) -> int:
        return together or work.size_of(
            group, device_name(dataset.device), lambda: _measured(group, dataset, progress, stop)
        )

    for job in work.jobs(label, size):
        stop.check()
        progress.run_started([spec.id for spec in job.specs])
        yield from run_job(
            job, dataset, progress, keep=work.keep, checkpoint_every=checkpoint_every, stop=stop
        )


def _measured(group: Sequence[RunSpec], dataset: FactorDataset, progress: Progress, stop: Stop) -> StackSize:
    """The best size of this group's stacks; every size that is timed gets a line."""

    def before(size: int) -> None:
        stop.check()
        progress.note(f"{group[0].model}: timing a stack of {size} runs")

    found = stack_size(make_objective(group[0], dataset), group, dataset, before=before)
    if found.failure:
        progress.note(f"{group[0].model}: {found.failure}; {found.runs} runs train together")
    return found
