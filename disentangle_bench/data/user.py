"""Your own data: an `.npz` or HDF5 file with `images` and `factors`, or a folder of images with `factors.csv`.

- `images`: uint8 [n, height, width], [n, height, width, channels] or [n, channels, height, width] with 1 or 3
  channels, values 0 to 255 (0 and 1 alone mean black and white and become 0 and 255).
- `factors`: whole numbers [n, factors]; any values, which are numbered 0, 1, ... in ascending order.
- `factor_names` (not in an `.npz` or HDF5 file that lacks it: "factor0", "factor1", ...): strings [factors].
- `factors.csv`: a column `file` with names relative to the folder, and a column per factor, in which numbers are
  sorted by value and anything else as text. The images are resized to 64 x 64.

Where every combination of the factors' values occurs exactly once, in whatever order, the result is a full grid in
lexicographic order. Otherwise the images stay in their order and carry a factor table.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.factor_dataset import FactorDataset, Notify
from disentangle_bench.data.source import DataSource
from disentangle_bench.data.strict_h5 import StrictH5, open_h5
from disentangle_bench.data.strict_npz import StrictNpz, open_npz
from disentangle_bench.errors import BenchError

SUFFIXES = (".npz", ".h5", ".hdf5")
TABLE_NAME = "factors.csv"
FOLDER_SIDE = 64
# Images are held in memory; a file that declares more than this is refused rather than unpacked.
LARGEST_BYTES = 16 << 30
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class FactorTable:
    """Each image's factors [n, factors], numbered from 0, with their names and sizes.

    `place` [n] says where each image goes in a full grid; None where the images are no full grid.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    values: NDArray[np.int64]
    place: NDArray[np.int64] | None


def user_source(path: Path | str) -> DataSource:
    """The source of the data set at `path`; its factors are read now, its images when it is loaded.

    Raises BenchError with the reason for a file or folder that is not as this module's head says.
    """
    path = Path(path)
    kind: type[ArrayFile] | type[ImageFolder]
    kind = ArrayFile if path.name.endswith(SUFFIXES) else ImageFolder
    content = kind(path)
    table = content.table()

    def load(*, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
        return assemble(path, table, content, notify)

    return DataSource(path.name, table.names, table.sizes, content.image_shape(), "user", load)


def assemble(
    path: Path, table: FactorTable, content: ArrayFile | ImageFolder, notify: Notify | None
) -> FactorDataset:
    """The data set of all images in memory; its fingerprint is the sha256 of pixels, factors and names."""
    shape = (len(table.values), *content.image_shape())
    if math.prod(shape) > LARGEST_BYTES:
        raise BenchError(
            f"{path} holds {math.prod(shape)} bytes of images; at most {LARGEST_BYTES} are taken"
        )
    images = np.empty(shape, np.uint8)
    done = 0
    for block in content.blocks():
        rows = np.arange(done, done + len(block))
        images[rows if table.place is None else table.place[rows]] = block
        done += len(block)
        if notify is not None:
            notify(f"reading {path.name}", done, len(images))
    if images.max(initial=0) == 1:
        images *= 255
    digest = hashlib.sha256(repr((table.names, table.sizes, shape)).encode())
    digest.update(images.data)
    if table.place is None:
        digest.update(table.values.tobytes())
    return FactorDataset(
        name=path.name,
        factor_names=table.names,
        factor_sizes=table.sizes,
        image_shape=content.image_shape(),
        provenance="user",
        fingerprint=digest.hexdigest(),
        store=ArrayStore(torch.from_numpy(images)),
        table=torch.from_numpy(table.values) if table.place is None else None,
    )


def factor_table(path: Path, names: tuple[str, ...], columns: list[NDArray[Any]]) -> FactorTable:
    """The table of these columns, each numbered from 0 by its sorted values."""
    if not columns or not len(columns[0]):
        raise BenchError(f"{path} names no factor or no image")
    if len(set(names)) != len(columns) or not all(names):
        raise BenchError(
            f"{path}: {len(columns)} factors need as many different names, not {', '.join(names)}"
        )
    numbered = [np.unique(column, return_inverse=True) for column in columns]
    sizes = tuple(len(found) for found, _ in numbered)
    if math.prod(sizes) >= 2**62:
        raise BenchError(f"{path}: the factors have too many values: {sizes}")
    values = np.stack([numbers.reshape(-1) for _, numbers in numbered], axis=1).astype(np.int64)
    place = np.ravel_multi_index(tuple(values.T), sizes)
    full = len(place) == math.prod(sizes) and len(np.unique(place)) == len(place)
    return FactorTable(names, sizes, values, place.astype(np.int64) if full else None)


class ArrayFile:
    """Images and factors of an `.npz` or HDF5 file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.open() as source:
            images, factors = source.header("images"), source.header("factors")
        if images.dtype != np.uint8 or len(images.shape) not in (3, 4):
            raise BenchError(
                f"{path}: images are {images.dtype} {images.shape}, not uint8 [n, height, width(, channels)]"
            )
        if len(factors.shape) != 2 or factors.dtype.kind not in "iu":
            raise BenchError(
                f"{path}: factors are {factors.dtype} {factors.shape}, not whole numbers [n, factors]"
            )
        if len(set((images.shape[0], factors.shape[0]))) > 1:
            raise BenchError(f"{path} has {images.shape[0]} images and factors for {factors.shape[0]}")
        self.shape = images.shape
        self.channels_last = len(images.shape) == 4 and images.shape[3] in (1, 3)
        if len(images.shape) == 4 and not self.channels_last and images.shape[1] not in (1, 3):
            raise BenchError(f"{path}: images {images.shape} have neither 1 nor 3 channels")

    def open(self) -> Any:
        """The strict reader of this kind of file, to be used in a `with` statement."""
        return open_npz(self.path) if self.path.suffix == ".npz" else open_h5(self.path)

    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        if len(self.shape) == 3:
            return 1, self.shape[1], self.shape[2]
        if self.channels_last:
            return self.shape[3], self.shape[1], self.shape[2]
        return self.shape[1], self.shape[2], self.shape[3]

    def table(self) -> FactorTable:
        """The file's factors."""
        with self.open() as source:
            factors = np.concatenate(
                [*source.blocks("factors"), np.empty((0, source.header("factors").shape[1]))]
            )
            names = self.names(source, factors.shape[1])
        return factor_table(self.path, names, list(factors.T))

    def names(self, source: StrictNpz | StrictH5, count: int) -> tuple[str, ...]:
        """The factors' names, numbered ones where the file has none."""
        if not source.has("factor_names"):
            return tuple(f"factor{k}" for k in range(count))
        found = np.concatenate(list(source.blocks("factor_names")))
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in found)

    def blocks(self) -> Iterator[Images]:
        """The images [n, channels, height, width] in parts."""
        with self.open() as source:
            for block in source.blocks("images"):
                if len(self.shape) == 3:
                    yield block[:, None]
                else:
                    yield block.transpose(0, 3, 1, 2) if self.channels_last else block


class ImageFolder:
    """Image files that `factors.csv` lists with their factors."""

    def __init__(self, path: Path) -> None:
        self.path = path
        table = path / TABLE_NAME
        try:
            with table.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.reader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise BenchError(f"{table} cannot be read: {error}") from error
        rows = [row for row in rows if row]
        if not rows or "file" not in rows[0]:
            raise BenchError(f"{table} needs a first line of column names, one of them `file`")
        self.names, self.rows = rows[0], rows[1:]
        for number, row in enumerate(self.rows, start=2):
            if len(row) != len(self.names):
                raise BenchError(
                    f"{table}: row {number} has {len(row)} entries, the first line has {len(self.names)}"
                )
        self.files = [self.file(row[self.names.index("file")]) for row in self.rows]

    def file(self, name: str) -> Path:
        """The path of a listed image, which must lie in the folder."""
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise BenchError(f"{self.path / TABLE_NAME} lists {name!r}, which lies outside the folder")
        if not path.is_file():
            raise BenchError(f"{self.path / TABLE_NAME} lists {name!r}, which is not there")
        return path

    def image_shape(self) -> tuple[int, int, int]:
        """Colour, and the side that images are resized to."""
        return 3, FOLDER_SIDE, FOLDER_SIDE

    def table(self) -> FactorTable:
        """The factors of all listed images."""
        names = [name for name in self.names if name != "file"]
        columns = [
            column_values([row[k] for row in self.rows]) for k, n in enumerate(self.names) if n != "file"
        ]
        return factor_table(self.path / TABLE_NAME, tuple(names), columns)

    def blocks(self) -> Iterator[Images]:
        """The images [1, 3, 64, 64], one by one."""
        size = (FOLDER_SIDE, FOLDER_SIDE)
        for path in self.files:
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise BenchError(f"{path} cannot be read as an image: {error}") from error
            yield pixels.transpose(2, 0, 1)[None]


def column_values(entries: list[str]) -> NDArray[Any]:
    """A CSV column as numbers if all its entries are, else as text."""
    try:
        numbers = np.array([float(entry) for entry in entries])
    except ValueError:
        return np.array(entries)
    return numbers if np.isfinite(numbers).all() else np.array(entries)
