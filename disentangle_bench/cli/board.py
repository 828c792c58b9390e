"""`bench board` and `bench submit`: leaderboards made of files that anyone can enter."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from disentangle_bench.cli import complete
from disentangle_bench.cli.group import main
from disentangle_bench.cli.options import StepOfFactor, allow_option, data_dir_option, metrics_option
from disentangle_bench.cli.output import say
from disentangle_bench.errors import BenchError

METRICS = ("factor_vae", "mig", "dci", "sap", "infomec", "beta_vae")

results_option = click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="The folder with boards/ and entries/.",
)
board_argument = click.argument("name")
entries_argument = click.argument("entries", nargs=-1, metavar="[ENTRY]...")


@main.group()
def board() -> None:
    """Make leaderboards of files that anyone can enter.

    A board is a frozen question. Its entries are codes that answer it.
    """


@board.command()
@board_argument
@click.option(
    "--dataset",
    required=True,
    metavar="NAME",
    shell_complete=complete.names("data set"),
    help="The data set that is encoded.",
)
@click.option(
    "--every", "kept", multiple=True, type=StepOfFactor(), help="Keep each k-th value of this factor."
)
@click.option("--size", type=click.IntRange(min=4), help="Average images to so many pixels a side.")
@click.option(
    "--points",
    type=click.IntRange(min=2),
    default=20_000,
    show_default=True,
    help="Score so many random images.",
)
@click.option(
    "--point-seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draw other images."
)
@metrics_option(
    f"Score this metric; may be repeated.  [default: {', '.join(METRICS)}; all of another protocol]"
)
@click.option(
    "--protocol", default="default", show_default=True, metavar="NAME", help="Score as this protocol does."
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="An entry needs so many seeds."
)
@results_option
@data_dir_option
def new(
    name: str,
    dataset: str,
    kept: tuple[tuple[str, int], ...],
    results: Path,
    data_dir: Path | None,
    **asked: Any,
) -> None:
    """Make the board NAME.

    It freezes a question: which points of which data set, and which metrics.
    """
    from disentangle_bench.board.definition import NAME, new_board
    from disentangle_bench.data.load import load_dataset
    from disentangle_bench.evaluation.protocols import find_protocol

    if not NAME.fullmatch(name):
        raise BenchError(f"{name!r} is no name of a board: small letters, digits, '_' and '-' are allowed")
    every = dict(kept)
    document = {"dataset": dataset, "every": every} | {
        key: asked[key] for key in ("size", "protocol", "seeds")
    }
    metrics = asked["metrics"] or METRICS
    if asked["protocol"] != "default":
        metrics = asked["metrics"] or tuple(find_protocol(asked["protocol"]).metrics)
    images = load_dataset(dataset, every=every, size=asked["size"], data_dir=data_dir)
    path = results / "boards" / f"{name}.toml"
    new_board(path, images, document, (asked["points"], asked["point_seed"]), metrics)
    say(f"{path}: {asked['points']} of {len(images)} images of {images.name} ({images.provenance})")


@board.command("list")
@results_option
def list_boards(results: Path) -> None:
    """List the boards.

    A line has a board's data set and the number of its entries.
    """
    from disentangle_bench.board.definition import board_names, read_board
    from disentangle_bench.board.entries import entry_names

    for name in board_names(results):
        found = read_board(results, name)
        say(f"{name:<20} {found.dataset:<24} {len(entry_names(results, found))} entries")


@board.command()
@board_argument
@entries_argument
@click.option("--fetch", is_flag=True, help="Download codes that lie elsewhere.")
@results_option
@data_dir_option
def check(name: str, entries: tuple[str, ...], fetch: bool, results: Path, data_dir: Path | None) -> None:
    """Check entries of the board NAME.

    All are checked unless you name some: their files, their codes, and their scores, which are computed again. A line
    says what is wrong, and the exit code is 1 then.
    """
    from disentangle_bench.board.check import check_entries
    from disentangle_bench.board.definition import read_board
    from disentangle_bench.processes.worker import fork_from_here

    fork_from_here()
    found = read_board(results, name)
    problems = check_entries(results, found, entries, data_dir, fetch)
    for problem in problems:
        say(problem, err=True)
    if problems:
        sys.exit(1)
    say(f"{name}: {', '.join(entries) or 'all entries'} as they should be")


@board.command()
@board_argument
@entries_argument
@click.option("--all", "everything", is_flag=True, help="Score again what has scores already.")
@results_option
@data_dir_option
def score(
    name: str, entries: tuple[str, ...], everything: bool, results: Path, data_dir: Path | None
) -> None:
    """Score what entries of the board NAME lack.

    That is new codes, new metrics, and metrics whose revision has risen.
    """
    from disentangle_bench.board.definition import read_board

    score_entries(results, read_board(results, name), entries, data_dir, everything)


def score_entries(
    results: Path, found: Any, entries: tuple[str, ...], data_dir: Path | None, everything: bool = False
) -> None:
    """Score entries, all unless named, and say what was done; exit code 1 where a metric failed."""
    from disentangle_bench.board import scores
    from disentangle_bench.board.entries import entry_names
    from disentangle_bench.processes.worker import fork_from_here

    fork_from_here()
    failures = scores.score_entries(
        results,
        found,
        entries or entry_names(results, found),
        data_dir,
        everything,
        lambda entry, seeds: say(f"{entry}: {f'{seeds} seeds scored' if seeds else 'nothing to do'}"),
    )
    for what, why in failures.items():
        say(f"{what} gave no score: {why}", err=True)
    if failures:
        sys.exit(1)


@board.command()
@click.argument("name", required=False)
@results_option
def build(name: str | None, results: Path) -> None:
    """Write the tables and the page of a board.

    All boards are written where no NAME is given.
    """
    from disentangle_bench.board.definition import board_names
    from disentangle_bench.board.tables import build as build_board

    for each in [name] if name is not None else board_names(results):
        say(build_board(results, each))


@board.command()
@board_argument
@results_option
@data_dir_option
def controls(name: str, results: Path, data_dir: Path | None) -> None:
    """Enter codes of known worth in the board NAME.

    These are the factors, an untrained encoder, PCA and noise.
    """
    from disentangle_bench.board.controls import enter_controls
    from disentangle_bench.board.definition import read_board
    from disentangle_bench.processes.worker import fork_from_here

    fork_from_here()
    found = read_board(results, name)
    entered = enter_controls(results, found, found.load(data_dir))
    score_entries(results, found, tuple(entered), data_dir)


@main.command()
@click.argument("study", type=click.Path(path_type=Path), shell_complete=complete.studies)
@click.option("--board", "name", required=True, metavar="NAME", help="The board to enter.")
@click.option("--entry", required=True, metavar="AuthorYearWord", help="The entry's name.")
@click.option(
    "--select",
    default="",
    metavar="KEY=VALUE,...",
    shell_complete=complete.choices,
    help="Choose runs: model=beta_vae,beta=4.",
)
@click.option("--licence", required=True, help="The licence of the codes, for instance CC-BY-4.0.")
@click.option(
    "--tuning", required=True, help="How hyper-parameters were chosen: none, labels, unsupervised, or words."
)
@click.option("--name", "called", help="The method's name in tables.  [default: model and hyper-parameters]")
@click.option("--method", help="A line on the method.  [default: made of the runs]")
@click.option("--paper", help="The paper of the method.  [default: the model's]")
@click.option("--code", help="Where the code is.")
@click.option("--budget", help="What training took.  [default: steps, batch size and device of the runs]")
@click.option("--contact", help="Whom to ask.")
@click.option("--device", default="auto", show_default=True, help="Compute here: auto, cpu, cuda or cuda:N.")
@results_option
@data_dir_option
@allow_option
def submit(study: Path, name: str, entry: str, results: Path, data_dir: Path | None, **given: Any) -> None:
    """Enter finished runs of STUDY in a board.

    The runs have one setting and differ in their seed. Their weights are entered with them.
    """
    from disentangle_bench.board.definition import read_board
    from disentangle_bench.board.submit import submit as submit_runs
    from disentangle_bench.device import pick_device
    from disentangle_bench.processes.worker import fork_from_here

    fork_from_here()
    found = read_board(results, name)
    texts = ("licence", "tuning", "method", "paper", "code", "budget", "contact")
    said = {"name": given["called"], **{key: given[key] for key in texts}}
    options = {"device": pick_device(given["device"]), "data_dir": data_dir} | {
        key: given[key] for key in ("select", "allow")
    }
    say(submit_runs(study, results, found, entry, said, options))
    score_entries(results, found, (entry,), data_dir)
