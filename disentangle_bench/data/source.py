"""What is known of a data set before it is loaded, and how to load it: what the registry's names lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from disentangle_bench.data.factor_dataset import FactorDataset, Notify
from disentangle_bench.data.subgrid import check_step


class Loader(Protocol):
    """A function that makes a data set ready."""

    def __call__(self, *, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
        """The data set, from files and caches in `data_dir`; `notify(what, done, total)` hears of progress."""
        ...


@dataclass(frozen=True)
class DataSource:
    """A data set's name and facts, so that a grid can be checked and planned without an image, and its loader.

    `published` is the name of the published files that it is made from (see `official.FILES`), None where it
    needs none.
    """

    name: str
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    image_shape: tuple[int, int, int]
    provenance: str
    load: Loader
    published: str | None = None

    def check_every(self, every: Mapping[str, int]) -> None:
        """Raise BenchError unless `every` names factors of this set and steps that fit them (see `subgrid`)."""
        for factor, k in every.items():
            check_step(self.name, self.factor_names, self.factor_sizes, factor, k)
