"""Arrays that are dear to make, kept in files that prove themselves.

A cache file is an ordinary `.npy` file with the sha256 of all its bytes appended: it is read by mapping it into
memory, never unpickled, and taken only if the hash is right. It is written under a temporary name and renamed when
it is complete, so that a reader never sees half a file. Of several processes that want it, one makes it while the
others wait; they then share its pages.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import secrets
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from disentangle_bench.errors import BenchError
from disentangle_bench.locks import alone_in

HASH_BYTES = 32
# Linux's own number, which Python has a name for since 3.13.
MAP_NORESERVE = 0x4000
# Hashing in pieces keeps what is resident small.
PIECE = 1 << 24


def cached_array(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    blocks: Callable[[], Iterable[NDArray[Any]]],
) -> tuple[NDArray[Any], str]:
    """(array, sha256 of its header and bytes): mapped from `path`, made and written there first if need be.

    `blocks` yields the array's parts along its first axis, in order. A file that is damaged or of another shape is
    made again. Where nothing can be written, a warning says so and the array stays in memory.
    """
    found = open_verified(path, shape, dtype)
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(path.parent):
            found = open_verified(path, shape, dtype)  # somebody may have made it meanwhile
            if found is not None:
                return found
            write(path, shape, dtype, blocks())
    except OSError as error:
        warnings.warn(f"{path} cannot be written ({error}); its content stays in memory", stacklevel=2)
        return in_memory(shape, dtype, blocks())
    found = open_verified(path, shape, dtype)
    if found is None:
        raise OSError(f"{path} reads back differently from what was written")
    return found


def open_verified(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[NDArray[Any], str] | None:
    """(array, sha256) of a cache file, or None where there is none that is whole and of this shape and type.

    The array is mapped copy-on-write: writing to it changes neither the file nor what others see.
    """
    header = npy_header(shape, dtype)
    size = len(header) + math.prod(shape) * np.dtype(dtype).itemsize
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_size != size + HASH_BYTES or file.read(len(header)) != header:
                return None
            stamp = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
            name = str(path.absolute())
            known = _verified.get(name)
            found = known[1] if known is not None and known[0] == stamp else _whole(file, header, size)
    except OSError:
        return None
    if found is None:
        return None
    _verified[name] = (stamp, found)
    return map_private(path, dtype, shape, len(header)), found


def map_private(path: Path, dtype: DTypeLike, shape: tuple[int, ...], offset: int) -> NDArray[Any]:
    """The array that begins at `offset` of a file, mapped copy-on-write, however much larger than memory it is.

    A plain copy-on-write map (`np.memmap`) reserves memory for writes that never come, and fails for a file that is
    larger than memory.
    """
    count = math.prod(shape)
    length = offset + count * np.dtype(dtype).itemsize
    with path.open("rb") as file:
        if sys.platform == "linux":
            flags, prot = mmap.MAP_PRIVATE | MAP_NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
            content = mmap.mmap(file.fileno(), length, flags=flags, prot=prot)
        else:
            content = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY)
    return np.frombuffer(content, dtype, count, offset).reshape(shape)


def _whole(file: BinaryIO, header: bytes, size: int) -> str | None:
    """The sha256 of the file's first `size` bytes, of which the header was read; None where its own is another."""
    digest = hashlib.sha256(header)
    left = size - len(header)
    while left and (piece := file.read(min(PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest() if file.read() == digest.digest() else None


def verified() -> Mapping[str, Verified]:
    """The files that this process has found whole, for others that it starts."""
    return dict(_verified)


def trust(files: Mapping[str, Verified]) -> None:
    """Take these files as whole, while they are the same as when another process hashed them."""
    _verified.update(files)


# By path: what tells a file from another (device, inode, size, time of its last change), and its sha256.
Verified = tuple[tuple[int, int, int, int], str]
_verified: dict[str, Verified] = {}


def write(path: Path, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[NDArray[Any]]) -> None:
    """Put the array under `path` in one step, its hash appended. Raises OSError where that is not possible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    digest = hashlib.sha256()
    try:
        with temporary.open("xb") as file:
            for piece in as_bytes(shape, dtype, blocks):
                digest.update(piece)
                file.write(piece)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def in_memory(
    shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[NDArray[Any]]
) -> tuple[NDArray[Any], str]:
    """(array, sha256) without a file."""
    array = np.empty(shape, dtype)
    done = 0
    for block in blocks:
        array[done : done + len(block)] = block
        done += len(block)
    return array, array_hash(array)


def check_room(folder: Path, needed: int, name: str) -> None:
    """Raise BenchError where the disk has no room for so many bytes: in memory they would have none either."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BenchError(
            f"{folder}: the images of {name} take {needed / 1e9:.1f} GB there and {free / 1e9:.1f} GB are free; make"
            " room, or name another folder with --data-dir"
        )


def array_hash(array: NDArray[Any]) -> str:
    """The sha256 that a cache file of this array ends in, hexadecimal."""
    digest = hashlib.sha256(npy_header(array.shape, array.dtype))
    digest.update(array.data)
    return digest.hexdigest()


def as_bytes(
    shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[NDArray[Any]]
) -> Iterator[bytes | memoryview]:
    """An `.npy` file's bytes: its header, then each block's."""
    yield npy_header(shape, dtype)
    for block in blocks:
        yield np.ascontiguousarray(block, dtype).data.cast("B")


def npy_header(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    """The first bytes of an `.npy` file that holds such an array."""
    header = BytesIO()
    description = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(header, description)
    return header.getvalue()
