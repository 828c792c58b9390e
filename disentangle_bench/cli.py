"""The command `bench`: it parses and prints, nothing else. Heavy imports happen inside the commands."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench import registry
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.data.official import FileStatus
    from disentangle_bench.pipeline import Outcome, Plan
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


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="DISENTANGLE_BENCH_DATA",
    help="Where data files are kept.  [default: ./datasets, else a cache of yours]",
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A Python file whose metrics are scored too.",
)


@main.command("run")
@grid_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="Study directory.  [default: results/<grid name>]"
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@data_dir_option
@plugin_option
@click.option("--retry-failed", is_flag=True, help="Run again what failed before.")
@click.option("--dry-run", is_flag=True, help="Print the plan and an estimate of time; write nothing.")
def run_command(
    grid: Path,
    overrides: tuple[str, ...],
    seeds: int | None,
    out: Path | None,
    device: str,
    data_dir: Path | None,
    plugins: tuple[Path, ...],
    retry_failed: bool,
    dry_run: bool,
) -> None:
    """Run what is not done yet of GRID, a TOML file, and write its leaderboard.

    Finished runs are kept and never repeated; stop it with Ctrl-C at any time and give the same command to go on.
    """
    from disentangle_bench.pipeline import default_study, pick_device, plan, run_study
    from disentangle_bench.rundir import StudyDir
    from disentangle_bench.spec import read_grid

    checked = with_metrics(read_grid(grid, overrides, seeds), plugin_metrics(plugins))
    study = StudyDir(out or default_study(checked))
    place = pick_device(device)
    todo = plan(checked, study, retry_failed)
    if dry_run:
        print_plan(study.path, todo, str(place))
        return
    if todo.failed:
        click.echo(
            f"{len(todo.failed)} runs failed earlier and are left alone; --retry-failed runs them again."
        )
    finish(run_study(checked, study, place, make_progress(), retry_failed=retry_failed, data_dir=data_dir))


@main.command()
@click.argument("study", type=click.Path(path_type=Path), required=False)
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME", help="A metric to score; may be repeated."
)
@plugin_option
@click.option("--codes", type=click.Path(path_type=Path), help="An .npz with `codes` and perhaps `factors`.")
@click.option("--dataset", metavar="NAME", help="Take the factors of this data set, row for row.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed, with --codes.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@data_dir_option
def score(
    study: Path | None,
    metrics: tuple[str, ...],
    plugins: tuple[Path, ...],
    codes: Path | None,
    dataset: str | None,
    seed: int,
    device: str,
    data_dir: Path | None,
) -> None:
    """Score without training: finished runs of STUDY with further metrics, or any codes with --codes.

    Runs are encoded again from their saved weights, and the study's tables are rebuilt.
    """
    asked = (*metrics, *plugin_metrics(plugins))
    if (study is None) == (codes is None):
        raise BenchError("name either a study directory or --codes FILE")
    if codes is not None:
        print_scores(codes, dataset, asked, seed, data_dir)
        return
    from disentangle_bench.pipeline import pick_device, run_study
    from disentangle_bench.rundir import StudyDir
    from disentangle_bench.spec import read_grid

    if not asked:
        raise BenchError("name at least one metric with --metric or --plugin")
    assert study is not None
    grid = with_metrics(read_grid(study / "grid.toml"), asked)
    place = pick_device(device)
    progress = make_progress()
    finish(
        run_study(grid, StudyDir(study), place, progress, retry_failed=True, train=False, data_dir=data_dir)
    )


@main.command()
@click.argument("dataset")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Score these only.  [default: all]")
@click.option("--points", type=click.IntRange(min=2), help="Use this many random images.  [default: all]")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Repeat with seeds 0..N-1."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="CSV file.  [default: calibration-<dataset>.csv]"
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@data_dir_option
def calibrate(
    dataset: str,
    metrics: tuple[str, ...],
    points: int | None,
    seeds: int,
    out: Path | None,
    device: str,
    data_dir: Path | None,
) -> None:
    """Score codes whose worth is known on DATASET: ceilings, chance, and an encoder that never trained."""
    import pandas as pd

    from disentangle_bench.launch import calibrate as calibration
    from disentangle_bench.pipeline import load, pick_device
    from disentangle_bench.rundir import write_text
    from disentangle_bench.spec import DatasetSpec

    progress = make_progress()
    images = load(DatasetSpec(name=dataset), progress, data_dir).to(pick_device(device))
    names = metrics or tuple(registry.names("metric"))
    with progress.study(runs=seeds):
        rows = []
        for seed in range(seeds):
            progress.run_started(f"{dataset}, seed {seed}")
            rows += calibration.calibrate(images, names, points or "all", seed, progress)
            progress.run_finished(dataset, None)
    table = pd.DataFrame(rows)
    path = out or Path(f"calibration-{dataset.replace('/', '_')}.csv")
    try:
        write_text(path, table.to_csv(index=False))
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {error.strerror or error}") from error
    click.echo(table.groupby("control", sort=False).mean().drop(columns="seed").T.round(3).to_string())
    click.echo(f"{images.provenance} data, {seeds} seeds; written to {path}")


@main.group()
def data() -> None:
    """Get, check and look at data sets."""


@data.command("list")
@data_dir_option
def data_list(data_dir: Path | None) -> None:
    """The published files: what is there, how large, whether it is whole, and where it is from."""
    from disentangle_bench.data import official
    from disentangle_bench.data.load import default_data_dir

    print_files(official.listing(data_dir or default_data_dir()))
    click.echo("Everything else in `bench list datasets` is drawn when it is needed and wants no file.")


@data.command("verify")
@click.argument("name")
@data_dir_option
def data_verify(name: str, data_dir: Path | None) -> None:
    """Check the published files of data set NAME against their published hashes."""
    from disentangle_bench.data import official
    from disentangle_bench.data.load import default_data_dir

    found = official.verify(name, data_dir or default_data_dir())
    print_files(found)
    if not any(file.verified for file in found):
        sys.exit(1)


@data.command("get")
@click.argument("name")
@click.option(
    "--mirror", metavar="URL", help="Another address of the file, or of its folder if it ends in /."
)
@data_dir_option
def data_get(name: str, mirror: str | None, data_dir: Path | None) -> None:
    """Download the published file of data set NAME, resuming a broken download, and check it."""
    from disentangle_bench.data import download
    from disentangle_bench.data.load import default_data_dir

    folder = data_dir or default_data_dir()
    path, _ = download.get(name, folder, mirror=mirror, notify=make_progress().preparing)
    click.echo(f"{path}: complete and verified")


@data.command("show")
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="PNG file.  [default: <name>.png]")
@data_dir_option
def data_show(name: str, out: Path | None, data_dir: Path | None) -> None:
    """Draw a contact sheet of data set NAME: a row per factor, sweeping its values."""
    from disentangle_bench.data.contact_sheet import save_contact_sheet
    from disentangle_bench.pipeline import load
    from disentangle_bench.spec import DatasetSpec

    dataset = load(DatasetSpec(name=name), make_progress(), data_dir)
    path = out or Path(f"{Path(name).stem}.png")
    save_contact_sheet(dataset, path)
    click.echo(f"{path}: {dataset.name}, {dataset.provenance}, {len(dataset)} images")


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
    for name in registry.names(LISTED[kind]):
        click.echo(f"{name:<22} {describe(LISTED[kind], name)}")


def describe(kind: str, name: str) -> str:
    """One line on a registered thing: what it can be set to, or where it is from."""
    if kind == "metric":
        from disentangle_bench.scoring import named_metrics

        found = named_metrics([name])[name]
        return f"{', '.join(found.headlines) or 'diagnostics'} (revision {found.revision}): {found.paper}"
    found = registry.resolve(kind, name)
    if kind == "data set":
        factors = zip(found.factor_names, found.factor_sizes, strict=True)
        return f"{found.provenance}: " + ", ".join(f"{factor} {size}" for factor, size in factors)
    import dataclasses

    settings = dict(found.hypers) | {field.name: field.default for field in dataclasses.fields(found)}
    return f"{', '.join(f'{key}={value}' for key, value in settings.items())}: {found.paper}"


def plugin_metrics(paths: tuple[Path, ...]) -> list[str]:
    """The metrics of these files; one that cannot be loaded is named, and the work goes on without it."""
    found = []
    for path in paths:
        try:
            found += registry.load_plugin(path)
        except BenchError as error:
            click.echo(f"{error}; going on without it", err=True)
    return found


def with_metrics(grid: Grid, names: Iterable[str]) -> Grid:
    """The grid with these metrics too."""
    for name in names:
        registry.resolve("metric", name)
    return grid.model_copy(update={"metrics": tuple(dict.fromkeys((*grid.metrics, *names)))})


def finish(outcome: Outcome) -> None:
    """The leaderboard, and how the study stands; exit code 1 where a run has failed."""
    print_leaderboard(outcome.path, None, "table")
    for name, reason in outcome.metric_failures.items():
        click.echo(f"metric {name} gave no score: {reason}", err=True)
    click.echo(f"{outcome.done} runs done, {outcome.failed} failed. Tables and figures: {outcome.path}")
    if outcome.failed:
        sys.exit(1)


def print_scores(
    codes: Path, dataset: str | None, metrics: tuple[str, ...], seed: int, data_dir: Path | None
) -> None:
    """The scores of somebody's codes, a line each."""
    from disentangle_bench.launch.score_file import score_file

    chosen = metrics or ("factor_vae", "mig", "beta_vae")
    for name, value in score_file(codes, dataset, chosen, seed, data_dir).items():
        click.echo(f"{name:<28} {value:.6g}")


def print_files(files: Sequence[FileStatus]) -> None:
    """A line for each published file."""
    states = {None: "not there", True: "verified", False: "DAMAGED"}
    for file in files:
        size = "" if file.size is None else f"{file.size / 1e6:.1f} MB"
        click.echo(f"{file.dataset:<10} {states[file.verified]:<10} {size:>10}  {file.path}")
        click.echo(f"{'':<10} from {file.url}" + (f"; {file.reason}" if file.reason else ""))


def print_plan(study: Path, todo: Plan, device: str) -> None:
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
    from disentangle_bench.rundir import StudyDir

    board = boards.leaderboard(load_scores(study), sort, StudyDir(study).controls())
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
