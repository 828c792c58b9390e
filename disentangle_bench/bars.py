"""A study's progress in a terminal: a bar for all runs, and one for each job at work."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from disentangle_bench.progress import Progress, Silent, rate, together
from disentangle_bench.shown import duration, printable, shortened

WIDE = 110  # columns of a terminal that has room for more than shares


class _Name(ProgressColumn):
    """The name of a bar, shortened in its middle to what the other columns leave."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def render(self, task: Task) -> Text:
        """The name."""
        return Text(shortened(task.description, max(12, self.console.width - _others(self.console))))


class _Rate(ProgressColumn):
    """Units a second; nothing for the study."""

    def render(self, task: Task) -> Text:
        """The rate."""
        return Text(rate(task.speed) if task.speed and "left" not in task.fields else "", style="dim")


class _Left(ProgressColumn):
    """The time left: of the study as it was said, of a phase from its rate."""

    def render(self, task: Task) -> Text:
        """The time."""
        seconds = task.fields.get("left", task.time_remaining)
        return Text("" if seconds is None or task.finished else f"{duration(seconds)} left", style="cyan")


def _bar(console: Console) -> int:
    return 30 if console.width >= WIDE else 12


def _others(console: Console) -> int:
    """The characters that all columns but the name take: spinner, phase, bar, share, rate, time left, and counts."""
    counts = 1 + len("300000/300000") if console.width >= WIDE else 0
    return len("⠋ ") + len(" training ") + _bar(console) + len(" 100 % 12,345/s 12 min left") + counts


class Terminal:
    """A bar for the study's runs, and one for each job at work with its phase, rate and time left."""

    def __init__(self, console: Console) -> None:
        counts = [MofNCompleteColumn()] if console.width >= WIDE else []
        self.bars = Bars(
            SpinnerColumn(),
            _Name(console),
            TextColumn("{task.fields[phase]}", style="dim"),
            BarColumn(bar_width=_bar(console)),
            TextColumn("{task.percentage:3.0f} %"),
            *counts,
            _Rate(),
            _Left(),
            console=console,
        )
        self.overall: TaskID | None = None
        self.runs = self.done = self.failed = 0
        self.jobs: dict[str, TaskID] = {}
        self.job_of: dict[str, str] = {}  # by run: the name of those that it trains with

    @contextmanager
    def study(self, runs: int, done: int = 0) -> Iterator[None]:
        """The bars are live within."""
        for job in list(self.jobs):
            self._clear(job)
        self.runs, self.done, self.failed = runs, done, 0
        with self.bars:
            self.overall = self.bars.add_task("", total=runs, phase="", left=None)
            self._count()
            yield

    def time_left(self, seconds: float | None) -> None:
        """Show it beside the study's bar."""
        if self.overall is not None:
            self.bars.update(self.overall, left=seconds)

    def preparing(self, what: str, done: int, total: int) -> None:
        """A bar for the data set, gone when it is ready."""
        self.bars.start()
        if what not in self.jobs:
            self.jobs[what] = self.bars.add_task(what, total=total, phase="")
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
        self.jobs[job] = self.bars.add_task(job, total=total, completed=done, phase=name)

    def advance(self, ids: Sequence[str], units: int) -> None:
        """Move the phase's bar."""
        bar = self.jobs.get(together(ids))
        if bar is not None:
            self.bars.advance(bar, units)

    def run_finished(self, run_id: str, failure: str | None) -> None:
        """Move the study's bar; a failure gets a line that stays."""
        self._clear(self.job_of.pop(run_id, run_id))
        self.done += 1
        self.failed += failure is not None
        self._count()
        if failure is not None:
            self.bars.console.print(
                "FAILED", printable(f"{run_id}: {failure.splitlines()[0]}"), style="red", markup=False
            )

    def _count(self) -> None:
        if self.overall is not None:
            failed = f"{self.failed} failed" if self.failed else ""
            description = f"{self.done} of {self.runs} runs"
            self.bars.update(self.overall, completed=self.done, description=description, phase=failed)

    def _clear(self, job: str) -> None:
        if job in self.jobs:
            self.bars.remove_task(self.jobs.pop(job))


def shown_by_default() -> Progress:
    """Bars in a terminal and in a notebook, nothing elsewhere: somebody's program says what it likes itself."""
    # Without ipywidgets rich shows no bar in a notebook, but a warning.
    notebook = "ipykernel" in sys.modules and find_spec("ipywidgets") is not None
    return Terminal(Console(stderr=not notebook)) if notebook or sys.stderr.isatty() else Silent()
