"""The command `bench`: it parses and prints, nothing else. Heavy imports happen inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench import registry
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.pipeline import Plan
    from disentangle_bench.progress import Progress
    from disentangle_bench.spec import Grid

LISTED = {"models": "model", "datasets": "data set", "metrics": "metric"}


class Mistake(click.ClickException):
    """A user's mistake: its message alone, exit code 2."""

    exit_code = 2


class Group(click.Group):
    """Commands whose BenchErrors are shown as messages, and whose Ctrl-C says how to go on."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BenchError as error:
            raise Mistake(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nStopped. Finished runs are kept; the same command goes on from there.", err=True)
            sys.exit(130)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="disentangle_bench", message="%(version)s")
def main() -> None:
    """Train VAEs over grids of settings and seeds, and measure whether what they learned is disentangled."""


def grid_options(command: Any) -> Any:
    """The grid, and what changes it from the command line."""
    for decorate in (
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the grid."),
        click.option("--seeds", type=click.IntRange(min=1), help="Run seeds 0..N-1 instead of the grid's."),
        click.argument("grid", type=click.Path(path_type=Path)),
    ):
        command = decorate(command)
    return command


@main.command("run")
@grid_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="Study directory.  [default: results/<grid name>]"
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--retry-failed", is_flag=True, help="Run again what failed before.")
@click.option("--dry-run", is_flag=True, help="Print the plan and an estimate of time; write nothing.")
def run_command(
    grid: Path,
    overrides: tuple[str, ...],
    seeds: int | None,
    out: Path | None,
    device: str,
    retry_failed: bool,
    dry_run: bool,
) -> None:
    """Run what is not done yet of GRID, a TOML file, and write its leaderboard.

    Finished runs are kept and never repeated; stop it with Ctrl-C at any time and give the same command to go on.
    """
    from disentangle_bench.pipeline import default_study, pick_device, plan, run_study
    from disentangle_bench.rundir import StudyDir
    from disentangle_bench.spec import read_grid

    checked = read_grid(grid, overrides, seeds)
    study = StudyDir(out or default_study(checked))
    place = pick_device(device)
    todo = plan(checked, study, retry_failed)
    if dry_run:
        print_plan(checked, study.path, todo, str(place))
        return
    if todo.failed:
        click.echo(
            f"{len(todo.failed)} runs failed earlier and are left alone; --retry-failed runs them again."
        )
    outcome = run_study(checked, study, place, make_progress(), retry_failed)
    print_leaderboard(outcome.path, None, "table")
    for name, reason in outcome.metric_failures.items():
        click.echo(f"metric {name} gave no score: {reason}", err=True)
    click.echo(f"{outcome.done} runs done, {outcome.failed} failed. Tables and figures: {outcome.path}")
    if outcome.failed:
        sys.exit(1)


@main.command()
@grid_options
def validate(grid: Path, overrides: tuple[str, ...], seeds: int | None) -> None:
    """Check GRID and say how many runs it describes."""
    from disentangle_bench.spec import expand, read_grid

    checked = read_grid(grid, overrides, seeds)
    click.echo(
        f"{grid}: {len(expand(checked))} runs, {', '.join(checked.metrics)}. All keys and values are valid."
    )


@main.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--sort", metavar="METRIC", help="Rank by this measure.  [default: the first metric]")
@click.option(
    "--format", "style", type=click.Choice(["table", "csv", "markdown"]), default="table", show_default=True
)
def leaderboard(study: Path, sort: str | None, style: str) -> None:
    """Print the leaderboard of the study directory STUDY, rebuilt from its runs."""
    print_leaderboard(study, sort, style)


@main.command("list")
@click.argument("kind", type=click.Choice(list(LISTED)))
def list_command(kind: str) -> None:
    """List the models, datasets or metrics that a grid can name."""
    for name in registry.TABLES[LISTED[kind]]:
        click.echo(f"{name:<22} {describe(LISTED[kind], name)}")


def describe(kind: str, name: str) -> str:
    """One line on a registered thing: what it can be set to, or where it is from."""
    found = registry.resolve(kind, name)
    if kind == "metric":
        return f"{', '.join(found.headlines)} (revision {found.revision}): {found.paper}"
    if kind == "data set":
        factors = zip(found.factor_names, found.factor_sizes, strict=True)
        return f"{found.provenance}: " + ", ".join(f"{factor} {size}" for factor, size in factors)
    import dataclasses

    settings = dict(found.hypers) | {field.name: field.default for field in dataclasses.fields(found)}
    return f"{', '.join(f'{key}={value}' for key, value in settings.items())}: {found.paper}"


def print_plan(grid: Grid, study: Path, todo: Plan, device: str) -> None:
    """What `bench run` would do, and how long it may take."""
    from disentangle_bench.train.estimate import estimate_seconds

    click.echo(f"study {study}: {len(todo.done)} runs done, {len(todo.failed)} failed earlier")
    click.echo(
        f"to train: {len(todo.train)}; to score with further metrics: {len(todo.score)}; device: {device}"
    )
    for spec in todo.train:
        click.echo(f"  {spec.id}")
    if todo.train:
        shapes = {d.name: registry.resolve("data set", d.name).image_shape for d in todo.datasets}
        seconds = estimate_seconds(todo.train, shapes, device)
        click.echo(
            f"about {duration(seconds)} of training, from a few steps timed here; scoring comes on top"
        )


def print_leaderboard(study: Path, sort: str | None, style: str) -> None:
    """The leaderboard on standard output."""
    from disentangle_bench.report import leaderboard as boards
    from disentangle_bench.report import render
    from disentangle_bench.report.runs_table import load_scores

    board = boards.leaderboard(load_scores(study), sort)
    if style == "csv":
        click.echo(board.to_csv(index=False), nl=False)
    elif style == "markdown":
        click.echo(render.markdown(board), nl=False)
    else:
        from rich.console import Console

        console = Console() if sys.stdout.isatty() else Console(width=200)
        console.print(render.terminal_table(board, str(study)))


def make_progress() -> Progress:
    """Bars where somebody watches, lines in a pipe."""
    from rich.console import Console

    from disentangle_bench.progress import Lines, Terminal

    return Terminal(Console(stderr=True)) if sys.stderr.isatty() else Lines(sys.stderr)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h` or `12 days`, whichever reads best."""
    for unit, size, below in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172800)):
        if seconds < below:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.0f} days"
