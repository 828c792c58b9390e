"""How a study shows that it is getting on: bars in a terminal, plain lines in a pipe, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from disentangle_bench.shown import printable

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

    def study(self, runs: int) -> AbstractContextManager[None]:
        """Around the whole work of `runs` runs."""
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
    return ids[0] if len(ids) == 1 else f"{len(ids)} runs together, the first {ids[0]}"


def _rate(units: float) -> str:
    """Units a second, to read."""
    return f"{units:,.0f}/s" if units >= 100 else f"{units:.3g}/s"


class Silent:
    """Shows nothing."""

    @contextmanager
    def study(self, runs: int) -> Iterator[None]:
        """Nothing around the work."""
        yield

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


class Terminal:
    """A bar for the study's runs, and one for each job at work with its phase, rate and time left."""

    def __init__(self, console: Console) -> None:
        self.bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.overall: TaskID | None = None
        self.jobs: dict[str, TaskID] = {}
        self.job_of: dict[str, str] = {}  # by run: the name of those that it trains with

    @contextmanager
    def study(self, runs: int) -> Iterator[None]:
        """The bars are live within."""
        for job in list(self.jobs):
            self._clear(job)
        with self.bars:
            self.overall = self.bars.add_task("study", total=runs, rate="runs")
            yield

    def preparing(self, what: str, done: int, total: int) -> None:
        """A bar for the data set, gone when it is ready."""
        self.bars.start()
        if what not in self.jobs:
            self.jobs[what] = self.bars.add_task(what, total=total, rate="")
        self.bars.update(self.jobs[what], completed=done)
        if done >= total:
            self._clear(what)
            self.bars.stop()

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.bars.console.print(printable(text), markup=False)

    def run_started(self, ids: Sequence[str]) -> None:
        """Remember which runs are together."""
        self.job_of |= dict.fromkeys(ids, together(ids))

    def phase(self, ids: Sequence[str], name: str, total: int, done: int = 0) -> None:
        """A fresh bar for the phase."""
        job = together(ids)
        self._clear(job)
        description = f"{job} [dim]{name}[/dim]"
        self.jobs[job] = self.bars.add_task(description, total=total, completed=done, rate="")

    def advance(self, ids: Sequence[str], units: int) -> None:
        """Move the phase's bar and its rate."""
        bar = self.jobs.get(together(ids))
        if bar is not None:
            self.bars.advance(bar, units)
            speed = self.bars.tasks[self.bars.task_ids.index(bar)].speed
            self.bars.update(bar, rate=_rate(speed) if speed else "")

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """Move the study's bar; a failure gets a line that stays."""
        self._clear(self.job_of.pop(run_id, run_id))
        if self.overall is not None:
            self.bars.advance(self.overall)
        if failure is not None:
            self.bars.console.print(
                "FAILED", printable(f"{run_id}: {failure.splitlines()[0]}"), style="red", markup=False
            )

    def _clear(self, job: str) -> None:
        if job in self.jobs:
            self.bars.remove_task(self.jobs.pop(job))


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
        self.runs = self.begun = 0
        self.last = 0.0
        self.jobs: dict[str, _Job] = {}  # by run; those that train together share one

    @contextmanager
    def study(self, runs: int) -> Iterator[None]:
        """Remember how many runs there are."""
        self.runs = runs
        yield

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
            rate = (job.done - job.before) / max(now - job.started, 1e-9)
            left = (job.total - job.done) / max(rate, 1e-9)
            self._say(
                f"  {self._whose(job)}{job.phase} {job.done}/{job.total}, {_rate(rate)}, {left:.0f} s left"
            )
            job.started, job.before = now, job.done

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """Say how the run ended."""
        job = self._job([run_id])
        took = time.monotonic() - job.began
        end = f"done in {took:.0f} s" if failure is None else f"FAILED: {failure.splitlines()[0]}"
        self._say(f"  {self._whose(job)}{end}")
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


def shown_by_default() -> Progress:
    """Bars in a terminal and in a notebook, nothing elsewhere: somebody's program says what it likes itself."""
    # Without ipywidgets rich shows no bar in a notebook, but a warning.
    notebook = "ipykernel" in sys.modules and find_spec("ipywidgets") is not None
    return Terminal(Console(stderr=not notebook)) if notebook or sys.stderr.isatty() else Silent()
