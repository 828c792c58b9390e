"""Cars3D (Reed et al. 2015, "Deep Visual Analogy-Making"): 183 car models, each from 96 views.

The published `.tar.gz` holds, in `data/cars/`, a MATLAB file for each car (array `im`, uint8 [128, 128, 3, azimuth 24,
elevation 4]) and `list.txt`, which gives their order. The archive is read as a stream: nothing is written to a disk,
and no name in it leads anywhere.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.cache import cached_array
from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.official import CACHES, FileFacts, find
from disentangle_bench.data.strict_npz import DAMAGE, plain_file
from disentangle_bench.errors import BenchError

Images = NDArray[np.uint8]
ELEVATIONS, AZIMUTHS = 4, 24
NATIVE_SIDE = 128
STORED = (NATIVE_SIDE, NATIVE_SIDE, 3, AZIMUTHS, ELEVATIONS)
FOLDER = "data/cars/"
CAR = re.compile(r"car_\d{3}_mesh")
LONGEST_LIST = 1 << 16
# A car's images take 4.7 MB; its file holds a mask of each beside them.
LARGEST_MEMBER = 1 << 25
COMPRESSED = 15


def open_official(
    files: Sequence[FileFacts], cars: int, side: int, data_dir: Path, notify: Notify | None
) -> tuple[ArrayStore, str]:
    """Cars3D as published, at 64 x 64 or as stored (128 x 128), from its archive in `data_dir`, and its fingerprint.

    The file's hash and content are checked once, when the images are put into a cache file beside it (216 MB, or 863
    MB); later starts check the cache's own hash, which is the fingerprint, and map it. Raises BenchError where the
    file is not there, or is not the published one.
    """
    name = "cars3d" if side < NATIVE_SIDE else "cars3d_128"

    def images() -> Iterator[Images]:
        path, _ = find(files, data_dir, name)
        yield from read(path, cars, side, notify)

    shape = (ELEVATIONS * AZIMUTHS * cars, 3, side, side)
    array, fingerprint = cached_array(data_dir / CACHES[name], shape, np.uint8, images)
    return ArrayStore(torch.from_numpy(array)), fingerprint


def read(path: Path, cars: int, side: int, notify: Notify | None = None) -> Iterator[Images]:
    """The images in blocks [cars, 3, side, side], one for each view, in the order of (elevation, azimuth, car).

    Raises BenchError with the reason where the archive departs from the published layout in anything.
    """
    order: list[str] | None = None
    found: dict[str, Images] = {}
    try:
        with plain_file(path) as file, gzip.open(file) as unpacked:
            for name, content in members(path, unpacked):
                if name == "list.txt":
                    order = car_names(path, content, cars)
                    continue
                found[name] = resized(stored_images(path, name, content), side)
                if notify is not None:
                    notify(f"reading {path.name}", min(len(found), cars), cars)
            # The checksum stands at the very end.
            while unpacked.read(LARGEST_MEMBER):
                pass
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {path}") from error
    except (*DAMAGE, tarfile.TarError) as error:
        raise BenchError(
            f"{path} cannot be read as a .tar.gz file: {error or type(error).__name__}"
        ) from error
    missing = [name for name in order or [] if name not in found]
    if order is None or missing:
        what = f"{missing[0]}.mat, which its list.txt names" if missing else "list.txt"
        raise BenchError(f"{path} has no {FOLDER}{what}: it is not the published archive of Cars3D")
    for elevation in range(ELEVATIONS):
        for azimuth in range(AZIMUTHS):
            yield np.stack([found[name][elevation, azimuth] for name in order])


def members(path: Path, unpacked: gzip.GzipFile) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the list and of each car's file, without folder and suffix; all else is passed over."""
    seen = set()
    with tarfile.open(fileobj=unpacked, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./").removeprefix(FOLDER)
            car = name.removesuffix(".mat")
            if not member.name.removeprefix("./").startswith(FOLDER) or not (
                name == "list.txt" or (car != name and CAR.fullmatch(car))
            ):
                continue
            largest = LONGEST_LIST if name == "list.txt" else LARGEST_MEMBER
            if not member.isreg() or member.size > largest or name in seen:
                raise BenchError(
                    f"{path}: {member.name} must be a plain file of at most {largest} bytes, and there once: this is"
                    " not the published archive of Cars3D"
                )
            seen.add(name)
            content = archive.extractfile(member)
            assert content is not None
            yield car, content.read()


def car_names(path: Path, content: bytes, cars: int) -> list[str]:
    """The names in `list.txt`, in their order. Raises BenchError unless they are those of so many cars."""
    names = [line.strip() for line in content.decode("ascii").splitlines() if line.strip()]
    names = [name.removesuffix(".mat") for name in names]
    if len(names) != cars or len(set(names)) != cars or not all(map(CAR.fullmatch, names)):
        raise BenchError(
            f"{path}: {FOLDER}list.txt must name {cars} different files car_NNN_mesh; it has {len(names)} lines"
        )
    return names


def stored_images(path: Path, name: str, content: bytes) -> Images:
    """uint8 [elevation, azimuth, 128, 128, 3] of a car's MATLAB file. Raises BenchError for any other content."""
    where = f"{path}: {FOLDER}{name}.mat"
    plain = without_compression(where, content)
    try:
        arrays = {array: (shape, kind) for array, shape, kind in whosmat(io.BytesIO(plain))}
        if arrays.get("im") != (STORED, "uint8"):
            raise BenchError(f"{where}: im must be uint8 of shape {STORED}; it has {arrays}")
        images = loadmat(io.BytesIO(plain), variable_names=["im"])["im"]
    except (*DAMAGE, MatReadError) as error:
        raise BenchError(
            f"{where} cannot be read as a MATLAB file: {error or type(error).__name__}"
        ) from error
    if images.shape != STORED or images.dtype != np.uint8:
        raise BenchError(
            f"{where}: im is {images.dtype} of shape {images.shape}, not uint8 of shape {STORED}"
        )
    return np.ascontiguousarray(images.transpose(4, 3, 0, 1, 2))


def without_compression(where: str, content: bytes) -> bytes:
    """A MATLAB 5 file with its elements unpacked, which scipy then reads; never more than `LARGEST_MEMBER` bytes."""
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise BenchError(f"{where} is no MATLAB 5 file")
    parts, place, room = [content[:128]], 128, LARGEST_MEMBER
    while place < len(content):
        if place + 8 > len(content):
            raise BenchError(f"{where} ends too early")
        kind, size = struct.unpack_from(f"{order}II", content, place)
        element = content[place : place + 8 + size]
        if len(element) < 8 + size:
            raise BenchError(f"{where} ends too early")
        if kind == COMPRESSED:
            stream = zlib.decompressobj()
            element = stream.decompress(element[8:], room + 1)
            if len(element) > room or not stream.eof:
                raise BenchError(f"{where} is damaged, or holds more than {LARGEST_MEMBER} bytes")
        parts.append(element)
        room -= len(element)
        place += 8 + size
    return b"".join(parts)


def resized(images: Images, side: int) -> Images:
    """uint8 [elevation, azimuth, 3, side, side] of such images with the channels last.

    They are made smaller as the 2019 study did it: by Pillow's Lanczos filter, image by image.
    """
    if side != images.shape[2]:
        flat = images.reshape(-1, *images.shape[2:])
        size = (side, side)
        small = [np.asarray(Image.fromarray(each).resize(size, Image.Resampling.LANCZOS)) for each in flat]
        images = np.stack(small).reshape(*images.shape[:2], side, side, 3)
    return np.ascontiguousarray(images.transpose(0, 1, 4, 2, 3))
