"""What the shell offers at the Tab key. Nothing here imports torch or reads more than names.

A function gets click's context, the parameter and what is typed so far, and returns what goes on from it. Where nothing
does, the shell completes paths itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from disentangle_bench import registry
from disentangle_bench.errors import BenchError

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names(kind: str) -> Complete:
    """The registry's names of this kind."""

    def complete(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
        try:
            found = registry.names(kind)
        except BenchError:  # two packages claim a name, which the command itself says
            return []
        return _from(found, typed)

    return complete


def grids(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """The grids that come with the package, and TOML files."""
    files = [path for path in _beside(typed) if path.endswith(".toml")]
    return _from([*_shipped(), *files], typed, "file")


def grid_names(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """The grids that come with the package."""
    return _from(_shipped(), typed)


def studies(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """The study directories in results/, and those beside what is typed."""
    return _from(_studies(typed), typed, "dir")


def runs(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """The run directories of these studies."""
    return _from(_runs(typed), typed, "dir")


def studies_and_runs(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Studies and TOML files; as soon as STUDY/runs/ is typed, its runs."""
    files = [path for path in _beside(typed) if path.endswith(".toml")]
    return _from(_runs(typed) if "/runs/" in typed else [*_studies(typed), *files], typed, "file")


def choices(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """Choices of runs by their model: `model=beta_vae`."""
    return _from([f"model={name}" for name in registry.names("model")], typed)


def listed(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """The names of the kind that was typed before, as `bench list` calls it."""
    kinds = {"models": "model", "datasets": "data set", "metrics": "metric"}
    kind = kinds.get(ctx.params.get("kind", ""))
    return _from(registry.names(kind) if kind else [], typed)


def measures(ctx: click.Context, param: click.Parameter, typed: str) -> list[CompletionItem]:
    """The measures of the first study that was typed."""
    # While an option waits for its value, click has not sorted the words before it.
    for study in ctx.params.get("studies") or ctx.args:
        try:
            with open(Path(study) / "leaderboard.csv", encoding="utf-8") as file:
                columns = file.readline().strip().split(",")
        except (OSError, ValueError):
            continue
        return _from([name[: -len("_mean")] for name in columns if name.endswith("_mean")], typed)
    return []


def _from(found: Iterable[str], typed: str, otherwise: str = "") -> list[CompletionItem]:
    """Those that begin with what is typed; `otherwise` ("file" or "dir") has the shell complete paths."""
    items = [CompletionItem(name) for name in dict.fromkeys(found) if name.startswith(typed)]
    return items or ([CompletionItem(typed, type=otherwise)] if otherwise else [])


def _shipped() -> list[str]:
    from disentangle_bench.shipped_grids import shipped_grids

    return list(shipped_grids())


def _beside(typed: str) -> list[str]:
    """The paths in the directory that is typed, as they would be typed."""
    folder = typed[: typed.rfind("/") + 1]
    try:
        return [folder + name for name in sorted(os.listdir(folder or ".")) if not name.startswith(".")]
    except OSError:
        return []


def _studies(typed: str) -> list[str]:
    places = [*_beside(typed), *_beside("results/")]
    return [path for path in places if os.path.isfile(os.path.join(path, "grid.toml"))]


def _runs(typed: str) -> list[str]:
    study, inside, _ = typed.partition("/runs/")
    where = [study] if inside else _studies(typed)
    return [run for path in where for run in _beside(f"{path}/runs/")]
