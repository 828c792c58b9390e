"""From a name to a data set: which loader, which folder, which part, which device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench import registry
from disentangle_bench.data.source import DataSource
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import torch

    from disentangle_bench.data.factor_dataset import FactorDataset, Notify


def load_dataset(
    name: str,
    *,
    every: Mapping[str, int] | None = None,
    data_dir: Path | str | None = None,
    device: torch.device | str = "cpu",
    notify: Notify | None = None,
) -> FactorDataset:
    """The data set called `name`, a registered one, "module:source" or the path of your own, on `device`.

    `every` keeps each k-th value of the factors that it names (see `subgrid`). `data_dir` is where files
    and caches live, `default_data_dir()` unless given; `notify(what, done, total)` hears of progress.
    Raises BenchError for an unknown name, or a file that is missing or not what it should be.
    """
    source = find_source(name)
    folder = default_data_dir() if data_dir is None else Path(data_dir)
    dataset = source.load(data_dir=folder, notify=notify)
    source.check_loaded(dataset)
    return subgrid(dataset, every or {}).to(device)


def find_source(name: str) -> DataSource:
    """What is known of the data set called `name` (registered, "module:source" or a path) and how to load it.

    Raises BenchError for an unknown name, a path where there is no data set, or an object that is no DataSource.
    """
    source = registry.resolve("data set", name)
    if not isinstance(source, DataSource):
        raise BenchError(f"data set {name!r} is {type(source).__name__!r}: it must be a DataSource")
    return source


def default_data_dir() -> Path:
    """DISENTANGLE_BENCH_DATA if it is set, else ./datasets where there is one, else a cache of the user's."""
    named = os.environ.get("DISENTANGLE_BENCH_DATA")
    if named:
        return Path(named).expanduser()
    checkout = Path("datasets")
    if checkout.is_dir():
        return checkout.absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "disentangle_bench"
