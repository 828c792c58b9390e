"""The launcher of one device: job after job, in this process."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.device import device_name
from disentangle_bench.progress import PhasesOf, Progress
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.specs import RunSpec
from disentangle_bench.stop import Stop
from disentangle_bench.study.job import Control, run_job
from disentangle_bench.study.work import Work
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.plan import StackSize, stack_size


class Here:
    """Trains on the device of the options."""

    def run(self, work: Work, progress: Progress, stop: Stop) -> Generator[RunRecord, None, None]:
        """A record for each run; one data set after the other is on the device."""
        for label, data in work.datasets.items():
            if any(spec.dataset.label == label for spec in work.specs):
                yield from _run_on(label, data.to(work.options.device), work, progress, stop)


def _run_on(
    label: str, dataset: FactorDataset, work: Work, progress: Progress, stop: Stop
) -> Iterator[RunRecord]:
    """The records of all jobs on this data set, which leaves the device with the last of them."""

    def size(group: Sequence[RunSpec]) -> int:
        return work.options.stack_size or work.size_of(
            group, device_name(dataset.device), lambda: _measured(group, dataset, progress, stop)
        )

    for job in work.jobs(label, size):
        stop.check()
        progress.run_started(job.ids)
        phases, every = PhasesOf(progress, job.ids), work.options.checkpoint_every
        control = Control(phases, work.keep, every, stop, work.losses)
        yield from run_job(job, dataset, control)


def _measured(group: Sequence[RunSpec], dataset: FactorDataset, progress: Progress, stop: Stop) -> StackSize:
    """The best size of this group's stacks; every size that is timed gets a line."""

    def before(size: int) -> None:
        stop.check()
        progress.note(f"{group[0].model}: timing a stack of {size} runs")

    found = stack_size(make_objective(group[0], dataset), group, dataset, before=before)
    if found.failure:
        progress.note(f"{group[0].model}: {found.failure}; {found.runs} runs train together")
    return found
