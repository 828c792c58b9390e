"""Progress that can also be seen from elsewhere: what is shown here is kept in the study directory too."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from disentangle_bench.progress import Progress
from disentangle_bench.records.study_dir import StudyDir

EVERY = 2.0  # seconds between two versions of the file


class Reported:
    """Hands everything on to `progress`, and keeps this process's progress file up to date during the work."""

    def __init__(self, progress: Progress, study: StudyDir) -> None:
        self.progress = progress
        self.directory = study
        self.phases: dict[str, dict[str, str | int]] = {}  # by run; those that train together share one
        self.written = 0.0

    @contextmanager
    def study(self, runs: int) -> Iterator[None]:
        """The file is there within."""
        self._write()
        try:
            with self.progress.study(runs):
                yield
        finally:
            self.directory.progress.end()

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
        self.progress.run_finished(run_id, failure)
        self._write()

    def _set(self, ids: Sequence[str], name: str, total: int, done: int) -> None:
        shared: dict[str, str | int] = {"phase": name, "done": done, "total": total}
        self.phases |= {run_id: shared for run_id in ids}

    def _write(self) -> None:
        self.written = time.monotonic()
        self.directory.progress.write(
            {"updated": time.time(), "pid": os.getpid(), "host": platform.node(), "runs": self.phases}
        )
