"""Arrays from an HDF5 file that nobody vouches for: no links to other files, no chunk larger than a stated size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.data.strict_npz import BLOCK_BYTES, DAMAGE, ArrayHeader, plain_file, refuse_bomb
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import h5py

# A chunk is unpacked as a whole, so that a huge one could fill the memory.
LARGEST_CHUNK = 1 << 28


class StrictH5:
    """An open HDF5 file; `header` and `blocks` raise BenchError with the reason for whatever is wrong in it."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file = path, file

    def has(self, key: str) -> bool:
        """Whether there is something called `key`."""
        return key in self.file

    def header(self, key: str) -> ArrayHeader:
        """Shape and type of the array called `key`, which may name groups as in "latents/classes"."""
        array = self.array(key)
        return ArrayHeader(array.shape, array.dtype)

    def blocks(self, key: str) -> Iterator[NDArray[Any]]:
        """The array called `key` in parts along its first axis, whole chunks at a time."""
        array = self.array(key)
        row = array.dtype.itemsize * math.prod(array.shape[1:])
        chunk = array.chunks[0] if array.chunks else 1
        rows = max(1, BLOCK_BYTES // max(1, row * chunk)) * chunk
        for start in range(0, array.shape[0], rows):
            yield np.asarray(array[start : start + rows])

    def array(self, key: str) -> h5py.Dataset:
        """The array itself, if it is a plain one within this file."""
        import h5py

        place = self.file
        for part in key.split("/"):
            link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
            if link is None:
                raise BenchError(f"{self.path} has no array {key!r}")
            if not isinstance(link, h5py.HardLink):
                raise BenchError(f"{self.path}: {key} is a link to elsewhere, which is not followed")
            place = place[part]
        if not isinstance(place, h5py.Dataset) or not place.shape:
            raise BenchError(f"{self.path}: {key} is no array")
        if place.external or place.is_virtual:
            raise BenchError(f"{self.path}: {key} lies in other files, which are not opened")
        if place.dtype.hasobject and h5py.check_string_dtype(place.dtype) is None:
            raise BenchError(f"{self.path}: {key} does not hold plain values")
        if place.chunks and math.prod(place.chunks) * place.dtype.itemsize > LARGEST_CHUNK:
            raise BenchError(f"{self.path}: {key} is cut into chunks of more than {LARGEST_CHUNK} bytes")
        declared = math.prod(place.shape) * place.dtype.itemsize
        refuse_bomb(self.path, key, declared, place.id.get_storage_size())
        return place


@contextmanager
def open_h5(path: Path) -> Iterator[StrictH5]:
    """The file for reading; what goes wrong with it inside the `with` block becomes a BenchError that says so."""
    # Every data set's module leads here, and few read such a file.
    import h5py

    try:
        with plain_file(path), h5py.File(path, "r") as file:
            yield StrictH5(path, file)
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {path}") from error
    except DAMAGE as error:
        raise BenchError(f"{path} cannot be read as an HDF5 file: {error or type(error).__name__}") from error
