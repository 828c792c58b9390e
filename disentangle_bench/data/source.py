"""What is known of a data set before it is loaded, and how to load it: what the registry's names lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from disentangle_bench.data.subgrid import check_step, subgrid
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from disentangle_bench.data.factor_dataset import FactorDataset, Notify

# Images that are looked at when a data set is loaded.
A_FEW = 16


class Loader(Protocol):
    """A function that makes a data set ready."""

    def __call__(self, *, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
        """The data set, from files and caches in `data_dir`; `notify(what, done, total)` hears of progress."""
        ...


@dataclass(frozen=True)
class DataSource:
    """A data set's name and facts, so that a grid can be checked and planned without an image, and its loader.

    `published` is the name of the published files that it is made from (see `official.FILES`), None where it
    needs none. `table` int64 [images, factors] is each image's factors where they are known and no full grid.
    """

    name: str
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    image_shape: tuple[int, int, int]
    provenance: str
    load: Loader
    published: str | None = None
    table: Tensor | None = None

    def check_every(self, every: Mapping[str, int]) -> None:
        """Raise BenchError unless `every` names factors of this set and steps that fit them (see `subgrid`)."""
        for factor, k in every.items():
            check_step(self.name, self.factor_names, self.factor_sizes, factor, k)

    def outline(self, every: Mapping[str, int]) -> FactorDataset:
        """The data set as far as it is known before it is loaded, or a sub-grid of it: all but its images."""
        from disentangle_bench.data.factor_dataset import FactorDataset

        whole = FactorDataset(
            name=self.name,
            factor_names=tuple(self.factor_names),
            factor_sizes=tuple(self.factor_sizes),
            image_shape=tuple(self.image_shape),  # type: ignore[arg-type]
            provenance=self.provenance,
            fingerprint="",
            store=NoImages(),
            table=self.table,
        )
        return subgrid(whole, every)

    def check_loaded(self, dataset: object) -> None:
        """Raise BenchError unless this is the data set that the source speaks of, with images as they must be."""
        from disentangle_bench.data.factor_dataset import FactorDataset
        from disentangle_bench.data.factor_table import check_table

        if not isinstance(dataset, FactorDataset):
            raise BenchError(
                f"data set {self.name!r} loads {type(dataset).__name__!r}: it must be a FactorDataset"
            )
        for fact in ("factor_names", "factor_sizes", "image_shape"):
            said, found = tuple(getattr(self, fact)), tuple(getattr(dataset, fact))
            if said != found:
                raise BenchError(
                    f"data set {self.name!r}: its source says {fact} {said}, what it loads has {found}"
                )
        if dataset.table is not None:
            check_table(self.name, dataset.factor_names, dataset.factor_sizes, dataset.table)
        few = self._first_look(dataset)
        if len(few) and int(few.max()) == 1:
            raise BenchError(
                f"data set {self.name!r}: the pixels of its images are 0 and 1; white is 255, so multiply them by 255"
            )

    def _first_look(self, dataset: FactorDataset) -> Tensor:
        """A few of its images, evenly spread. Raises BenchError where they cannot be had."""
        import torch

        try:
            return dataset.images(torch.linspace(0, len(dataset) - 1, min(len(dataset), A_FEW)).long())
        except BenchError:
            raise
        except (Exception, SystemExit) as error:  # anyone's code
            reason = f"{type(error).__name__}: {error}"
            raise BenchError(f"data set {self.name!r}: its images cannot be had: {reason}") from error


class NoImages:
    """The store of a data set that is not loaded."""

    def images(self, index: Tensor) -> Tensor:
        """Nothing: raises RuntimeError."""
        raise RuntimeError("the data set is not loaded")

    def to(self, device: torch.device) -> NoImages:
        """Itself."""
        return self
