"""`bench leaderboard`, `bench compare` and `bench list`: what studies hold, and what a grid can name."""

from __future__ import annotations

from pathlib import Path

import click

from disentangle_bench import registry
from disentangle_bench.cli import complete
from disentangle_bench.cli.group import main
from disentangle_bench.cli.output import console, print_tables, say

studies_argument = click.argument(
    "studies",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="STUDY...",
    shell_complete=complete.studies,
)
LISTED = {"models": "model", "datasets": "data set", "metrics": "metric"}


@main.command()
@studies_argument
@click.option(
    "--sort",
    metavar="METRIC",
    shell_complete=complete.measures,
    help="Rank by this measure.  [default: the first metric]",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "csv", "markdown", "latex"]),
    default="table",
    show_default=True,
    help="Print it in this form.",
)
@click.option("--columns", metavar="MEASURE,...", help="Show these measures alone, in this order.")
@click.option(
    "--digits",
    type=click.IntRange(0, 10),
    help="Show so many digits behind the point.  [default: 3, above 10 one]",
)
def leaderboard(
    studies: tuple[Path, ...], sort: str | None, style: str, columns: str | None, digits: int | None
) -> None:
    """Print the leaderboard of one or more studies.

    STUDY is a study's directory. The tables in the directory of a single study are written anew. Runs that cannot be
    compared (other data, other revisions of a metric, scored on other images) are ranked apart, and a note says so.
    """
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.report.study import make_tables, write_csv

    folders = [StudyDir(path) for path in studies]
    tables = make_tables(folders, sort)
    if len(folders) == 1:
        try:
            write_csv(studies[0], tables if sort is None else make_tables(folders))
        except OSError as error:
            say(f"the tables in {studies[0]} are left as they are: {error.strerror or error}", err=True)
    measures = [name.strip() for name in (columns or "").split(",") if name.strip()]
    print_tables(tables, style, ", ".join(map(str, studies)), sort, measures, digits)


@main.command()
@studies_argument
@click.option(
    "--a",
    "first",
    required=True,
    metavar="KEY=VALUE,...",
    shell_complete=complete.choices,
    help="Choose the runs of A.",
)
@click.option(
    "--b",
    "second",
    required=True,
    metavar="KEY=VALUE,...",
    shell_complete=complete.choices,
    help="Choose the runs of B.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "csv"]),
    default="table",
    show_default=True,
    help="Print it in this form.",
)
def compare(studies: tuple[Path, ...], first: str, second: str, style: str) -> None:
    """Compare two choices of runs of STUDY.

    A table has their means, and how probable it is that A is better. A choice names columns of scores.csv: --a
    model=beta_vae,beta=4 --b model=factor_vae.
    """
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.report import compare as comparison
    from disentangle_bench.report.study import make_tables
    from disentangle_bench.report.tables import csv_text
    from disentangle_bench.report.terminal import comparison_table

    tables = make_tables([StudyDir(path) for path in studies])
    a, b = (comparison.parse_choice(text, tables.grouped_runs) for text in (first, second))
    for warning in tables.warnings:
        say(f"note: {warning}", err=True)
    found = comparison.compare(tables.grouped_runs, a, b)
    for side, text in (("a", first), ("b", second)):
        if (found[f"settings_{side}"] > 1).any():
            settings = found[f"settings_{side}"].max()
            say(f"note: {text} takes {settings} settings together", err=True)
    if style == "csv":
        say(csv_text(found), nl=False)
    else:
        console().print(comparison_table(found, f"A: {first}    B: {second}"))


@main.command("list")
@click.argument("kind", type=click.Choice(list(LISTED)))
@click.argument("name", required=False, shell_complete=complete.listed)
def list_command(kind: str, name: str | None) -> None:
    """List the models, datasets or metrics.

    These are what a grid can name. With NAME, only that one is listed.
    """
    if name is not None:
        registry.check(LISTED[kind], name)
    for each in [name] if name is not None else registry.names(LISTED[kind]):
        say(f"{each:<22} {describe(LISTED[kind], each)}")


def describe(kind: str, name: str) -> str:
    """One line on a registered thing: what it can be set to, or where it is from."""
    if kind == "metric":
        from disentangle_bench.evaluation.scores import named_metrics

        found = named_metrics([name])[name]
        return f"{', '.join(found.headlines) or 'diagnostics'} (revision {found.revision}): {found.paper}"
    found = registry.resolve(kind, name)
    if kind == "data set":
        if not found.factor_names:
            return f"{found.provenance}: images without factors"
        factors = zip(found.factor_names, found.factor_sizes, strict=True)
        return f"{found.provenance}: " + ", ".join(f"{factor} {size}" for factor, size in factors)
    from disentangle_bench.models.settings import model_options

    settings = dict(found.hypers) | model_options(found)
    return f"{', '.join(f'{key}={value}' for key, value in settings.items())}: {found.paper}"


@main.command()
@click.argument("name", required=False, shell_complete=complete.grid_names)
def grids(name: str | None) -> None:
    """List the grids that come with the package.

    `bench grids NAME` prints one, `bench run NAME` runs it from any directory, and `bench grids NAME > my.toml` is a
    start for one of your own.
    """
    from disentangle_bench.shipped_grids import grid_path, shipped_grids

    if name is not None:
        click.echo(grid_path(Path(name)).read_text(encoding="utf-8"), nl=False)
        return
    known = shipped_grids()
    width = max(map(len, known), default=0)
    for each, path in known.items():
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        say(f"{each:<{width}}  {first.lstrip('# ')}")
