"""Tasks of a study for processes of this machine: how each is shown, and what becomes of its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.controls import Calibration
from disentangle_bench.evaluation.models import Scoring
from disentangle_bench.processes.cores import Task
from disentangle_bench.progress import Progress
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.study import tasks
from disentangle_bench.study.job import Job
from disentangle_bench.study.tasks import Data, packed, unpacked
from disentangle_bench.study.work import Work, with_losses

RETRIES = 2  # of a task whose process died


class StudyTask(Task):
    """A task of a study. `lost` says how earlier tries ended."""

    def __init__(self, names: Sequence[str], progress: Progress, *call: Any) -> None:
        super().__init__(*call)
        self.names = list(names)
        self.progress = progress
        self.lost: tuple[str, ...] = ()

    def heard(self, kind: str, content: Any) -> Iterator[RunRecord]:
        """Show, or keep, what the task says; the records that came of it."""
        if kind == "began" and not self.lost:  # else it has begun before
            self.progress.run_started(self.names)
        elif kind == "phase":
            self.progress.phase(self.names, *content)
        elif kind == "advance":
            self.progress.advance(self.names, content)
        yield from ()

    def again(self, how: str) -> Sequence[StudyTask]:
        """What is to be tried again, now that the task's process has died. BenchError where that was tried enough."""
        self.lost = (*self.lost, how)
        if len(self.lost) > RETRIES:
            raise BenchError(f"{self.names[0]} was given up: {how}, {len(self.lost)} times")
        return [self]


class TrainTask(StudyTask):
    """A job: its runs are trained and scored."""

    def __init__(
        self, job: Job, progress: Progress, work: Work, data: Data, lost: tuple[str, ...] = ()
    ) -> None:
        resume = None if job.resume is None else packed(job.resume)
        every = work.options.checkpoint_every
        call = (tasks.train, job.without_checkpoint(), resume, data, every)
        super().__init__(job.ids, progress, *call)
        self.job, self.work, self.data = job, work, data
        self.lost = lost

    def heard(self, kind: str, content: Any) -> Iterator[RunRecord]:
        """As others; checkpoints are kept, and records handed on."""
        yield from super().heard(kind, content)
        if kind == "checkpoint":
            self.work.keep(unpacked(content))
        elif kind == "losses":
            self.work.losses(content)
        elif kind == "record":
            yield with_losses(content, self.lost)
        elif kind == "died" and len(self.lost) >= RETRIES:
            for job in self.work.again(self.job):
                yield from self.work.given_up(job, (*self.lost, content), content)

    def again(self, how: str) -> Sequence[StudyTask]:
        """What is left of the job, from its last checkpoint, unless it was tried enough."""
        lost = (*self.lost, how)
        return [
            TrainTask(job, self.progress, self.work, self.data, lost) for job in self.work.again(self.job)
        ]


class ScoreTask(StudyTask):
    """A finished run is scored again, and `save` gets what its scores.json is to hold of these metrics.

    Or it gets the reason why the run cannot be read.
    """

    def __init__(
        self, name: str, progress: Progress, save: Callable[[dict[str, Any] | str], None], *call: Any
    ) -> None:
        super().__init__([name], progress, *call)
        self.save = save

    def heard(self, kind: str, content: Any) -> Iterator[RunRecord]:
        """As others; at the end the scores are kept."""
        if kind == "done":
            self.save(content)
        return super().heard(kind, content)


class ControlTasks:
    """The controls of a data set, a task for each seed; `save` gets all of them, in the seeds' order."""

    def __init__(
        self, name: str, seeds: Sequence[int], progress: Progress, save: Callable[[Calibration], None]
    ) -> None:
        self.name, self.seeds, self.progress, self.save = name, seeds, progress, save
        self.shown: set[str] = set()
        self.found: dict[int, Calibration] = {}

    def tasks(self, scoring: Scoring, data: Data) -> Iterator[StudyTask]:
        """A task for each seed."""
        for seed in self.seeds:
            yield ControlTask(self, seed, scoring, data)

    def phase(self, name: str, total: int) -> None:
        """One phase for all seeds."""
        if self.first("phase"):
            self.progress.phase([self.name], name, total * len(self.seeds))

    def first(self, kind: str) -> bool:
        """Whether no seed has come so far yet."""
        seen = kind in self.shown
        self.shown.add(kind)
        return not seen

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


class ControlTask(StudyTask):
    """The controls of one seed."""

    def __init__(self, whole: ControlTasks, seed: int, scoring: Scoring, data: Data) -> None:
        super().__init__([whole.name], whole.progress, tasks.controls, scoring, seed, data)
        self.whole, self.seed = whole, seed

    def heard(self, kind: str, content: Any) -> Iterator[RunRecord]:
        """As others, shown as one for all seeds."""
        if kind == "phase":
            self.whole.phase(*content[:2])
        elif kind == "done":
            self.whole.done(self.seed, content)
        elif kind != "began" or self.whole.first(kind):
            return super().heard(kind, content)
        return iter(())
