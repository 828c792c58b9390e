"""The launcher of this machine's cores: run after run in processes with a thread each.

Only this process writes the study directory. A run's bits depend on the processor and on the versions of libraries, and
not on how many processes there are. A process that dies costs its task some time, and after some tries its run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from disentangle_bench.errors import BenchError
from disentangle_bench.launch import tasks
from disentangle_bench.launch.calibrate import Calibration
from disentangle_bench.launch.cores import Cores, Task, count_cores
from disentangle_bench.launch.job import Job
from disentangle_bench.launch.tasks import Data, packed, unpacked
from disentangle_bench.launch.work import Work, with_losses
from disentangle_bench.progress import Progress
from disentangle_bench.rundir import RunRecord
from disentangle_bench.train.stop import Stop

RETRIES = 2  # of a task whose process died


@dataclass(frozen=True)
class Jobs:
    """How many processes work on this machine's cores (`count`, None for one a core), and the threads of each."""

    count: int | None = None
    threads: int = 1

    def processes(self, tasks: int) -> int:
        """For so many tasks."""
        return max(1, min(self.count or count_cores() // self.threads, tasks))


class Undertaking(Task):
    """A task of a study: how it is shown, and what becomes of its results. `lost` says how earlier tries ended."""

    def __init__(self, names: Sequence[str], progress: Progress, *call: Any) -> None:
        super().__init__(*call)
        self.names = list(names)
        self.progress = progress
        self.lost: tuple[str, ...] = ()

    def heard(self, kind: str, content: Any) -> None:
        """Show, or keep, what the task tells."""
        if kind == "began":
            if not self.lost:  # else it has begun before
                self.progress.run_started(self.names)
            return
        self.progress.turn_to(self.names)
        if kind == "phase":
            self.progress.phase(*content)
        elif kind == "advance":
            self.progress.advance(content)

    def died(self, how: str) -> Iterator[Undertaking]:
        """What is to be tried again, now that the task's process has died. BenchError where that was tried enough."""
        self.lost = (*self.lost, how)
        if len(self.lost) > RETRIES:
            raise BenchError(f"{self.names[0]} was given up: {how}, {len(self.lost)} times")
        yield self


class Training(Undertaking):
    """A job: its runs are trained and scored."""

    def __init__(
        self,
        job: Job,
        progress: Progress,
        work: Work,
        save: Callable[[RunRecord], None],
        data: Data,
        checkpoint_every: float,
        lost: tuple[str, ...] = (),
    ) -> None:
        resume = None if job.resume is None else packed(job.resume)
        call = (tasks.train, job.without_checkpoint(), resume, data, checkpoint_every)
        super().__init__([spec.id for spec in job.specs], progress, *call)
        self.job, self.work, self.save = job, work, save
        self.data, self.checkpoint_every = data, checkpoint_every
        self.lost = lost

    def heard(self, kind: str, content: Any) -> None:
        """As others; checkpoints and records are kept."""
        super().heard(kind, content)
        if kind == "checkpoint":
            self.work.keep(unpacked(content))
        elif kind == "record":
            self.save(with_losses(content, self.lost))

    def died(self, how: str) -> Iterator[Undertaking]:
        """What is left of the job, from its last checkpoint; or its runs have failed."""
        lost = (*self.lost, how)
        for job in self.work.again(self.job):
            if len(lost) <= RETRIES:
                yield Training(
                    job, self.progress, self.work, self.save, self.data, self.checkpoint_every, lost
                )
                continue
            self.progress.turn_to(self.names)
            for record in self.work.given_up(job, lost, how):
                self.save(record)


class Scoring(Undertaking):
    """A finished run is scored again, and `save` gets what its scores.json is to hold of these metrics.

    Or it gets the reason why the run cannot be read.
    """

    def __init__(
        self, name: str, progress: Progress, save: Callable[[dict[str, Any] | str], None], *arguments: Any
    ) -> None:
        super().__init__([name], progress, tasks.score, *arguments)
        self.save = save

    def heard(self, kind: str, content: Any) -> None:
        """As others; at the end the scores are kept."""
        super().heard(kind, content)
        if kind == "done":
            self.save(content)


class Controls:
    """The controls of a data set, a task for each seed; `save` gets all of them, in the seeds' order."""

    def __init__(
        self, name: str, seeds: Sequence[int], progress: Progress, save: Callable[[Calibration], None]
    ) -> None:
        self.name, self.seeds, self.progress, self.save = name, seeds, progress, save
        self.begun = False
        self.found: dict[int, Calibration] = {}

    def tasks(
        self, metrics: Sequence[str], points: int | str, data: Data, metric_seconds: float | None
    ) -> Iterator[Undertaking]:
        """A task for each seed."""
        for seed in self.seeds:
            yield ControlsOfSeed(self, seed, metrics, points, seed, data, metric_seconds)

    def phase(self, name: str, total: int) -> None:
        """One phase for all seeds."""
        if not self.begun:
            self.progress.phase(name, total * len(self.seeds))
        self.begun = True

    def done(self, seed: int, found: Calibration) -> None:
        """Keep what was found with the last seed."""
        self.found[seed] = found
        if len(self.found) == len(self.seeds):
            self.save(self.together())

    def together(self) -> Calibration:
        """What was found with all seeds, in their order."""
        whole = Calibration()
        for each in (self.found[seed] for seed in self.seeds):
            whole.rows += each.rows
            whole.failures |= each.failures
        return whole


class ControlsOfSeed(Undertaking):
    """The controls of one seed."""

    def __init__(self, whole: Controls, seed: int, *arguments: Any) -> None:
        super().__init__([whole.name], whole.progress, tasks.controls, *arguments)
        self.whole, self.seed = whole, seed

    def heard(self, kind: str, content: Any) -> None:
        """As others, shown as one for all seeds."""
        if kind == "phase":
            self.progress.turn_to(self.names)
            self.whole.phase(*content[:2])
        elif kind != "began" or not self.whole.begun:
            super().heard(kind, content)
        if kind == "done":
            self.whole.done(self.seed, content)


def train_on_cores(
    work: Work,
    progress: Progress,
    save: Callable[[RunRecord], None],
    data: Mapping[str, Data],
    *,
    together: int | None = None,
    checkpoint_every: float = 300.0,
) -> Iterator[Undertaking]:
    """A task for each job of the study, claimed when it is asked for; `together`: runs of a stack, one by default."""
    for label in work.datasets:
        for job in work.jobs(label, lambda group: together or 1):
            yield Training(job, progress, work, save, data[label], checkpoint_every)


def do_on_cores(undertakings: Iterable[Undertaking], cores: Cores[Undertaking], stop: Stop) -> None:
    """Do all of these. Raises Stopped when `stop` is asked for, and BenchError for what the user has to mend."""
    with stop.listening():
        for task, kind, content in cores.words(undertakings, stop):
            if kind == "died":
                cores.again.extend(task.died(content))
            else:
                task.heard(kind, content)
