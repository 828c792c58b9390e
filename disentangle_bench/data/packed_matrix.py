"""Files that are one matrix packed by gzip, a header before its values: how SmallNORB and MNIST are published."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from disentangle_bench.data.strict_npz import DAMAGE, plain_file
from disentangle_bench.errors import BenchError


@contextmanager
def open_packed(path: Path) -> Iterator[BinaryIO]:
    """The unpacked content. Raises BenchError where it is not there or damaged, also from within the `with`."""
    try:
        with plain_file(path) as packed, gzip.open(packed) as file:
            yield cast(BinaryIO, file)
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {path}") from error
    except DAMAGE as error:
        raise BenchError(
            f"{path} cannot be read as a packed matrix: {error or type(error).__name__}"
        ) from error


def values_in_blocks(
    path: Path, file: BinaryIO, shape: tuple[int, ...], dtype: DTypeLike, block: int
) -> Iterator[NDArray[Any]]:
    """The values behind the header, `block` rows at a time.

    Raises ValueError where there are fewer than the shape has, and BenchError where the file goes on.
    """
    row = math.prod(shape[1:]) * np.dtype(dtype).itemsize
    for first in range(0, shape[0], block):
        rows = min(block, shape[0] - first)
        yield np.frombuffer(file.read(rows * row), dtype).reshape(rows, *shape[1:])
    if file.read(1):
        raise BenchError(f"{path} goes on after its end")
