"""Progress that can also be seen from elsewhere: what is shown here is kept in the study directory too."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from disentangle_bench.progress import Progress
from disentangle_bench.records.costs import Costs
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.status import seconds_left
from disentangle_bench.specs import RunSpec
from disentangle_bench.study.calls import Calls

EVERY = 2.0  # seconds between two versions of the file


class Reported:
    """Hands everything on to `progress`, and keeps this process's progress file up to date during the work.

    `left` are the runs to train, and `costs` what others took: `progress` hears how long the study will take. `calls`
    hear of each run that begins.
    """

    def __init__(
        self, progress: Progress, study: StudyDir, left: Iterable[RunSpec], costs: Costs, calls: Calls
    ) -> None:
        self.progress = progress
        self.directory = study
        self.left = {spec.id: spec for spec in left}
        self.costs = costs
        self.calls = calls
        self.phases: dict[str, dict[str, str | int]] = {}  # by run; those that train together share one
        self.written = 0.0

    @contextmanager
    def study(self, runs: int, done: int = 0) -> Iterator[None]:
        """The file is there within."""
        try:
            with self.progress.study(runs, done):
                self._write()
                yield
        finally:
            self.directory.progress.end()

    def time_left(self, seconds: float | None) -> None:
        """The study will take so many seconds more."""
        self.progress.time_left(seconds)

    def preparing(self, what: str, done: int, total: int) -> None:
        """A data set is being made ready."""
        self.progress.preparing(what, done, total)

    def note(self, text: str) -> None:
        """A line about no run in particular."""
        self.progress.note(text)

    def run_started(self, ids: Sequence[str]) -> None:
        """These runs begin, together."""
        self._set(ids, "", 0, 0)
        self.progress.run_started(ids)
        self.calls.started(ids)

    def phase(self, ids: Sequence[str], name: str, total: int, done: int = 0) -> None:
        """A phase of these runs begins, or goes on."""
        self._set([run_id for run_id in ids if run_id in self.phases], name, total, done)
        self.progress.phase(ids, name, total, done)
        self._write()

    def advance(self, ids: Sequence[str], units: int) -> None:
        """That many units of the phase are done."""
        for phase in {id(phase): phase for phase in map(self.phases.get, ids) if phase}.values():
            phase["done"] = int(phase["done"]) + units
        self.progress.advance(ids, units)
        if time.monotonic() - self.written > EVERY:
            self._write()

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """The run is saved."""
        self.phases.pop(run_id, None)
        self.left.pop(run_id, None)
        # Other processes may work on the study too.
        for other in self.directory.done_among(self.left):
            del self.left[other]
        self._write()
        self.progress.run_finished(run_id, failure)

    def _set(self, ids: Sequence[str], name: str, total: int, done: int) -> None:
        shared: dict[str, str | int] = {"phase": name, "done": done, "total": total}
        self.phases |= {run_id: shared for run_id in ids}

    def _write(self) -> None:
        self.written = time.monotonic()
        jobs = len({id(phase) for phase in self.phases.values()})
        about = {"updated": time.time(), "pid": os.getpid(), "host": platform.node(), "jobs": jobs}
        self.directory.progress.write(about | {"runs": self.phases})
        found = self.directory.progress.each()
        self.progress.time_left(seconds_left(list(self.left.values()), found, self.costs))
