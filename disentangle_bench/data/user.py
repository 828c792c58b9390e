"""Your own data: an `.npz` or HDF5 file with `images` and `factors`, or a folder of images with `factors.csv`.

Without `factors` or `factors.csv` it is images alone.

Mirrors of published sets, Parquet and TFRecord files, are read by `encoded_images`.

- `images`: [n, height, width], [n, height, width, channels] or [n, channels, height, width] with 1 or 3 channels, as
  whole numbers 0 to 255 (0 and 1 alone mean black and white and become 0 and 255) or floats 0 to 1, which are kept as
  the nearest of 256 levels.
- `factors`: numbers [n, factors]; whole ones, whatever they are, are numbered 0, 1, ... in ascending order. A column of
  floats that are not all whole is real-valued: its values are kept beside their bins (see `bins`).
- `labelled`, where factors are known of some images only: whole numbers [m], the images that the m rows of `factors`
  are of.
- `factor_names` (not in an `.npz` or HDF5 file that lacks it: "factor0", "factor1", ...): strings [factors].
- `factors.csv`: a column `file` with names relative to the folder, and a column per factor, in which numbers are
  sorted by value and text by the numbers within it. A column of fractional numbers is real-valued where it has more
  different values than half the images. A row without any entry is an image whose factors are not known. The images are
  resized to 64 x 64, and 16 bits are scaled to 8.

Where every combination of the factors' values occurs exactly once, in whatever order, the result is a full grid in
lexicographic order. Otherwise the images stay in their order and carry a factor table.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.factor_table import (
    FactorTable,
    among,
    factor_table,
    number_column,
    real_column,
    without_factors,
)
from disentangle_bench.data.image_folder import TABLE_NAME, ImageFolder
from disentangle_bench.data.parquet_images import ParquetImages, parquet_files
from disentangle_bench.data.pixels import as_bytes, bytes_per_unit
from disentangle_bench.data.source import DataSource
from disentangle_bench.data.strict_h5 import StrictH5, open_h5
from disentangle_bench.data.strict_npz import ArrayHeader, StrictNpz, open_npz
from disentangle_bench.data.tfrecord_images import TFRecordImages, tfrecord_files
from disentangle_bench.errors import BenchError

SUFFIXES = (".npz", ".h5", ".hdf5")
# Images are held in memory; a file that declares more than this is refused rather than unpacked.
LARGEST_BYTES = 16 << 30
MOST_FACTOR_VALUES = 1 << 27
MOST_NAMES = 10_000
# What a file without `factors` does not hold unless somebody means factors.
MEANS_FACTORS = ("factor", "Factors", "factor_names", "labelled")
Images = NDArray[np.uint8]


class UserSource(DataSource):
    """The data set at `path`; its factors are read now, its images when it is loaded.

    Raises BenchError with the reason for a file or folder that is not as this module's head says.
    """

    def __init__(self, path: Path | str) -> None:
        path = Path(path)
        self.name = path.name
        self.content = content = content_of(path)
        self.image_shape = content.shape[1:]
        size = math.prod(content.shape)
        if size > LARGEST_BYTES:
            raise BenchError(f"{path} holds {size} bytes of images; at most {LARGEST_BYTES} are taken")
        self.factor_table = table = content.table()
        self.factor_names, self.factor_sizes, self.labels = table.names, table.sizes, table.labels
        self.table = torch.from_numpy(table.values) if table.place is None else None
        order = np.arange(content.shape[0]) if table.place is None else np.argsort(table.place)
        self.measured = {name: torch.from_numpy(values[order]) for name, values in table.measured.items()}

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ArrayStore, str]:
        """All images in memory, and the sha256 of pixels, factors, names and labels."""
        table, shape = self.factor_table, self.content.shape
        images = np.empty(shape, np.uint8)
        done = 0
        for block in self.content.blocks():
            rows = np.arange(done, done + len(block))
            done += len(block)
            if done > len(images):
                break
            images[rows if table.place is None else table.place[rows]] = block
            if notify is not None:
                notify(f"reading {self.name}", done, len(images))
        if done != len(images):
            more = "more" if done > len(images) else str(done)
            raise BenchError(f"{self.content.path} declares {len(images)} images and has {more}")
        if self.content.black_and_white and images.max(initial=0) == 1:
            images *= 255
        known = (table.names, table.sizes, shape, *([table.labels] if table.labels else []))
        digest = hashlib.sha256(repr(known).encode())
        digest.update(images.data)
        if table.place is None:
            digest.update(table.values.tobytes())
        for values in self.measured.values():
            digest.update(values.numpy().tobytes())
        return ArrayStore(torch.from_numpy(images)), digest.hexdigest()


def content_of(path: Path) -> ArrayFile | ImageFolder | ParquetImages | TFRecordImages:
    """The reader of what lies at `path`: arrays, a folder of image files, or a mirror's tables of images.

    Raises BenchError where there is nothing, and for a file of a kind that is not read.
    """
    if path.name.endswith(SUFFIXES):
        return ArrayFile(path)
    if path.name.endswith(".parquet"):
        return ParquetImages(path)
    if not os.path.exists(path):  # no error for a name that is too long
        raise BenchError(f"there is no folder {path}")
    if not path.is_dir():
        kinds = ", ".join((*SUFFIXES, ".parquet"))
        raise BenchError(f"{path} is neither a folder of images nor a file that is read as data ({kinds})")
    if (path / TABLE_NAME).exists():
        return ImageFolder(path)
    if parquet_files(path):
        return ParquetImages(path)
    return TFRecordImages(path) if tfrecord_files(path) else ImageFolder(path)


class ArrayFile:
    """Images of an `.npz` or HDF5 file, with factors of all, of some or of none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.open() as source:
            images = source.header("images")
            factors = source.header("factors") if source.has("factors") else None
            self.some = source.has("labelled")
            meant = [key for key in MEANS_FACTORS if source.has(key)]
        if images.dtype.kind not in "biuf" or len(images.shape) not in (3, 4):
            raise BenchError(
                f"{path}: images are {images.dtype} {images.shape}, not uint8 [n, height, width(, channels)]"
            )
        if 0 in images.shape[1:]:
            raise BenchError(f"{path}: images {images.shape} have no pixels")
        if factors is not None:
            self.check_factors(factors, images.shape[0])
        elif meant or not images.shape[0]:
            what = f"{meant[0]!r}" if meant else "no image"
            raise BenchError(f"{path} has {what} and no array 'factors' of numbers [n, factors]")
        self.has_factors = factors is not None
        self.dtype = images.dtype
        self.axes = self.order_of_axes(images.shape)
        count, *sides = images.shape
        channels, height, width = (sides[axis - 1] if axis else 1 for axis in self.axes)
        self.shape = (count, channels, height, width)
        self.black_and_white = True

    def check_factors(self, factors: ArrayHeader, images: int) -> None:
        """Raise BenchError unless these can be the factors of so many images, or of some of them."""
        path = self.path
        if len(factors.shape) != 2 or factors.dtype.kind not in "biuf":
            raise BenchError(
                f"{path}: factors are {factors.dtype} {factors.shape}, not numbers [n, factors]; number each factor's"
                " values 0, 1, ..., or give the values of a measured quantity as floats"
            )
        # Where some images have none, the table has a row for each all the same.
        if max(images, factors.shape[0]) * factors.shape[1] > MOST_FACTOR_VALUES:
            raise BenchError(
                f"{path}: factors {factors.shape} are too many; at most {MOST_FACTOR_VALUES} values are taken"
            )
        if images != factors.shape[0] and not self.some:
            raise BenchError(
                f"{path} has {images} images and factors for {factors.shape[0]}; where these are the factors of some"
                " images only, an array 'labelled' says of which"
            )

    def order_of_axes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Which axes hold channels (0: there is no such axis), height and width. Raises BenchError where none can."""
        if len(shape) == 3:
            return 0, 1, 2
        first, last = shape[1] in (1, 3), shape[3] in (1, 3)
        if not first and not last:
            raise BenchError(
                f"{self.path}: images {shape} have neither 1 nor 3 channels, first [n, channels, height, width]"
                " or last [n, height, width, channels]"
            )
        if first and last:
            raise BenchError(
                f"{self.path}: the channels of images {shape} may be the second or the last axis; images of one"
                " channel can be saved as [n, height, width]"
            )
        return (3, 1, 2) if last else (1, 2, 3)

    def open(self) -> Any:
        """The strict reader of this kind of file, to be used in a `with` statement."""
        return open_npz(self.path) if self.path.suffix == ".npz" else open_h5(self.path)

    def table(self) -> FactorTable:
        """The file's factors, of all images, of some or of none."""
        if not self.has_factors:
            return without_factors(self.shape[0])
        with self.open() as source:
            header = source.header("factors")
            # Whole numbers never go through floats, in which those above 2**53 run together.
            factors = np.concatenate(
                [np.empty((0, header.shape[1]), header.dtype), *source.blocks("factors")]
            )
            names = self.names(source, factors.shape[1])
            labelled = self.labelled(source, len(factors)) if self.some else None
        if factors.dtype.kind != "f":
            columns = [number_column(column) for column in factors.T]
        else:
            titles = names if len(names) == factors.shape[1] else [str(k) for k in range(factors.shape[1])]
            columns = [
                real_column(self.path, title, column) for title, column in zip(titles, factors.T, strict=True)
            ]
        table = factor_table(self.path, names, columns)
        return table if labelled is None else among(table, labelled, self.shape[0])

    def labelled(self, source: StrictNpz | StrictH5, rows: int) -> NDArray[np.int64]:
        """int64 [rows]: which image each row of the factors is of. Raises BenchError where that is not said."""
        header, images = source.header("labelled"), self.shape[0]
        if header.shape != (rows,) or header.dtype.kind not in "iu":
            raise BenchError(
                f"{self.path}: labelled is {header.dtype} {header.shape}, not whole numbers {(rows,)}: the position of"
                " an image, from 0, for each row of factors"
            )
        found = np.concatenate([np.empty(0, header.dtype), *source.blocks("labelled")])
        if len(found) and not 0 <= int(found.min()) <= int(found.max()) < images:
            raise BenchError(
                f"{self.path}: labelled has positions from {found.min()} to {found.max()}, and the {images} images have"
                f" 0 to {images - 1}"
            )
        if len(np.unique(found)) < len(found):
            raise BenchError(f"{self.path}: labelled names an image twice")
        return found.astype(np.int64)

    def names(self, source: StrictNpz | StrictH5, count: int) -> tuple[str, ...]:
        """The factors' names, numbered ones where the file has none."""
        if not source.has("factor_names"):
            return tuple(f"factor{k}" for k in range(count))
        shape = source.header("factor_names").shape
        if math.prod(shape) > MOST_NAMES:
            raise BenchError(f"{self.path}: factor_names {shape} are not the names of {count} factors")
        found = np.concatenate(list(source.blocks("factor_names")))
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in found)

    def blocks(self) -> Iterator[Images]:
        """The images [n, channels, height, width] in parts."""
        with self.open() as source:
            scale = bytes_per_unit(self.path, self.dtype, source.blocks("images"))
        # Floats say themselves what is white.
        self.black_and_white = scale == 1
        with self.open() as source:
            for block in source.blocks("images"):
                pixels = as_bytes(block, scale)
                yield pixels.transpose(0, *self.axes) if self.axes[0] else pixels[:, None]
