"""`bench report`, `bench figures` and `bench status`: a study to look at, finished or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from disentangle_bench.cli import complete
from disentangle_bench.cli.group import main
from disentangle_bench.cli.options import allow_option
from disentangle_bench.cli.output import say, say_unreadable
from disentangle_bench.errors import BenchError
from disentangle_bench.shown import duration

if TYPE_CHECKING:
    from disentangle_bench.report.status import Status

RUNNING_SHOWN = 20


@main.command()
@click.argument("study", type=click.Path(path_type=Path), shell_complete=complete.studies)
def report(study: Path) -> None:
    """Write STUDY/report, a folder of HTML.

    It opens from a disk, without a network.
    """
    from disentangle_bench.files import writing
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.report.html import write_report

    with writing(study / "report"):
        page = write_report(StudyDir(study))
    say(f"written to {page}; open it in a browser")


@main.command()
@click.argument("study", type=click.Path(path_type=Path), shell_complete=complete.studies)
@click.option(
    "--format",
    "styles",
    type=click.Choice(["png", "svg", "pdf"]),
    multiple=True,
    help="Write this kind of file; may be repeated.  [default: all three]",
)
@click.option(
    "--width",
    type=click.Choice(["text", "column"]),
    default="text",
    show_default=True,
    help="Draw as wide as a page's text (6.9 inches) or one of its two columns (3.35).",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write into this folder.  [default: STUDY/figures]"
)
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the runs' curves there as TensorBoard event files instead.",
)
def figures(
    study: Path, styles: tuple[str, ...], width: str, out: Path | None, tensorboard: Path | None
) -> None:
    """Draw the figures of STUDY for papers.

    These are tradeoff, curves, metric_correlation and, where runs have it, mutual_information. They are the same byte
    for byte every time.
    """
    from disentangle_bench.files import writing
    from disentangle_bench.records.study_dir import StudyDir

    if tensorboard is not None:
        with writing(tensorboard):
            written = write_events(study, tensorboard)
        say(f"{written} runs written; look at them with: tensorboard --logdir {tensorboard}")
        return
    from disentangle_bench.report.study import write_figures

    folder = out or study / "figures"
    with writing(folder):
        files = write_figures(StudyDir(study), folder, styles, width)
    for path in files:
        say(path)


def write_events(study: Path, folder: Path) -> int:
    """Write an event file for each finished run into `folder`/<run>, unless that is there; how many were written."""
    from disentangle_bench.callbacks.tensorboard import TensorBoard
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.study.calls import replay

    board = TensorBoard(study, folder)
    written = 0
    for record in StudyDir(study).records():
        if record.failure is None and not (folder / record.spec.id).exists():
            replay(record, board)
            written += 1
    return written


@main.command()
@click.argument("study", type=click.Path(path_type=Path), shell_complete=complete.studies)
@click.option("--bibtex", is_flag=True, help="Print the BibTeX entries alone, for a file of their own.")
def cite(study: Path, bibtex: bool) -> None:
    """Print a paragraph of methods on STUDY, and BibTeX.

    The paragraph is LaTeX. The entries are of the study's models, metrics and data sets.

    bench cite STUDY --bibtex > study.bib
    """
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.report.cite import bibliography, methods

    directory = StudyDir(study)
    if not bibtex:
        say(methods(directory))
    say(bibliography(directory), nl=False)


@main.command()
@click.argument("study", type=click.Path(path_type=Path), shell_complete=complete.studies)
@allow_option
def status(study: Path, allow: tuple[str, ...]) -> None:
    """Say how STUDY gets on, and how long it will take.

    It counts runs that are done, running and failed. It reads the disk alone: ask from another terminal, or from
    another machine that sees the directory.
    """
    from disentangle_bench.grid import expand
    from disentangle_bench.grid_file import read_grid
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.report.status import study_status

    if not (study / "grid.toml").is_file():
        raise BenchError(f"{study} holds no study (there is no {study / 'grid.toml'})")
    folder = StudyDir(study)
    asked = expand(read_grid(study / "grid.toml", with_data=False, allow=allow))
    # A smaller grid that was run in the study since does not hide what it holds.
    odd: dict[str, str] = {}
    others = tuple(folder.others({spec.id for spec in asked}, odd))
    found = study_status(folder, (*asked, *others))
    print_status(found)
    unreadable = {**found.unreadable, **odd}
    for reason in unreadable.values():
        say(reason, err=True)
    say_unreadable(study, unreadable)
    if unreadable:
        sys.exit(1)


def print_status(found: Status) -> None:
    """The status in a few lines."""
    words = {
        "running": "running",
        "stopped": "stopped: whoever ran it is gone; the same command goes on from here",
        "idle": "nobody is at work",
        "finished": "finished",
    }
    left = found.total - found.done - found.failed - len(found.unreadable)
    say(f"{found.done} of {found.total} runs done, {found.failed} failed, {left} to go; {words[found.state]}")
    for phase in found.running[:RUNNING_SHOWN]:
        share = f" {100 * phase.done / phase.total:.0f} %" if phase.total else ""
        say(f"  {phase.run}: {phase.phase}{share}")
    if len(found.running) > RUNNING_SHOWN:
        say(f"  and {len(found.running) - RUNNING_SHOWN} more at the same time")
    if found.rate is not None:
        say(f"{found.rate:.1f} runs an hour")
    if found.seconds_left is not None:
        say(f"about {duration(found.seconds_left)} left")
