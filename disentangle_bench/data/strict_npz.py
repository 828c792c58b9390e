"""Arrays from an `.npz` file that nobody vouches for: nothing is unpickled, nothing larger than declared is unpacked.

An `.npz` file is a zip archive of `.npy` files. Each array's header is read first and held against what the archive
says of its size; the content is then read in pieces, as many bytes as the header calls for.
"""

from __future__ import annotations

import math
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.errors import BenchError

# Roughly how much is unpacked at a time.
BLOCK_BYTES = 1 << 24
SMALL_BYTES = 1 << 28
MOST_PACKED = 500
# Bytes of the fixed part of the header that stands before each member of a zip archive.
LOCAL_HEADER = 30
# What the readers of archives and headers raise over a file that is not what it says.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
    struct.error,
    SyntaxError,
    tokenize.TokenError,
    TypeError,
    LookupError,
)


@dataclass(frozen=True)
class ArrayHeader:
    """What an array's header declares; `column_major`: stored column by column, as numpy keeps a transposed array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    column_major: bool = False


def refuse_bomb(path: Path, key: str, declared: int, stored: int) -> None:
    """Raise BenchError for a large array that is packed as nothing but a trap is; dSprites is packed 115 times."""
    if declared > SMALL_BYTES and declared > MOST_PACKED * stored:
        raise BenchError(
            f"{path}: {key} declares {declared} bytes, of which the file has {stored}; more than {MOST_PACKED} times"
            " as many are not unpacked. Save it without compression if it is what it says"
        )


class StrictNpz:
    """An open `.npz` file; `header` and `blocks` raise BenchError with the reason for whatever is wrong in it."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path, self.archive = path, archive

    def keys(self) -> list[str]:
        """The names of its arrays."""
        return [name.removesuffix(".npy") for name in self.archive.namelist() if name.endswith(".npy")]

    def has(self, key: str) -> bool:
        """Whether there is an array called `key`."""
        return f"{key}.npy" in self.archive.namelist()

    def header(self, key: str) -> ArrayHeader:
        """Shape and type of the array called `key`."""
        with self.member(key) as file:
            return self.read_header(key, file)

    def blocks(self, key: str) -> Iterator[NDArray[Any]]:
        """The array called `key` in parts along its first axis; whole where it is stored column by column."""
        with self.member(key) as file:
            yield from npy_blocks(self.path, key, self.read_header(key, file), file)

    @contextmanager
    def member(self, key: str) -> Iterator[IO[bytes]]:
        """The open `.npy` file of this key."""
        if not self.has(key):
            known = ", ".join(sorted(name.removesuffix(".npy") for name in self.archive.namelist()[:20]))
            raise BenchError(f"{self.path} has no array {key!r}; it has {known or 'none'}")
        with self.archive.open(f"{key}.npy") as file:
            yield file

    def place(self, key: str) -> int:
        """Where in the file the array's first value lies. Raises BenchError where it is compressed or cut off."""
        with self.member(key) as file:
            header = self.read_header(key, file)
            before = file.tell()
        member = self.archive.getinfo(f"{key}.npy")
        if member.compress_type != zipfile.ZIP_STORED:
            raise BenchError(
                f"{self.path}: {key} is compressed, so that its images cannot be read in place; save it again without:"
                f" numpy.savez(new, {key}=numpy.load({self.path.name!r})[{key!r}])"
            )
        # The two lengths at the end of the fixed part of the member's own header: of its name and of what follows.
        with plain_file(self.path) as raw:
            raw.seek(member.header_offset)
            fixed = raw.read(LOCAL_HEADER)
            name, extra = struct.unpack("<HH", fixed[-4:])
            place: int = member.header_offset + LOCAL_HEADER + name + extra + before
            size = raw.seek(0, os.SEEK_END)
        if place + header.dtype.itemsize * math.prod(header.shape) > size:
            raise BenchError(f"{self.path}: {key} ends too early")
        return place

    def read_header(self, key: str, file: IO[bytes]) -> ArrayHeader:
        """The header at the start of an open `.npy` file, checked against the archive's account of its size."""
        member = self.archive.getinfo(f"{key}.npy")
        header = read_npy_header(self.path, key, file, member.file_size)
        refuse_bomb(self.path, key, member.file_size, member.compress_size)
        return header


def read_npy_header(path: Path, key: str, file: IO[bytes], size: int) -> ArrayHeader:
    """The header at the start of an open `.npy` file of so many bytes. Raises BenchError where they do not agree."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, column_major, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, column_major, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise BenchError(f"{path}: {key} has the unknown .npy version {version}")
    if dtype.hasobject:
        raise BenchError(f"{path}: {key} holds pickled Python objects, which are never opened")
    declared = dtype.itemsize * math.prod(int(n) for n in shape) + file.tell()
    if min(shape, default=0) < 0 or declared != size:
        raise BenchError(f"{path}: {key} of shape {shape} does not have the size that the file declares")
    return ArrayHeader(shape, dtype, column_major and len(shape) > 1)


def npy_blocks(path: Path, key: str, header: ArrayHeader, file: IO[bytes]) -> Iterator[NDArray[Any]]:
    """The array behind the header in parts along its first axis; whole where it is stored column by column."""
    if header.column_major:
        columns = np.frombuffer(_exactly(path, key, header, file, math.prod(header.shape)), header.dtype)
        yield np.ascontiguousarray(columns.reshape(header.shape[::-1]).T)
    else:
        row = math.prod(header.shape[1:])
        left = header.shape[0] if header.shape else 0
        while left:
            rows = min(left, max(1, BLOCK_BYTES // max(1, row * header.dtype.itemsize)))
            content = _exactly(path, key, header, file, rows * row)
            yield np.frombuffer(content, header.dtype).reshape(rows, *header.shape[1:])
            left -= rows
    if file.read(1):
        raise BenchError(f"{path}: {key} goes on after its end")


def _exactly(path: Path, key: str, header: ArrayHeader, file: IO[bytes], values: int) -> bytes:
    """The bytes of the next so many values. Raises BenchError where there are fewer."""
    content = file.read(values * header.dtype.itemsize)
    if len(content) != values * header.dtype.itemsize:
        raise BenchError(f"{path}: {key} ends too early")
    return content


@contextmanager
def plain_file(path: Path) -> Iterator[BinaryIO]:
    """The open file. Raises BenchError for a directory, a device and a pipe, which would be waited for for ever."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BenchError(f"{path} is no plain file")
    with open(handle, "rb") as file:
        yield file


@contextmanager
def open_npz(path: Path) -> Iterator[StrictNpz]:
    """The file for reading; what goes wrong with it inside the `with` block becomes a BenchError that says so."""
    try:
        with plain_file(path) as file, zipfile.ZipFile(file) as archive:
            yield StrictNpz(path, archive)
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {path}") from error
    except DAMAGE as error:
        raise BenchError(f"{path} cannot be read as an .npz file: {error or type(error).__name__}") from error
