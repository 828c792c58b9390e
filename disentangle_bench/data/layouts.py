"""How the published files are laid out, and readers that take nothing else.

A reader yields the images in blocks, after it has held every array's shape, type, factor order and values against
the layout. Whatever differs is refused with the reason, so that a cut, re-ordered or foreign file never passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from disentangle_bench.data.strict_h5 import StrictH5, open_h5
from disentangle_bench.data.strict_npz import StrictNpz, open_npz
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import Notify

Source = StrictNpz | StrictH5
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """A file's arrays: images of one shape and, for each, the values of its factors in lexicographic order.

    `values` are each factor's values as the file's `value_key` array gives them; a `class_key` array, where there
    is one, gives their numbers. Factors of a single value, such as dSprites' colour, are among them.
    """

    image_key: str
    image_shape: tuple[int, ...]
    largest: int
    value_key: str
    values: tuple[tuple[float, ...], ...]
    class_key: str | None = None

    @property
    def length(self) -> int:
        """The number of images: one for every combination."""
        return math.prod(len(values) for values in self.values)


def spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    """Evenly spaced values, both ends included."""
    return tuple(np.linspace(low, high, count).tolist())


DSPRITES_VALUES = (
    (1.0,),
    (1.0, 2.0, 3.0),
    spaced(0.5, 1, 6),
    spaced(0, 2 * math.pi, 40),
    spaced(0, 1, 32),
    spaced(0, 1, 32),
)
DSPRITES_NPZ = Layout("imgs", (64, 64), 1, "latents_values", DSPRITES_VALUES, "latents_classes")
DSPRITES_H5 = Layout("imgs", (64, 64), 1, "latents/values", DSPRITES_VALUES, "latents/classes")
HUES = tuple(k / 10 for k in range(10))
SHAPES3D_VALUES = (HUES, HUES, HUES, spaced(0.75, 1.25, 8), (0.0, 1.0, 2.0, 3.0), spaced(-30, 30, 15))
SHAPES3D_H5 = Layout("images", (64, 64, 3), 255, "labels", SHAPES3D_VALUES)


def read(path: Path, layout: Layout, notify: Notify | None = None) -> Iterator[Images]:
    """The file's images in blocks [n, *image_shape], uint8 from 0 to `layout.largest`.

    Raises BenchError with the reason where the file departs from the layout in anything.
    """
    opened = open_npz(path) if path.suffix == ".npz" else open_h5(path)
    with opened as source:
        check_header(source, layout.image_key, (layout.length, *layout.image_shape), np.uint8)
        check_factors(source, layout)
        done = 0
        for block in source.blocks(layout.image_key):
            if block.max(initial=0) > layout.largest:
                raise BenchError(f"{path}: {layout.image_key} has values above {layout.largest}")
            done += len(block)
            if notify is not None:
                notify(f"reading {path.name}", done, layout.length)
            yield block


def check_factors(source: Source, layout: Layout) -> None:
    """Raise BenchError unless the file lists every combination of the factors' values, the last one fastest."""
    shape = (layout.length, len(layout.values))
    check_header(source, layout.value_key, shape, np.float64)
    values = [np.array(column) for column in layout.values]

    def right_values(classes: NDArray[np.int64]) -> NDArray[Any]:
        return np.stack([column[classes[:, k]] for k, column in enumerate(values)], axis=1)

    compare(source, layout.value_key, layout, right_values, tolerance=1e-6)
    if layout.class_key is not None:
        check_header(source, layout.class_key, shape, np.int64)
        compare(source, layout.class_key, layout, lambda classes: classes, tolerance=0)


def compare(
    source: Source,
    key: str,
    layout: Layout,
    expected: Callable[[NDArray[np.int64]], NDArray[Any]],
    tolerance: float,
) -> None:
    """Raise BenchError at the first row of an array that is not what `expected` makes of its factors' classes."""
    sizes = tuple(len(column) for column in layout.values)
    start = 0
    for block in source.blocks(key):
        rows = np.arange(start, start + len(block))
        wanted = expected(np.stack(np.unravel_index(rows, sizes), axis=1))
        wrong = ~(np.abs(block - wanted) <= tolerance).all(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            raise BenchError(
                f"{source.path}: row {start + row} of {key} is {describe(block[row])}, "
                f"not {describe(wanted[row])}: the images are in another order or of other factors"
            )
        start += len(block)


def describe(row: Sequence[float]) -> str:
    """A row of numbers in few characters."""
    return "(" + ", ".join(f"{number:.4g}" for number in row) + ")"


def check_header(source: Source, key: str, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Raise BenchError unless the array called `key` is of this shape and type."""
    header = source.header(key)
    if header.shape != shape or header.dtype != np.dtype(dtype):
        raise BenchError(
            f"{source.path}: {key} is {header.dtype} of shape {header.shape}, not {np.dtype(dtype)} of shape {shape}"
        )
