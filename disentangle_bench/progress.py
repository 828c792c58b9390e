"""How a study shows that it is getting on: plain lines in a pipe, or nothing. `bars` has what a terminal shows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TextIO

from disentangle_bench.shown import duration, printable

LINE_EVERY = 10.0  # seconds between plain lines within one phase


class Phases(Protocol):
    """What training and evaluation say of the runs that they are about."""

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """A phase begins ("training", "encoding", "scoring") of `total` units, some of them done."""
        ...

    def advance(self, units: int) -> None:
        """That many units of the phase are done."""
        ...


class Progress(Protocol):
    """What a study says to whoever watches. Runs that train together are named by all their ids."""

    def study(self, runs: int, done: int = 0) -> AbstractContextManager[None]:
        """Around the whole work of `runs` runs, `done` of which were finished before."""
        ...

    def time_left(self, seconds: float | None) -> None:
        """The study will take so many seconds more, as far as that is known."""
        ...

    def preparing(self, what: str, done: int, total: int) -> None:
        """A data set is being made ready: `done` of `total` parts."""
        ...

    def note(self, text: str) -> None:
        """Something that is worth a line, about no run in particular."""
        ...

    def run_started(self, ids: Sequence[str]) -> None:
        """These runs begin, together."""
        ...

    def phase(self, ids: Sequence[str], name: str, total: int, done: int = 0) -> None:
        """A phase of these runs begins, as `Phases.phase`."""
        ...

    def advance(self, ids: Sequence[str], units: int) -> None:
        """That many units of these runs' phase are done."""
        ...

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """The run is saved; `failure` is the reason if it has no result."""
        ...


@dataclass(frozen=True)
class PhasesOf:
    """The phases of these runs, shown in `progress`."""

    progress: Progress
    ids: Sequence[str]

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """A phase begins."""
        self.progress.phase(self.ids, name, total, done)

    def advance(self, units: int) -> None:
        """That many units of the phase are done."""
        self.progress.advance(self.ids, units)


def together(ids: Sequence[str]) -> str:
    """One line for runs that train together."""
    return ids[0] if len(ids) == 1 else f"{len(ids)} runs from {ids[0]}"


def rate(units: float) -> str:
    """Units a second, to read."""
    return f"{units:,.0f}/s" if units >= 100 else f"{units:.3g}/s"


class Silent:
    """Shows nothing."""

    @contextmanager
    def study(self, runs: int, done: int = 0) -> Iterator[None]:
        """Nothing around the work."""
        yield

    def time_left(self, seconds: float | None) -> None:
        """Say nothing."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def run_started(self, ids: Sequence[str]) -> None:
        """Say nothing."""

    def phase(self, ids: Sequence[str], name: str, total: int, done: int = 0) -> None:
        """Say nothing."""

    def advance(self, ids: Sequence[str], units: int) -> None:
        """Say nothing."""

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """Say nothing."""


@dataclass
class _Job:
    """What `Lines` remembers of a job at work."""

    name: str
    began: float
    phase: str = ""
    started: float = 0.0
    before: int = 0
    done: int = 0
    total: int = 0


class Lines:
    """Plain lines for a pipe or a log file: one when a run starts and ends, and one every ten seconds between."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.runs = self.begun = self.done = 0
        self.left: float | None = None
        self.last = 0.0
        self.jobs: dict[str, _Job] = {}  # by run; those that train together share one

    @contextmanager
    def study(self, runs: int, done: int = 0) -> Iterator[None]:
        """Remember how many runs there are."""
        self.runs, self.begun, self.done = runs, done, done
        yield

    def time_left(self, seconds: float | None) -> None:
        """Remember it for the line of the next run that ends."""
        self.left = seconds

    def preparing(self, what: str, done: int, total: int) -> None:
        """A line now and then, and at the end."""
        if done >= total or time.monotonic() - self.last > LINE_EVERY:
            self._say(f"{what}: {done} of {total}")

    def note(self, text: str) -> None:
        """A line."""
        self._say(text)

    def run_started(self, ids: Sequence[str]) -> None:
        """Say which runs begin."""
        self.jobs |= dict.fromkeys(ids, _Job(together(ids), time.monotonic()))
        self._say(f"[{self.begun + 1}/{self.runs}] {together(ids)}")
        self.begun += len(ids)

    def phase(self, ids: Sequence[str], name: str, total: int, done: int = 0) -> None:
        """Start counting."""
        job = self._job(ids)
        job.phase, job.total, job.started = name, total, time.monotonic()
        job.done = job.before = done

    def advance(self, ids: Sequence[str], units: int) -> None:
        """A line with rate and time left, no more often than every ten seconds.

        The rate is that since the line before: a first step that compiles takes as long as thousands after it.
        """
        job = self._job(ids)
        job.done += units
        now = time.monotonic()
        if now - self.last > LINE_EVERY and job.done < job.total:
            speed = (job.done - job.before) / max(now - job.started, 1e-9)
            left = (job.total - job.done) / max(speed, 1e-9)
            self._say(
                f"  {self._whose(job)}{job.phase} {job.done}/{job.total}, {rate(speed)}, {duration(left)} left"
            )
            job.started, job.before = now, job.done

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """Say how the run ended."""
        job = self._job([run_id])
        took = time.monotonic() - job.began
        end = f"done in {duration(took)}" if failure is None else f"FAILED: {failure.splitlines()[0]}"
        self.done += 1
        left = f", about {duration(self.left)} left" if self.left and self.done < self.runs else ""
        self._say(f"  {self._whose(job)}{end}; {self.done} of {self.runs} runs{left}")
        self.jobs.pop(run_id, None)

    def _job(self, ids: Sequence[str]) -> _Job:
        """The job of those of these runs that are not finished."""
        found = next((self.jobs[run_id] for run_id in ids if run_id in self.jobs), None)
        return found or self.jobs.setdefault(ids[0], _Job(ids[0], time.monotonic()))

    def _whose(self, job: _Job) -> str:
        return f"{job.name}: " if len({id(each) for each in self.jobs.values()}) > 1 else ""

    def _say(self, text: str) -> None:
        self.last = time.monotonic()
        # Nobody's log is worth a run: its reader may be gone, its disk full, the stream closed.
        with suppress(OSError, ValueError):
            print(printable(text), file=self.stream, flush=True)
