"""The launcher of this machine's cores: run after run in processes with a thread each.

Only this process writes the study directory. A run's bits depend on the processor and on the versions of libraries, and
not on how many processes there are. A process that dies costs its task some time, and after some tries its run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from disentangle_bench.processes.cores import Cores
from disentangle_bench.progress import Progress
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.stop import Stop
from disentangle_bench.study.core_tasks import StudyTask, TrainTask
from disentangle_bench.study.options import Jobs
from disentangle_bench.study.work import Work


@dataclass(frozen=True)
class OnCores:
    """`jobs` are the processes; `first` are `count` tasks that come before training, on the same processes."""

    jobs: Jobs
    first: Iterable[StudyTask] = ()
    count: int = 0

    def run(self, work: Work, progress: Progress, stop: Stop) -> Generator[RunRecord, None, None]:
        """A record for each run; a stack has one run unless the options say otherwise."""
        size = work.options.stack_size or 1
        trainings = (
            TrainTask(job, progress, work, work.study.data(job.specs[0].dataset))
            for label in work.datasets
            for job in work.jobs(label, lambda group: size)
        )
        processes = self.jobs.processes(self.count + len(work.specs))
        with Cores[StudyTask](processes, self.jobs.threads) as cores:
            yield from do_tasks(chain(self.first, trainings), cores, stop)


def do_tasks(tasks: Iterable[StudyTask], cores: Cores[StudyTask], stop: Stop) -> Iterator[RunRecord]:
    """Do all of these, and hand on the records that come of them.

    Raises Stopped when `stop` is asked for, and BenchError for what the user has to mend.
    """
    with stop.listening():
        for task, kind, content in cores.words(tasks, stop):
            yield from task.heard(kind, content)
            if kind == "died":
                cores.again.extend(task.again(content))
