"""Options that several commands take, and what they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
from click.core import ParameterSource

from disentangle_bench import registry
from disentangle_bench.cli import complete
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.grid import Grid


def grid_options(command: Any) -> Any:
    """The grid, and what changes it from the command line."""
    for decorate in (
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of the grid."),
        click.option("--seeds", type=click.IntRange(min=1), help="Run seeds 0..N-1 instead of the grid's."),
        click.argument("grid", type=click.Path(path_type=Path), shell_complete=complete.grids),
    ):
        command = decorate(command)
    return command


class Duration(click.ParamType):
    """Seconds from a text such as `90s`, `9m`, `2h` or `1.5h`; a bare number is seconds."""

    name = "duration"
    units: ClassVar[dict[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smh]?)", str(value).strip())
        if found is None or float(found[1]) <= 0:
            self.fail(f"{value!r} is no duration; write for instance 90s, 9m or 2h", param, ctx)
        return float(found[1]) * self.units[found[2]]


class JobCount(click.ParamType):
    """A number of processes; `auto` is None, which stands for one a core."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """The number."""
        if value == "auto":
            return None
        if not re.fullmatch(r"[1-9]\d{0,4}", str(value)):
            self.fail(f"{value!r} is no number of processes; write auto or a whole number from 1", param, ctx)
        return int(value)


jobs_option = click.option(
    "--jobs",
    type=JobCount(),
    help="On a CPU, train and score so many runs at a time, each in a process.  [default: auto, one a core]",
)


threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of each of these processes; another number changes scores as another seed would.  [default: 1]",
)


def refuse_jobs(device: str, *given: int | None) -> None:
    """Raise BenchError where --jobs or --threads were given for a device that is no CPU."""
    if device != "cpu" and any(number is not None for number in given):
        raise BenchError("--jobs and --threads are for --device cpu")


class PointCount(click.ParamType):
    """A number of points; `all` stands for every one."""

    name = "N|all"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """The number, or `all`."""
        if value == "all":
            return "all"
        if not re.fullmatch(r"[1-9]\d{0,15}", str(value)) or int(value) < 2:
            self.fail(f"{value!r} is no number of points; write all or a whole number from 2", param, ctx)
        return int(value)


class StepOfFactor(click.ParamType):
    """(factor, k) from a text such as `orientation=4`."""

    name = "factor=k"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """The factor and the step."""
        found = re.fullmatch(r"([^=]+)=([1-9]\d{0,8})", str(value))
        if found is None:
            self.fail(f"{value!r} is no factor with a step; write for instance orientation=4", param, ctx)
        return found[1], int(found[2])


class Parameter(click.ParamType):
    """(key, value) from a text such as `scales=4` or `shapes=["heart"]`: a value of TOML, or a bare word."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """The key and the value."""
        key, equals, text = str(value).partition("=")
        if not equals or not key.strip():
            self.fail(f"{value!r} is no parameter with a value; write for instance scales=4", param, ctx)
        from disentangle_bench.grid_file import toml_value

        found = toml_value(text)
        each = found if isinstance(found, list) else [found]
        if not all(isinstance(one, bool | int | float | str) for one in each):
            self.fail(f"{value!r}: a number, true, false, a word or a list of these is needed", param, ctx)
        return key.strip(), found


parameter_option = click.option(
    "--parameter",
    "parameters",
    multiple=True,
    type=Parameter(),
    help="Set a parameter of a data set such as dsprites_drawn; may be repeated.",
)


class Shard(click.ParamType):
    """(i, n) from a text such as `2/8`: the second of eight parts."""

    name = "i/n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """The number of the part, from 1, and how many there are."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", str(value).strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is no part; write i/n with i from 1 to n, for instance 2/8", param, ctx)
        return int(found[1]), int(found[2])


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    envvar="DISENTANGLE_BENCH_DATA",
    help="Keep data files here.  [default: ./datasets, else a cache of yours]",
)


def metrics_option(help: str) -> Any:
    """`--metric NAME`, as often as one likes."""
    return click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="NAME",
        shell_complete=complete.names("metric"),
        help=help,
    )


metric_limit_option = click.option(
    "--metric-limit",
    "metric_seconds",
    type=Duration(),
    help="Give a metric up that takes longer than this (10m) for one run.  [default: no limit]",
)


plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A Python file whose metrics are scored too.",
)


allow_option = click.option(
    "--allow",
    multiple=True,
    metavar="MODULE[:NAME]",
    help="Import this code, which the study names; may be repeated.  [default: this package's, installed]",
)


def plugin_metrics(paths: tuple[Path, ...]) -> list[str]:
    """The metrics of these files. Raises BenchError for one that cannot be loaded, or has no metric."""
    found = []
    for path in paths:
        names = registry.load_plugin(path)
        if not names:
            raise BenchError(registry.why_no_metric(path))
        found += names
    return found


def with_metrics(grid: Grid, names: Iterable[str]) -> Grid:
    """The grid with these metrics too."""
    for name in names:
        registry.resolve("metric", name)
    return grid.model_copy(update={"metrics": tuple(dict.fromkeys((*grid.metrics, *names)))})


def refuse_options(where: str, *names: str) -> None:
    """Raise BenchError where one of these options, which would do nothing, was given on the command line."""
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is ParameterSource.COMMANDLINE:
            raise BenchError(f"{parameter.opts[0]} does nothing {where}; leave it out")
