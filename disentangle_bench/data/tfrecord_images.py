"""Images and factors of TFRecord files, as TensorFlow Datasets keeps data sets in `NAME/VERSION/`.

A file is records: their length (8 bytes), a checksum of it, the content, and a checksum of that. The content is a
message `tf.train.Example` of Protocol Buffers: names, each with a list of bytes, floats or whole numbers. No part of
TensorFlow is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.data.encoded_images import EncodedImages, chosen_image, is_image
from disentangle_bench.data.strict_npz import plain_file
from disentangle_bench.errors import BenchError

LARGEST_RECORD = 1 << 27
# Wire types of Protocol Buffers.
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3
Value = bytes | float | int


class TFRecordImages(EncodedImages):
    """A folder of TFRecord files, all of which are read in the order of their names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = tfrecord_files(path)
        self.rows = 0
        parts: dict[str, list[Any]] = {}
        for where, record in self.records():
            if not self.rows:
                files = [
                    name for name, value in record.items() if isinstance(value, bytes) and is_image(value)
                ]
                self.image = chosen_image(where, files)
                parts = {name: [] for name, value in record.items() if not self.is_picture(name, value)}
            if not parts.keys() <= record.keys():
                raise BenchError(f"{where} has no {', '.join(sorted(parts.keys() - record.keys()))}")
            for name, values in parts.items():
                values.append(record[name])
            self.rows += 1
        self.values = {name: as_column(path, name, values) for name, values in parts.items()}

    def is_picture(self, name: str, value: Value) -> bool:
        """Whether this is the image, or one more image beside it."""
        return name == self.image or (isinstance(value, bytes) and is_image(value))

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Of each column beside the image its values [rows]."""
        return self.values

    def encoded(self) -> Iterator[bytes]:
        """The image of each row, a PNG or JPEG file."""
        for where, record in self.records():
            image = record.get(self.image)
            if not isinstance(image, bytes):
                raise BenchError(f"{where} has no {self.image!r}")
            yield image

    def records(self) -> Iterator[tuple[str, dict[str, Value]]]:
        """(where it stands, its values) of each record."""
        for path in self.files:
            try:
                with plain_file(path) as file:
                    for number, content in enumerate(contents(path, file)):
                        where = f"{path}: record {number}"
                        try:
                            yield where, example(content)
                        except (ValueError, struct.error) as error:
                            raise BenchError(f"{where} is no tf.train.Example: {error}") from error
            except OSError as error:
                raise BenchError(f"{path} cannot be read: {error}") from error


def tfrecord_files(path: Path) -> list[Path]:
    """The TFRecord files of a folder: `NAME-SPLIT.tfrecord-00000-of-00001` and the like."""
    return sorted(file for file in path.glob("*.tfrecord*") if file.is_file())


def as_column(path: Path, name: str, values: list[Value]) -> NDArray[Any]:
    """The values of a column. Raises BenchError for text that is none, and for kinds that vary."""
    kinds = {type(value) for value in values}
    if len(kinds) > 1:
        raise BenchError(
            f"{path}: {name!r} is of several kinds: {', '.join(sorted(k.__name__ for k in kinds))}"
        )
    if kinds == {bytes}:
        try:
            return np.array([value.decode() for value in values])  # type: ignore[union-attr]
        except UnicodeDecodeError as error:
            raise BenchError(f"{path}: {name!r} is neither an image nor text: {error}") from error
    return np.array(values)


def contents(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The content of each record. Raises BenchError where a checksum is not right, or a record is cut."""
    checksum = masked_checksum(path)
    while head := file.read(12):
        if len(head) < 12 or checksum(head[:8]) != struct.unpack("<I", head[8:])[0]:
            raise BenchError(f"{path} is no TFRecord file, or damaged: a length's checksum is wrong")
        (length,) = struct.unpack("<Q", head[:8])
        if length > LARGEST_RECORD:
            raise BenchError(f"{path} has a record of {length} bytes; at most {LARGEST_RECORD} are taken")
        content, tail = file.read(length), file.read(4)
        if len(tail) < 4 or checksum(content) != struct.unpack("<I", tail)[0]:
            raise BenchError(f"{path} is cut or damaged: a record's checksum is wrong")
        yield content


def masked_checksum(path: Path) -> Any:
    """A function of bytes: CRC-32C, rotated and shifted as TFRecord files keep it."""
    try:
        import google_crc32c
    except ImportError as error:
        raise BenchError(
            f"{path}: google-crc32c, which checks TFRecord files, is not installed: pip install"
            " 'disentangle_bench[tfrecord]'"
        ) from error

    def masked(content: bytes) -> int:
        crc = google_crc32c.value(content)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    return masked


def example(content: bytes) -> dict[str, Value]:
    """The values of a `tf.train.Example`. Raises ValueError where it is none, and for names with several values."""
    found = {}
    for features in fields(content, 1):
        for entry in fields(features, 1):
            (name,), (feature,) = fields(entry, 1), fields(entry, 2)
            found[name.decode()] = single(name.decode(), feature)
    return found


def single(name: str, feature: bytes) -> Value:
    """The one value of a `tf.train.Feature`."""
    for number, content in numbered(feature):
        values: list[Any]
        if number == BYTES_LIST:
            values = fields(content, 1)
        elif number == FLOAT_LIST:
            values = [value for part in fields(content, 1) for (value,) in struct.iter_unpack("<f", part)]
        elif number == INT64_LIST:
            values = [value for part in fields(content, 1) for value in whole_numbers(part)]
        else:
            break
        if len(values) != 1:
            raise ValueError(f"{name!r} has {len(values)} values; one a record is needed")
        value: Value = values[0]
        return value
    raise ValueError(f"{name!r} has no values")


def fields(message: bytes, wanted: int) -> list[bytes]:
    """The contents of all fields of a message that have this number."""
    return [content for number, content in numbered(message) if number == wanted]


def numbered(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, content) of each field of a message; a number's content is its bytes as they stand."""
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        kind, start = tag & 7, place
        if kind == LENGTH:
            length, start = varint(message, place)
            place = start + length
        elif kind == VARINT:
            _, place = varint(message, place)
        elif kind in (FIXED32, FIXED64):
            place += 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if place > len(message):
            raise ValueError("a field is cut")
        yield tag >> 3, message[start:place]


def varint(message: bytes, place: int) -> tuple[int, int]:
    """(the whole number that begins at `place`, where it ends): seven bits a byte, the lowest first."""
    value = 0
    for k in range(10):
        if place + k >= len(message):
            raise ValueError("a number is cut")
        byte = message[place + k]
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value, place + k + 1
    raise ValueError("a number has more than ten bytes")


def whole_numbers(part: bytes) -> Iterator[int]:
    """The signed numbers of 64 bits that stand one after the other."""
    place = 0
    while place < len(part):
        value, place = varint(part, place)
        if value >= 1 << 64:
            raise ValueError("a number has more than 64 bits")
        yield value - (1 << 64) if value >= 1 << 63 else value
