"""What several commands print: the leaderboard, how a study ended, progress and durations."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from disentangle_bench.shown import printable, wrapped

if TYPE_CHECKING:
    from rich.console import Console

    from disentangle_bench.progress import Progress
    from disentangle_bench.report.tables import Tables
    from disentangle_bench.study.plan import Outcome

RUNS_NAMED = 5


def say(text: object, err: bool = False, nl: bool = True) -> None:
    """Print a text, which may hold names from anyone's files: what a terminal would obey is shown instead.

    In a terminal, lines are broken between words.
    """
    shown = printable(str(text))
    click.echo(wrapped(shown, sys.stderr if err else sys.stdout) if nl else shown, err=err, nl=nl)


def finish(outcome: Outcome) -> None:
    """The leaderboard, and how the study stands; exit code 1 where a run has failed or cannot be read."""
    if outcome.done + outcome.failed:
        print_leaderboard(outcome.path, said=outcome.unreadable.values())
    for name, reason in outcome.metric_failures.items():
        say(f"metric {name} gave no score: {reason}", err=True)
    say_failed(outcome.failures)
    say(f"{outcome.done} runs done, {outcome.failed} failed. Tables and figures: {outcome.path}")
    if outcome.left:
        say(
            f"{outcome.left} runs are not done: other processes had claimed them. Should one of those have ended early,"
            " the same command does what it left."
        )
    say_unreadable(outcome.path, outcome.unreadable)
    if outcome.failed or outcome.unreadable:
        sys.exit(1)


def say_failed(failures: Mapping[str, str]) -> None:
    """Which runs have failed, and why: runs that failed for one reason together."""
    by_reason: dict[str, list[str]] = {}
    for run_id, reason in failures.items():
        by_reason.setdefault(reason, []).append(run_id)
    for reason, runs in by_reason.items():
        more = f" and {len(runs) - RUNS_NAMED} more" if len(runs) > RUNS_NAMED else ""
        say(f"FAILED {', '.join(runs[:RUNS_NAMED])}{more}: {reason}", err=True)


def say_unreadable(study: Path, unreadable: Collection[str]) -> None:
    """How many runs cannot be read, and what is to be done, where there are any."""
    if not unreadable:
        return
    what = (
        "1 run cannot be read and is"
        if len(unreadable) == 1
        else f"{len(unreadable)} runs cannot be read and are"
    )
    names = ", ".join(sorted(unreadable)[:RUNS_NAMED])
    more = len(unreadable) - RUNS_NAMED
    say(
        f"{what} left alone: {names}{f' and {more} more' if more > 0 else ''} in {study / 'runs'}. The messages above"
        " say why, and what to do; then give the same command again."
    )


def print_leaderboard(study: Path, said: Collection[str] = ()) -> None:
    """The study's leaderboard on standard output, and on standard error the notes that were not `said` before."""
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.report.study import make_tables

    tables = make_tables([StudyDir(study)])
    notes = tuple(warning for warning in tables.warnings if warning not in said)
    print_tables(replace(tables, warnings=notes), "table", str(study))


def print_tables(
    tables: Tables,
    style: str,
    title: str,
    sort: str | None = None,
    measures: Sequence[str] = (),
    digits: int | None = None,
) -> None:
    """The leaderboard of these tables on standard output, and on standard error what keeps runs apart."""
    from rich.text import Text

    from disentangle_bench.report import latex, render, terminal
    from disentangle_bench.report.tables import csv_text
    from disentangle_bench.report.verdict import sentences

    for warning in tables.warnings:
        say(f"note: {warning}", err=True)
    shown = render.only(tables.leaderboard, measures) if measures else tables.leaderboard
    if style == "csv":
        say(csv_text(shown), nl=False)
    elif style == "markdown":
        say(render.markdown(tables.rows, shown, tables.warnings, digits), nl=False)
    elif style == "latex":
        say(latex.latex(tables.rows, shown, tables.warnings, digits), nl=False)
    else:
        paper = console()
        for table in terminal.terminal_tables(tables.rows, shown, title, paper.width, sort, digits):
            paper.print(table)
        for text in sentences(tables, sort):
            paper.print(Text(printable(text)))


def console() -> Console:
    """Standard output, as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=200)


def make_progress() -> Progress:
    """Bars where somebody watches, lines in a pipe."""
    from rich.console import Console

    from disentangle_bench.bars import Terminal
    from disentangle_bench.progress import Lines

    return Terminal(Console(stderr=True)) if sys.stderr.isatty() else Lines(sys.stderr)
