"""Rows of a table that hold an image file each, and its factors: what mirrors of data sets are made of.

- Every image is a PNG or JPEG, grey or RGB, and all have one size, which is kept.
- The image is the column `image` or, without one, the only column of images. Further columns of images are left out.
- Each other column is a factor, of numbers as in an `.npz`, of text as in `factors.csv`. `label_x` is the factor `x`,
  and `value_x`, which says what its numbers measure, is left out beside it. Without any the data are images alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from disentangle_bench.data.factor_table import (
    Column,
    FactorTable,
    factor_table,
    number_column,
    real_column,
    text_column,
    without_factors,
)
from disentangle_bench.errors import BenchError

IMAGE, LABEL, VALUE = "image", "label_", "value_"
# What the file of an image begins with.
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
LARGEST_IMAGE = 1 << 26
CHANNELS = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}
BLOCK = 256
Images = NDArray[np.uint8]


class EncodedImages:
    """The rows of `path`. A subclass reads them: their number, the columns of factors, and the images as bytes."""

    # 0 and 1 alone may mean black and white, as dSprites has them.
    black_and_white = True
    path: Path
    rows: int

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Of each column beside the image its values [rows]: whole numbers, floats, booleans or text."""
        raise NotImplementedError

    def encoded(self) -> Iterator[bytes]:
        """The image of each row, a PNG or JPEG file."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, channels, height, width); the first image stands for all."""
        first = next(self.encoded(), None)
        if first is None:
            raise BenchError(f"{self.path} has no rows")
        channels, height, width = decoded(f"{self.path}: row 0", first).shape
        return self.rows, channels, height, width

    def table(self) -> FactorTable:
        """The factors of all rows, where there are any."""
        columns = self.columns()
        if not columns:
            return without_factors(self.rows)
        lengths = {len(values) for values in columns.values()}
        if lengths != {self.rows}:
            raise BenchError(
                f"{self.path} declares {self.rows} rows and has {', '.join(map(str, sorted(lengths)))}"
            )
        kept = {
            name.removeprefix(LABEL): values
            for name, values in columns.items()
            if not (name.startswith(VALUE) and LABEL + name.removeprefix(VALUE) in columns)
        }
        factors = [factor_column(self.path, name, values) for name, values in kept.items()]
        return factor_table(self.path, tuple(kept), factors)

    def blocks(self) -> Iterator[Images]:
        """The images uint8 [n, channels, height, width] in parts. Raises BenchError where one is of another size."""
        shape, block = None, []
        for row, content in enumerate(self.encoded()):
            pixels = decoded(f"{self.path}: row {row}", content)
            shape = shape or pixels.shape
            if pixels.shape != shape:
                raise BenchError(
                    f"{self.path}: row {row} is an image {pixels.shape}, the first one {shape} [channels, height,"
                    " width]; all must have one size"
                )
            block.append(pixels)
            if len(block) == BLOCK:
                yield np.stack(block)
                block = []
        if block:
            yield np.stack(block)


def factor_column(path: Path, name: str, values: NDArray[Any]) -> Column:
    """The factor of these values [rows]: numbers as in an `.npz`, text as in `factors.csv`."""
    if values.dtype.kind in "iu":
        return number_column(values)
    if values.dtype.kind == "f":
        return real_column(path, name, values)
    # Each text once, for there are far fewer of them than rows.
    found, row, place = np.unique(values.astype(str), return_index=True, return_inverse=True)
    column = text_column(path, name, list(found), [f"row {k}" for k in row])
    place = place.reshape(-1)
    measured = None if column.measured is None else column.measured[place]
    return replace(column, values=column.values[place], measured=measured)


def chosen_image(where: str, found: list[str]) -> str:
    """Which of these columns of image files is the image. Raises BenchError where none is, or several may be."""
    if IMAGE in found or len(found) == 1:
        return IMAGE if IMAGE in found else found[0]
    what = (
        f"{len(found)} columns of image files ({', '.join(found)})" if found else "no column of image files"
    )
    raise BenchError(f"{where} has {what}; one must be called {IMAGE!r}")


def is_image(content: bytes) -> bool:
    """Whether these bytes begin as a PNG or JPEG file does."""
    return content.startswith((PNG, JPEG))


def decoded(where: str, content: bytes) -> Images:
    """uint8 [channels, height, width] of a PNG or JPEG file. Raises BenchError where it is none, or no plain one."""
    if len(content) > LARGEST_IMAGE:
        raise BenchError(f"{where} has an image of {len(content)} bytes; at most {LARGEST_IMAGE} are taken")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]) as image:
            if image.mode not in CHANNELS or "transparency" in image.info:
                raise BenchError(
                    f"{where} is an image of the mode {image.mode} that may be transparent or deep; needed are opaque"
                    " ones, grey or RGB with 8 bits"
                )
            pixels = np.asarray(image.convert(CHANNELS[image.mode]))
    except UnidentifiedImageError:
        raise BenchError(f"{where} is no PNG or JPEG") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BenchError(f"{where} cannot be read as an image: {error}") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
