"""Where the runs of a study are trained: on this device, on this machine's cores, on a Ray cluster, or anyone's place.

An installed package offers a launcher by an entry point of the group `disentangle_bench.launchers`, which leads to a
class without arguments; `bench run --launcher NAME` uses it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from disentangle_bench.progress import Progress
    from disentangle_bench.records.run_record import RunRecord
    from disentangle_bench.stop import Stop
    from disentangle_bench.study.work import Work


class Launcher(Protocol):
    """Trains and scores jobs wherever it likes; only the process that calls it writes the study's directory."""

    def run(self, work: Work, progress: Progress, stop: Stop) -> Generator[RunRecord, None, None]:
        """The record of every run of `work.jobs`, finished or failed, each as soon as it is there.

        `study.job.run_job` makes records of a job. Checkpoints go to `work.keep`, losses to `work.losses`. A job that
        was lost is asked for again by `work.again`. Raises Stopped soon after `stop` is asked for, and BenchError for
        the user's mistakes.
        """
        ...
