"""A data set whose every image is named by the values of its factors."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from disentangle_bench.errors import BenchError

# How a loader tells of its progress: what it is doing, how much is done, how much there is in all.
Notify = Callable[[str, int, int], None]
CPU = torch.device("cpu")


class ImageStore(Protocol):
    """Where a data set's pixels come from: packed bits, part maps, a file, a variant of another store.

    This is the seam for a new data source. A store lives on one device and answers there.
    """

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height, width] for int64 indices [n] on the store's own device."""
        ...

    def to(self, device: torch.device) -> ImageStore:
        """The same store on another device (itself where it is there already)."""
        ...


@dataclass(frozen=True)
class Symmetry:
    """What images show of a factor that they do not show as it is, such as the orientation of a square.

    `seen` [values of the factor `by`, values of `factor`] is equal where images are.
    """

    factor: str
    by: str
    seen: Tensor


@dataclass(frozen=True)
class FactorDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images in the lexicographic order of their factors, the last factor fastest, or with a table of factors.

    It is a torch `Dataset` of pairs: an image uint8 [channels, height, width] and its factors int64 [factors].

    `provenance` says where the pixels are from: "official" (the published file, hash checked where one is
    published), "rendered" (drawn again from the published geometry) or "user". `fingerprint` is a hash that changes
    whenever a pixel may have changed; it is kept with every result.

    `symmetry` says what images show of a factor where two of its values give one picture.
    `table` int64 [images, factors] gives each image's factors where the images are not every combination
    exactly once; a row of -1 is an image whose factors are not known, and images without any factors have the table
    [images, 0]. `nuisance` says in words what varies from image to image and is no factor. `labels` says what the
    values of a factor are called, in order, for factors whose values have names.

    `measured` maps each real-valued factor to what was measured of it, float64 [images]. Of such a factor `factors`
    gives the bin that the value falls into (`labels` say from where to where), and `values` the value itself.
    """

    name: str
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    image_shape: tuple[int, int, int]
    provenance: str
    fingerprint: str
    store: ImageStore
    device: torch.device = CPU
    table: Tensor | None = None
    nuisance: str = ""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    symmetry: Symmetry | None = None
    measured: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return math.prod(self.factor_sizes) if self.table is None else len(self.table)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """The pairs of a whole batch at once, which a `DataLoader` asks for."""
        length = len(self)
        positions = [index + length if index < 0 else index for index in map(operator.index, indices)]
        # A loop over the data set ends here, on a GPU too.
        if not all(0 <= index < length for index in positions):
            raise IndexError(f"{self.name} has {length} images; index {list(indices)} is outside")
        return list(zip(self.images(positions), self.factors(positions), strict=True))

    @property
    def full_grid(self) -> bool:
        """Whether every combination of the factors' values is there exactly once, in order."""
        return self.table is None

    @property
    def labelled(self) -> Tensor | None:
        """int64 [n]: the images whose factors are known, where others have none; None for all images or none."""
        if self.table is None or not self.factor_names:
            return None
        known = self.table[:, 0] >= 0
        return None if bool(known.all()) else known.nonzero()[:, 0]

    def check_labelled(self, what: str) -> None:
        """Raise BenchError unless the factors of all images are known, which `what` needs."""
        if not self.factor_names:
            raise BenchError(f"{self.name} has images without factors, and {what} needs factors")
        if (labelled := self.labelled) is not None:
            raise BenchError(
                f"{self.name} has factors for {len(labelled)} of its {len(self)} images, and {what} needs those of all"
            )

    def images(self, index: Any) -> Tensor:
        """uint8 [n, channels, height, width], values 0..255, for `index` [n] (integers, or one int).

        Raises IndexError outside 0..len-1, and BenchError where the store gives anything else than such images.
        """
        positions = self._checked(index)
        images = self.store.images(positions)
        wanted = (len(positions), *self.image_shape)
        dtype, shape = getattr(images, "dtype", type(images).__name__), tuple(getattr(images, "shape", ()))
        # No look at the values, which a GPU would have to be waited for.
        if not isinstance(images, Tensor) or dtype != torch.uint8 or shape != wanted:
            raise BenchError(
                f"{self.name}: its images are {dtype} {shape}; they must be a torch.uint8 tensor [n, channels, height,"
                f" width] = {wanted} with values 0 to 255"
            )
        return images

    def factors(self, index: Any) -> Tensor:
        """int64 [n, factors]: each factor's value, 0..size-1, for `index` [n]; of a real-valued factor its bin.

        -1 stands for a value that is not known.

        Raises IndexError outside 0..len-1.
        """
        positions = self._checked(index)
        if self.table is not None:
            return self.table.index_select(0, positions)
        return grid_factors(positions, self.factor_sizes)

    def values(self, index: Any) -> Tensor:
        """float64 [n, factors]: as `factors`, but of real-valued factors what was measured.

        Raises IndexError outside 0..len-1.
        """
        positions = self._checked(index)
        found = self.factors(positions).to(torch.float64)
        for name, measured in self.measured.items():
            found[:, self.factor_names.index(name)] = measured.index_select(0, positions)
        return found

    def index(self, factors: Any) -> Tensor:
        """int64 [n]: where the images with these factor values [n, factors] are; inverse of `factors`.

        Of several images with the same factors the first is meant. Raises IndexError for values outside
        0..size-1 and for combinations that are not there.
        """
        values = torch.as_tensor(factors, dtype=torch.int64, device=self.device)
        sizes = torch.tensor(self.factor_sizes, device=self.device)
        if values.ndim != 2 or values.shape[1] != len(sizes):
            raise IndexError(
                f"{self.name} has {len(sizes)} factors; got an array of shape {tuple(values.shape)}"
            )
        if bool(((values < 0) | (values >= sizes)).any()):
            raise IndexError(f"a factor value lies outside 0..size-1; the sizes are {self.factor_sizes}")
        if self.table is None:
            return self.place(values)
        present, place = self._ranks(values)
        taken, order = present.sort(stable=True)
        found = torch.searchsorted(taken, place).clamp_(max=len(taken) - 1)
        if bool((taken[found] != place).any()):
            raise IndexError(f"{self.name} has no image of some of these combinations of factors")
        return order[found]

    def to(self, device: torch.device | str) -> FactorDataset:
        """The same data set with its pixels on `device`, where `images` and `factors` then answer.

        Raises BenchError where they do not fit there.
        """
        device = torch.device(device)
        try:
            table = None if self.table is None else self.table.to(device)
            measured = {name: values.to(device) for name, values in self.measured.items()}
            store = self.store.to(device)
        except torch.OutOfMemoryError as error:
            raise BenchError(
                f"{self.name} does not fit into the free memory of {device}; free some, or run with --device cpu"
            ) from error
        return replace(self, store=store, device=device, table=table, measured=measured)

    def place(self, values: Tensor) -> Tensor:
        """int64 [n]: where these factor values [n, factors] stand among all combinations, in order; unchecked.

        That is `index` of a full grid, without its checks, which would wait for the device.
        """
        place = torch.zeros(len(values), dtype=torch.int64, device=self.device)
        for column, size in enumerate(self.factor_sizes):
            place = place * size + values[:, column]
        return place

    def _ranks(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """int64 [images] and [n]: equal numbers for equal rows of the table and of `values`, whatever the sizes.

        A table of many factors has more combinations than an integer counts, so that numbers are closed up on the way.
        """
        assert self.table is not None
        rows = torch.cat([self.table, values])
        rank = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        bound = 1
        for column, size in enumerate(self.factor_sizes):
            if bound * size >= 2**62:
                rank = torch.unique(rank, return_inverse=True)[1]
                bound = len(rows)
            rank = rank * size + rows[:, column]
            bound *= size
        return rank[: len(self.table)], rank[len(self.table) :]

    def _checked(self, index: Any) -> Tensor:
        positions = torch.as_tensor(index, device=self.device).reshape(-1)
        if positions.is_floating_point() or positions.dtype == torch.bool:
            raise IndexError(f"indices are integers, not {positions.dtype}")
        positions = positions.to(torch.int64)
        # Reading a verdict from a GPU would stall its queue; there, `index_select` itself traps what is
        # outside.
        if positions.device.type == "cpu" and len(positions):
            low, high = int(positions.min()), int(positions.max())
            if low < 0 or high >= len(self):
                raise IndexError(
                    f"index {low if low < 0 else high} is outside 0..{len(self) - 1} of {self.name}"
                )
        return positions


def grid_factors(index: Tensor, sizes: Sequence[int]) -> Tensor:
    """int64 [n, factors]: the values at places [n] among all combinations of so many values, the last one fastest."""
    columns = []
    for size in reversed(sizes):
        columns.append(index % size)
        index = index // size
    return torch.stack(columns[::-1], dim=1)
