"""From a grid file to a Grid, and what to say of a file that is none: file, key, value and what is allowed."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from disentangle_bench import registry
from disentangle_bench.data.load import find_source
from disentangle_bench.errors import BenchError, decapitalised, unknown_name
from disentangle_bench.files import read_small
from disentangle_bench.grid import Grid, expand
from disentangle_bench.shipped_grids import grid_path
from disentangle_bench.specs import (
    MAX_SEED,
    CorrelatedSpec,
    DatasetSpec,
    NetworkSpec,
    ScoringSpec,
    SplitSpec,
    TrainingSpec,
)


def read_grid(
    path: Path,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    *,
    with_data: bool = True,
    allow: Collection[str] | None = None,
) -> Grid:
    """The grid in the TOML file `path`, after `key=value` overrides and the number of seeds from the command line.

    A bare name that is no file means the grid of that name that comes with the package (see `shipped_grids`).
    Without `with_data` data sets and metrics need not be there, as for what only looks at a study. The grid that a
    study keeps may be a stranger's: `allow` lists the "module:name" of it that may be imported; None stands for a
    grid that the user has named, all of whose names may. Raises BenchError naming file, key, value and what is allowed.
    """
    path = grid_path(path)
    document = read_toml(path, "grid file")
    document.setdefault("name", path.stem)
    document = with_overrides(document, overrides, seeds)
    return check_grid(document, source=str(path), with_data=with_data, allow=allow)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The document in the TOML file `path`, which messages call a `what`. Raises BenchError where it is none."""
    try:
        return tomllib.loads(read_small(path).decode())
    except FileNotFoundError as error:
        raise BenchError(f"there is no {what} {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read: {error}") from error
    except (
        ValueError
    ) as error:  # of which a number of thousands of digits is one that is not the TOML reader's own
        raise BenchError(f"{path} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise BenchError(f"{path} is not valid TOML: nested too deeply") from error


def check_grid(
    document: Mapping[str, Any],
    source: str = "grid",
    *,
    with_data: bool = True,
    allow: Collection[str] | None = None,
) -> Grid:
    """The grid that a parsed document describes, with all names known and all runs distinct; else BenchError.

    Paths of data sets become absolute, so that its runs can be scored and shown from any directory.
    """
    _refuse_large_numbers(document, source)
    try:
        grid = Grid.model_validate(dict(document))
    except ValidationError as error:
        raise BenchError(
            "\n".join(f"{source}: {complaint(e, _known_keys(e['loc'][:-1]))}" for e in error.errors())
        ) from error
    try:
        grid = _with_lasting_paths(grid)
        if allow is not None:
            _check_allowed(grid, allow, with_data)
        if with_data:
            _check_datasets(grid)
            for metric in grid.metrics:
                registry.resolve("metric", metric)
        expand(grid)
    except BenchError as error:
        raise BenchError(f"{source}: {error}") from error
    return grid


def _refuse_large_numbers(document: Mapping[str, Any], source: str) -> None:
    """Raise BenchError for a whole number of more than TOML's 64 bits, which neither a float nor a message may hold."""
    left: list[tuple[str, Any]] = list(document.items())
    while left:
        where, value = left.pop()
        if isinstance(value, int) and not -MAX_SEED - 1 <= value <= MAX_SEED:
            raise BenchError(f"{source}: {where}: a whole number lies between -{MAX_SEED + 1} and {MAX_SEED}")
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
        )
        left += [(f"{where}.{key}", entry) for key, entry in inner]


def _check_allowed(grid: Grid, allow: Collection[str], with_data: bool) -> None:
    """Raise BenchError before anything is imported that the user has not named."""
    for model in grid.models:
        registry.check_allowed("model", model.name, allow)
    if with_data:
        for dataset in grid.all_datasets:
            registry.check_allowed("data set", dataset.name, allow)
        for metric in grid.metrics:
            registry.check_allowed("metric", metric, allow)


def _with_lasting_paths(grid: Grid) -> Grid:
    """The same with absolute paths of data sets. Raises BenchError for two that tables could not tell apart."""
    grid = grid.model_copy(update={"datasets": tuple(map(_lasting, grid.datasets))})
    paths: dict[str, str] = {}
    for dataset in grid.all_datasets:
        if paths.setdefault(dataset.short_name, dataset.name) != dataset.name:
            raise BenchError(
                f"the data sets {paths[dataset.short_name]} and {dataset.name} have the same name, by which tables call"
                " them; rename one"
            )
    return grid


def _lasting(dataset: DatasetSpec) -> DatasetSpec:
    """The entry with absolute paths, of the data sets that it is scored on too."""
    others = None if dataset.score_on is None else tuple(map(_lasting, dataset.score_on))
    return dataset.model_copy(update={"name": registry.lasting(dataset.name), "score_on": others})


def _check_datasets(grid: Grid) -> None:
    for dataset in grid.all_datasets:
        find_source(dataset.name, dataset.parameters).check_part(dataset.every, dataset.size)


def with_overrides(
    document: Mapping[str, Any], overrides: Sequence[str], seeds: int | None
) -> dict[str, Any]:
    """A copy of the document after `key=value` overrides, with this number of seeds where one is given."""
    changed = copy.deepcopy(dict(document))
    for override in overrides:
        _override(changed, override)
    return changed | ({} if seeds is None else {"seeds": seeds})


def _override(document: dict[str, Any], override: str) -> None:
    """Set one dotted key of the document, `training.steps=500` or `models.0.beta=[1, 4]`; a bare word is a string."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise BenchError(f"--set {override!r}: write it as key=value, for example training.steps=500")
    value = toml_value(text)
    place: Any = document
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(place, list):
            if not key.isdecimal() or int(key) >= len(place):
                raise BenchError(
                    f"--set {override!r}: {'.'.join(keys[:depth])} has entries 0..{len(place) - 1}"
                )
            key = int(key)  # type: ignore[assignment]
        elif not isinstance(place, dict):
            raise BenchError(f"--set {override!r}: {'.'.join(keys[:depth])} is a value, not a table")
        elif not last:
            place.setdefault(key, {})
        if last:
            place[key] = value
        else:
            place = place[key]


def toml_value(text: str) -> Any:
    """The value that this is in TOML; what is none, as a bare word, is a string."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):
        return text.strip()


def complaint(error: Any, known: Sequence[str]) -> str:
    """One pydantic error in a file's own words: key, value, what is allowed; `known` keys may stand where it is."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return str(unknown_name(f"key {where!r}:", str(error["loc"][-1]), known))
    if error["type"] == "missing":
        return f"{where} is missing"
    value = error["input"]
    value = str(value).lower() if isinstance(value, bool) else repr(value)
    shown = value if len(value) <= 80 else value[:77] + "..."
    if error["type"] in ("model_type", "dict_type"):
        return f"{where} = {shown}: a table is needed"
    return f"{where} = {shown}: {decapitalised(error['msg'].removeprefix('Value error, '))}"


def _known_keys(location: Sequence[Any]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "datasets": DatasetSpec,
        "split": SplitSpec,
        "correlated": CorrelatedSpec,
        "score_on": DatasetSpec,
        "network": NetworkSpec,
        "training": TrainingSpec,
        "scoring": ScoringSpec,
    }
    table = next((tables[key] for key in reversed(list(location)) if key in tables), Grid)
    return list(table.model_fields)
