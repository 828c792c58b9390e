"""A data set's facts, known before an image is read, and where its images come from: what its name leads to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from disentangle_bench.data.smaller import at_size, check_size
from disentangle_bench.data.subgrid import check_step, subgrid
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from disentangle_bench.data.factor_dataset import FactorDataset, ImageStore, Notify, Symmetry

# Images whose pixels the fingerprint of a data set by code is made of.
HASHED_IMAGES = 256


class DataSource:
    """A data set by code: a class of its own with the facts below as attributes, and `images`.

    `name`, `factor_names`, `factor_sizes` and `image_shape` (channels, height, width) are needed. The others are those
    of `FactorDataset`. Without a `fingerprint` it is made of the facts and of 256 evenly spaced images. `published`
    is the name of the published files that the data set is made from (see `official.FILES`). Images without factors
    have no `factor_names` and a `table` [images, 0], which says how many there are. A data set that is read from files
    says in `open` where its images come from, and has no `images`.
    """

    name: str
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    image_shape: tuple[int, int, int]
    provenance: str = "user"
    fingerprint: str = ""
    table: Tensor | None = None
    nuisance: str = ""
    labels: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    measured: Mapping[str, Tensor] = MappingProxyType({})
    published: str | None = None

    @property
    def symmetry(self) -> Symmetry | None:
        """What images show of a factor where two of its values give one picture."""
        return None

    def with_parameters(self, **parameters: Any) -> DataSource:
        """The data set that these parameters ask for: numbers, booleans, strings and lists of them.

        Raises BenchError that names the key, the value and what is allowed. A class that has parameters gives another
        object of itself.
        """
        raise BenchError(f"{self.name} takes no parameters; leave out {', '.join(parameters)}")

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height, width], values 0..255, for int64 indices [n], each from 0 to the last image."""
        raise NotImplementedError

    def factors(self, index: Tensor) -> Tensor:
        """int64 [n, factors]: the values 0..size-1 of the images at int64 indices [n], unchecked."""
        from disentangle_bench.data.factor_dataset import grid_factors

        if self.table is not None:
            return self.table.to(index.device).index_select(0, index)
        return grid_factors(index, self.factor_sizes)

    def to(self, device: torch.device) -> ImageStore:
        """Where images come from on this device: made on the CPU and sent, unless a class does better.

        A class whose `images` answers on the device of its index, and holds no tensor, can give itself.
        """
        from disentangle_bench.data.array_store import HostStore

        return self if device.type == "cpu" else HostStore(self, device)

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """(where the images come from, their fingerprint); `data_dir` is where files and caches live.

        `notify(what, done, total)` hears of progress. Raises BenchError where the images cannot be had.
        """
        from disentangle_bench.data.checks import some_images

        if self.fingerprint:
            return self, self.fingerprint
        known = (self.name, self.factor_names, self.factor_sizes, self.image_shape)
        digest = hashlib.sha256(repr(known).encode())
        if self.table is not None:
            digest.update(self.table.numpy().tobytes())
        for values in self.measured.values():
            digest.update(values.numpy().tobytes())
        digest.update(some_images(self.dataset(self, ""), HASHED_IMAGES).numpy().tobytes())
        return self, digest.hexdigest()

    def load(self, *, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
        """The data set with its images on the CPU. Raises BenchError where they cannot be had."""
        return self.dataset(*self.open(data_dir, notify))

    def dataset(self, store: ImageStore, fingerprint: str) -> FactorDataset:
        """The data set of these facts with the images of `store`."""
        from disentangle_bench.data.factor_dataset import FactorDataset

        return FactorDataset(
            name=self.name,
            factor_names=self.factor_names,
            factor_sizes=self.factor_sizes,
            image_shape=self.image_shape,
            provenance=self.provenance,
            fingerprint=fingerprint,
            store=store,
            table=self.table,
            nuisance=self.nuisance,
            labels=dict(self.labels),
            symmetry=self.symmetry,
            measured=dict(self.measured),
        )

    def outline(self, every: Mapping[str, int], size: int | None = None) -> FactorDataset:
        """The data set as far as it is known before it is loaded, or a part or size of it: all but its images."""
        return at_size(subgrid(self.dataset(NoImages(), ""), every), size)

    def check_facts(self) -> None:
        """Raise BenchError unless all facts are there and fit together."""
        own = type(self)
        who = f"data set {getattr(self, 'name', own.__name__)!r}"
        for fact, kind in (
            ("name", str),
            ("factor_names", tuple),
            ("factor_sizes", tuple),
            ("image_shape", tuple),
        ):
            if not isinstance(getattr(self, fact, None), kind):
                raise BenchError(
                    f"{who} needs {fact}, a {kind.__name__}, as an attribute of its class {own.__name__}"
                )
        if own.images is DataSource.images and own.open is DataSource.open and own.load is DataSource.load:
            raise BenchError(f"{who} has no images; give its class {own.__name__} a method images(index)")
        names, sizes, shape = self.factor_names, self.factor_sizes, self.image_shape
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
            raise BenchError(f"{who}: factor_names are {names!r}; they must be different names")
        if len(names) != len(sizes):
            raise BenchError(
                f"{who}: factor_sizes are {sizes!r}; needed is one for each of factor_names {names!r}"
            )
        if not names and (self.table is None or not len(self.table)):
            raise BenchError(
                f"{who} has no factor_names: how many images without factors there are is said by a table [images, 0],"
                " for instance table = torch.empty(1000, 0, dtype=torch.int64)"
            )
        if not all(type(number) is int and number > 0 for number in (*sizes, *shape)) or len(shape) != 3:
            raise BenchError(
                f"{who}: factor_sizes are {sizes!r} and image_shape (channels, height, width) is {shape!r}; they must"
                " hold whole numbers from 1"
            )
        if self.table is not None or self.measured:
            from disentangle_bench.data.factor_table import check_measured, check_table_shape

            if self.table is not None:
                check_table_shape(self.name, sizes, self.table)
            images = math.prod(sizes) if self.table is None else len(self.table)
            check_measured(self.name, names, self.measured, images, self.table)

    def check_part(self, every: Mapping[str, int], size: int | None) -> None:
        """Raise BenchError unless `every` names factors of this set and steps that fit them, and `size` its sides."""
        self.check_facts()
        if every and self.table is not None:
            self.outline({}).check_labelled("`every`")
        for factor, k in every.items():
            check_step(self.name, self.factor_names, self.factor_sizes, factor, k)
        if size is not None:
            check_size(self.name, self.image_shape, size)


class NoImages:
    """The store of a data set that is not loaded."""

    def images(self, index: Tensor) -> Tensor:
        """Nothing: raises RuntimeError."""
        raise RuntimeError("the data set is not loaded")

    def to(self, device: torch.device) -> NoImages:
        """Itself."""
        return self
