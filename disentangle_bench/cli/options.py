"""Options that several commands take, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench import registry
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.spec import Grid


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
