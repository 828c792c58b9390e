"""Isaac3D (Nie et al. 2020, arXiv:2003.03461): a robot arm in a kitchen, drawn with nine factors.

The published folder `Isaac3D_down128` holds `images/NNNNNN.png` (RGB, 128 x 128) and `labels.npy` (floats [images, 9]),
a row for each image. A factor's values are numbered in ascending order of its labels.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.cache import cached_array, check_room
from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.official import CACHES, FileFacts, find_one
from disentangle_bench.data.strict_npz import DAMAGE, npy_blocks, plain_file, read_npy_header
from disentangle_bench.errors import BenchError

Images = NDArray[np.uint8]
SIDE = 128
BLOCK = 256
LARGEST_PNG = 1 << 20
FLOATS = (np.dtype("<f4"), np.dtype("<f8"))


def open_official(
    files: Sequence[FileFacts], sizes: Sequence[int], data_dir: Path, notify: Notify | None
) -> tuple[ArrayStore, str]:
    """Isaac3D as published, from its unpacked folder in `data_dir`, and its fingerprint.

    The images are put into a cache file in `data_dir` once (36 GB); later starts check the cache's own hash, which is
    the fingerprint, and map it. No hash is published, so that the layout alone is checked. Raises BenchError where
    the folder is not there, is not laid out as published, or where the disk has no room for the cache.
    """

    def images() -> Iterator[Images]:
        labels, _ = find_one(files, data_dir, "isaac3d")
        check_room(data_dir, math.prod(shape), "isaac3d")
        yield from read(labels, sizes, notify)

    shape = (math.prod(sizes), 3, SIDE, SIDE)
    array, fingerprint = cached_array(data_dir / CACHES["isaac3d"], shape, np.uint8, images)
    return ArrayStore(torch.from_numpy(array)), fingerprint


def read(labels: Path, sizes: Sequence[int], notify: Notify | None = None) -> Iterator[Images]:
    """The images in blocks [n, 3, 128, 128], in the order of their factors.

    Raises BenchError with the reason where the folder departs from the published layout in anything.
    """
    order = image_order(labels, sizes)
    folder = labels.parent / "images"
    try:
        found = sum(entry.name.endswith(".png") for entry in os.scandir(folder))
    except OSError as error:
        raise BenchError(f"{folder} cannot be read: {error}") from error
    if found != len(order):
        raise BenchError(
            f"{folder} has {found} files .png, {labels.name} names {len(order)}: unpack the published archive again"
        )
    for first in range(0, len(order), BLOCK):
        numbers = order[first : first + BLOCK]
        yield np.stack([image(folder / f"{number:06}.png") for number in numbers])
        if notify is not None:
            notify(f"reading {labels.parent.name}", first + len(numbers), len(order))


def image_order(path: Path, sizes: Sequence[int]) -> NDArray[np.int64]:
    """int64 [images]: which image comes first, second, ... in the order of factors.

    Raises BenchError unless the labels are floats [images, factors] that make every combination once.
    """
    values = read_labels(path, (math.prod(sizes), len(sizes)))
    place = np.zeros(len(values), np.int64)
    for column, size in enumerate(sizes):
        distinct, number = np.unique(values[:, column], return_inverse=True)
        if len(distinct) != size:
            raise BenchError(
                f"{path}: column {column} has {len(distinct)} different values, not {size}: these are not the labels"
                " of Isaac3D"
            )
        place = place * size + number
    order = np.argsort(place, kind="stable")
    if not np.array_equal(place[order], np.arange(len(place))):
        raise BenchError(
            f"{path} does not list every combination of factors once: these are not those of Isaac3D"
        )
    return order.astype(np.int64)


def read_labels(path: Path, shape: tuple[int, int]) -> NDArray[np.floating]:
    """The labels, finite floats of this shape."""
    try:
        with plain_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            header = read_npy_header(path, "labels", file, size)
            if header.shape != shape or header.dtype not in FLOATS:
                raise BenchError(
                    f"{path}: it is {header.dtype} of shape {header.shape}, not floats of shape {shape}"
                )
            values: NDArray[np.floating] = np.concatenate(list(npy_blocks(path, "labels", header, file)))
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {path}") from error
    except DAMAGE as error:
        raise BenchError(f"{path} cannot be read as an .npy file: {error or type(error).__name__}") from error
    if not np.isfinite(values).all():
        raise BenchError(f"{path} has labels that are no numbers")
    return values


def image(path: Path) -> Images:
    """uint8 [3, 128, 128] of a PNG file. Raises BenchError for another size, and for transparent pixels."""
    try:
        with plain_file(path) as file:
            content = file.read(LARGEST_PNG + 1)
        if len(content) > LARGEST_PNG:
            raise BenchError(f"{path} has more than {LARGEST_PNG} bytes: it is none of Isaac3D's")
        # Pillow looks at the checksums here alone, and an image that was checked is of no further use.
        with Image.open(io.BytesIO(content), formats=["PNG"]) as checked:
            size, mode = checked.size, checked.mode
            if size != (SIDE, SIDE) or mode not in ("RGB", "RGBA"):
                raise BenchError(f"{path} is {mode} of size {size}, not RGB of size {(SIDE, SIDE)}")
            checked.verify()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            pixels = np.asarray(opened)
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {path}") from error
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise BenchError(f"{path} cannot be read as a PNG file: {error or type(error).__name__}") from error
    if (pixels[..., 3:] != 255).any():
        raise BenchError(f"{path} has transparent pixels: it is none of Isaac3D's")
    return pixels[..., :3].transpose(2, 0, 1)
