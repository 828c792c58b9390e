"""How a study shows that it is getting on: bars in a terminal, plain lines in a pipe, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
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


class Progress(Protocol):
    """What the pipeline tells whoever watches."""

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
        """These runs begin, together; what is told next is about them."""
        ...

    def turn_to(self, ids: Sequence[str]) -> None:
        """What is told next is about these runs, which have begun before; for several jobs at once."""
        ...

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """A phase of the run begins ("training", "encoding", "scoring") of `total` units, some of them done."""
        ...

    def advance(self, units: int) -> None:
        """That many units of the phase are done."""
        ...

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """The run is saved; `failure` is the reason if it has no result."""
        ...


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

    def turn_to(self, ids: Sequence[str]) -> None:
        """Say nothing."""

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """Say nothing."""

    def advance(self, units: int) -> None:
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
        self.job = ""

    @contextmanager
    def study(self, runs: int) -> Iterator[None]:
        """The bars are live within."""
        self._clear()
        with self.bars:
            self.overall = self.bars.add_task("study", total=runs, rate="runs")
            yield

    def preparing(self, what: str, done: int, total: int) -> None:
        """A bar for the data set, gone when it is ready."""
        self.bars.start()
        self.job = what
        if what not in self.jobs:
            self.jobs[what] = self.bars.add_task(what, total=total, rate="")
        self.bars.update(self.jobs[what], completed=done)
        if done >= total:
            self._clear()
            self.bars.stop()

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.bars.console.print(printable(text), markup=False)

    def run_started(self, ids: Sequence[str]) -> None:
        """Remember the runs' name for their phases."""
        self.job = together(ids)

    def turn_to(self, ids: Sequence[str]) -> None:
        """Go on with these runs' bar."""
        self.job = together(ids)

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """A fresh bar for the phase."""
        self._clear()
        description = f"{self.job} [dim]{name}[/dim]"
        self.jobs[self.job] = self.bars.add_task(description, total=total, completed=done, rate="")

    def advance(self, units: int) -> None:
        """Move the phase's bar and its rate."""
        if self.job in self.jobs:
            bar = self.jobs[self.job]
            self.bars.advance(bar, units)
            speed = self.bars.tasks[self.bars.task_ids.index(bar)].speed
            self.bars.update(bar, rate=_rate(speed) if speed else "")

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """Move the study's bar; a failure gets a line that stays."""
        self._clear()
        if self.overall is not None:
            self.bars.advance(self.overall)
        if failure is not None:
            self.bars.console.print(
                "FAILED", printable(f"{run_id}: {failure.splitlines()[0]}"), style="red", markup=False
            )

    def _clear(self) -> None:
        if self.job in self.jobs:
            self.bars.remove_task(self.jobs.pop(self.job))


@dataclass
class _Job:
    """What `Lines` remembers of a job at work."""

    runs: int
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
        self.jobs: dict[str, _Job] = {}
        self.job = ""

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
        self.job = together(ids)
        self.jobs[self.job] = _Job(len(ids), time.monotonic())
        self._say(f"[{self.begun + 1}/{self.runs}] {self.job}")
        self.begun += len(ids)

    def turn_to(self, ids: Sequence[str]) -> None:
        """Go on counting these runs."""
        self.job = together(ids)

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """Start counting."""
        job = self.jobs.setdefault(self.job, _Job(1, time.monotonic()))
        job.phase, job.total, job.started = name, total, time.monotonic()
        job.done = job.before = done

    def advance(self, units: int) -> None:
        """A line with rate and time left, no more often than every ten seconds.

        The rate is that since the line before: a first step that compiles takes as long as thousands after it.
        """
        job = self.jobs[self.job]
        job.done += units
        now = time.monotonic()
        if now - self.last > LINE_EVERY and job.done < job.total:
            rate = (job.done - job.before) / max(now - job.started, 1e-9)
            left = (job.total - job.done) / max(rate, 1e-9)
            self._say(
                f"  {self._whose()}{job.phase} {job.done}/{job.total}, {_rate(rate)}, {left:.0f} s left"
            )
            job.started, job.before = now, job.done

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """Say how the run ended."""
        job = self.jobs.setdefault(self.job, _Job(1, time.monotonic()))
        took = time.monotonic() - job.began
        end = f"done in {took:.0f} s" if failure is None else f"FAILED: {failure.splitlines()[0]}"
        self._say(f"  {self._whose()}{end}")
        job.runs -= 1
        if not job.runs:
            del self.jobs[self.job]

    def _whose(self) -> str:
        return f"{self.job}: " if len(self.jobs) > 1 else ""

    def _say(self, text: str) -> None:
        self.last = time.monotonic()
        # Nobody's log is worth a run: its reader may be gone, its disk full, the stream closed.
        with suppress(OSError, ValueError):
            print(printable(text), file=self.stream, flush=True)
