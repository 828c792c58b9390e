"""CelebA (Liu et al. 2015): 202,599 photographs of faces, aligned and cut to 178 x 218.

The published archive `img_align_celeba.zip` holds `img_align_celeba/000001.jpg` and so on. Of each image the middle
148 x 148 pixels are taken and made 64 x 64 by Pillow's bilinear filter, which averages where it makes smaller.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.cache import cached_array, check_room
from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.official import CACHES, FileFacts, find
from disentangle_bench.data.strict_npz import DAMAGE, plain_file
from disentangle_bench.errors import BenchError

Images = NDArray[np.uint8]
# Width and height, as Pillow has them.
NATIVE_SIZE = (178, 218)
CROP, SIDE = 148, 64
FOLDER = "img_align_celeba"
LARGEST_JPEG = 1 << 20
BLOCK = 256
# What gives the bytes of an image by the name of its file.
ReadFile = Callable[[str], bytes]


def open_official(
    files: Sequence[FileFacts], number: int, data_dir: Path, notify: Notify | None
) -> tuple[ArrayStore, str]:
    """CelebA as published, from its archive or its unpacked folder in `data_dir`, and its fingerprint.

    The images are put into a cache file in `data_dir` once (2.5 GB); later starts check the cache's own hash, which is
    the fingerprint, and map it. The archive's hash is published, and of a folder the layout alone is checked. Raises
    BenchError where neither is there, or is laid out as published, or where the disk has no room for the cache.
    """

    def images() -> Iterator[Images]:
        path, _ = find(files, data_dir, "celeba")
        check_room(data_dir, math.prod(shape), "celeba")
        yield from read(path if path.suffix == ".zip" else path.parent, number, notify)

    shape = (number, 3, SIDE, SIDE)
    array, fingerprint = cached_array(data_dir / CACHES["celeba"], shape, np.uint8, images)
    return ArrayStore(torch.from_numpy(array)), fingerprint


def read(path: Path, number: int, notify: Notify | None = None) -> Iterator[Images]:
    """The images of the archive or folder in blocks [n, 3, 64, 64], in the order of their names.

    Raises BenchError with the reason where it departs from the published layout in anything.
    """
    with opened(path, number) as read_file:
        for first in range(0, number, BLOCK):
            names = [f"{k + 1:06}.jpg" for k in range(first, min(first + BLOCK, number))]
            yield np.stack([image(f"{path}: {name}", read_file(name)) for name in names])
            if notify is not None:
                notify(f"reading {path.name}", first + len(names), number)


@contextmanager
def opened(path: Path, number: int) -> Iterator[ReadFile]:
    """What gives the content of the archive's or folder's images, of which there must be so many."""
    try:
        if path.suffix != ".zip":
            check_number(path, sum(name.endswith(".jpg") for name in os.listdir(path)), number)
            yield lambda name: of_folder(path / name)
            return
        with plain_file(path) as file, zipfile.ZipFile(file) as archive:
            check_number(path, sum(name.endswith(".jpg") for name in archive.namelist()), number)
            yield lambda name: of_archive(archive, f"{FOLDER}/{name}")
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {error.filename or path}") from error
    except DAMAGE as error:
        raise BenchError(
            f"{path} cannot be read as CelebA's images: {error or type(error).__name__}"
        ) from error


def check_number(path: Path, found: int, number: int) -> None:
    """Raise BenchError unless as many images were found as CelebA has."""
    if found != number:
        raise BenchError(
            f"{path} has {found} files .jpg, CelebA has {number}: get the published archive again"
        )


def of_folder(path: Path) -> bytes:
    """What a file holds, as far as an image of CelebA may."""
    with plain_file(path) as file:
        return file.read(LARGEST_JPEG + 1)


def of_archive(archive: zipfile.ZipFile, name: str) -> bytes:
    """What a member of the archive holds, whose checksum is right, as far as an image of CelebA may."""
    with archive.open(name) as file:
        return file.read(LARGEST_JPEG + 1)


def image(what: str, content: bytes) -> Images:
    """uint8 [3, 64, 64] of the bytes of a JPEG file. Raises BenchError for another kind or size of image."""
    if len(content) > LARGEST_JPEG:
        raise BenchError(f"{what} has more than {LARGEST_JPEG} bytes: it is none of CelebA's")
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as found:
            if found.size != NATIVE_SIZE or found.mode != "RGB":
                raise BenchError(
                    f"{what} is {found.mode} of size {found.size}, not RGB of size {NATIVE_SIZE}"
                )
            left, top = ((side - CROP) // 2 for side in NATIVE_SIZE)
            # Cut first: a filter would look beyond the edges of a box.
            middle = found.crop((left, top, left + CROP, top + CROP))
            smaller = middle.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise BenchError(f"{what} cannot be read as a JPEG file: {error or type(error).__name__}") from error
    return np.asarray(smaller).transpose(2, 0, 1)
