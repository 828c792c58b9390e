"""Progress that can also be seen from elsewhere: what is shown here is kept in the study directory too."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from disentangle_bench.progress import Progress
from disentangle_bench.rundir import StudyDir

EVERY = 2.0  # seconds between two versions of the file


class Reported:
    """Hands everything on to `progress`, and keeps progress.json up to date while the study is worked on."""

    def __init__(self, progress: Progress, study: StudyDir) -> None:
        self.progress = progress
        self.directory = study
        self.ids: tuple[str, ...] = ()
        self.name, self.done, self.total = "", 0, 0
        self.written = 0.0

    @contextmanager
    def study(self, runs: int) -> Iterator[None]:
        """The file is there within."""
        self._write()
        try:
            with self.progress.study(runs):
                yield
        finally:
            self.directory.end_progress()

    def preparing(self, what: str, done: int, total: int) -> None:
        """A data set is being made ready."""
        self.progress.preparing(what, done, total)

    def run_started(self, ids: Sequence[str]) -> None:
        """These runs begin, together."""
        self.ids = tuple(ids)
        self.progress.run_started(ids)

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """A phase of these runs begins, or goes on."""
        self.name, self.done, self.total = name, done, total
        self.progress.phase(name, total, done)
        self._write()

    def advance(self, units: int) -> None:
        """That many units of the phase are done."""
        self.done += units
        self.progress.advance(units)
        if time.monotonic() - self.written > EVERY:
            self._write()

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """The run is saved."""
        self.ids = tuple(other for other in self.ids if other != run_id)
        self.progress.run_finished(run_id, failure)
        self._write()

    def _write(self) -> None:
        self.written = time.monotonic()
        phase = {"phase": self.name, "done": self.done, "total": self.total}
        self.directory.write_progress(
            {
                "updated": time.time(),
                "pid": os.getpid(),
                "host": platform.node(),
                "runs": {run_id: phase for run_id in self.ids},
            }
        )
