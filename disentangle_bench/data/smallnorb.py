"""SmallNORB (LeCun, Huang and Bottou 2004): 50 toys in five categories, photographed with two cameras.

The published files are matrices packed by gzip: a magic number, the number of dimensions, at least three sizes, and
the values, all little-endian. Training and test part hold five toys of each category; here they are one data set,
whose factor `instance` has ten values, 0 to 9, as the files number the toys within a category. Equal instances of two
categories have nothing in common. (In the 2019 study the instance is no factor; it is drawn at random.) Of each
pair the first image is taken.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.cache import cached_array
from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.official import CACHES, FileFacts, find_all
from disentangle_bench.data.packed_matrix import open_packed, values_in_blocks
from disentangle_bench.errors import BenchError

Images = NDArray[np.uint8]
NATIVE_SIDE, SIDE = 96, 64
MAGIC: dict[int, np.dtype[Any]] = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}
# Azimuths are numbered 0, 2, ..., 34.
AZIMUTH_COLUMN, AZIMUTH_STEP = 3, 2
BLOCK = 256


def open_official(
    files: Sequence[FileFacts], sizes: Sequence[int], data_dir: Path, notify: Notify | None
) -> tuple[ArrayStore, str]:
    """SmallNORB as published, at 64 x 64, from its six files in `data_dir`, and its fingerprint.

    Hashes and content are checked once, when the images are put into a cache file beside them (199 MB); later starts
    check the cache's own hash, which is the fingerprint, and map it. Raises BenchError where a file is not there,
    or is not the published one.
    """

    def images() -> Iterator[Images]:
        paths = find_all(files, data_dir, "smallnorb")
        yield read(paths, sizes, notify)

    shape = (math.prod(sizes), 1, SIDE, SIDE)
    array, fingerprint = cached_array(data_dir / CACHES["smallnorb"], shape, np.uint8, images)
    return ArrayStore(torch.from_numpy(array)), fingerprint


def read(paths: Sequence[Path], sizes: Sequence[int], notify: Notify | None = None) -> Images:
    """uint8 [images, 1, 64, 64] in the order of their factors, of the files dat, cat and info of either part.

    Raises BenchError with the reason where a file departs from the published layout in anything.
    """
    whole = math.prod(sizes)
    half = whole // 2
    images = np.empty((whole, 1, SIDE, SIDE), np.uint8)
    places = [part_places(paths[k + 1], paths[k + 2], half, sizes) for k in (0, 3)]
    if len(np.unique(np.concatenate(places))) != whole:
        raise BenchError(
            f"{paths[2]} and {paths[5]} do not list every combination of factors once: they are not the two parts of"
            " SmallNORB"
        )
    done = 0
    for part, place in enumerate(places):
        start, path = 0, paths[3 * part]
        for pairs in matrix(path, (half, 2, NATIVE_SIDE, NATIVE_SIDE), np.uint8):
            for row, pair in enumerate(pairs, start=start):
                images[place[row], 0] = resized(pair[0])
            start += len(pairs)
            done += len(pairs)
            if notify is not None:
                notify(f"reading {path.name}", done, whole)
    return images


def part_places(cat: Path, info: Path, images: int, sizes: Sequence[int]) -> NDArray[np.int64]:
    """int64 [images]: where the images of a part stand in the order of factors."""
    category = np.concatenate(list(matrix(cat, (images,), np.int32)))
    others = np.concatenate(list(matrix(info, (images, 4), np.int32)))
    factors = np.column_stack([category, others]).astype(np.int64)
    factors[:, AZIMUTH_COLUMN], odd = np.divmod(factors[:, AZIMUTH_COLUMN], AZIMUTH_STEP)
    wrong = ((factors < 0) | (factors >= np.array(sizes))).any(axis=1) | (odd != 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise BenchError(
            f"{info}: image {row} has category {category[row]} and instance, elevation, azimuth, lighting"
            f" {others[row].tolist()}, which SmallNORB does not have"
        )
    return np.ravel_multi_index(tuple(factors.T), tuple(sizes)).astype(np.int64)


def matrix(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    """The packed matrix in blocks along its first axis. Raises BenchError unless it has this shape and type."""
    with open_packed(path) as file:
        magic, dimensions = struct.unpack("<II", file.read(8))
        found = struct.unpack("<3i", file.read(12))
        if MAGIC.get(magic) != np.dtype(dtype) or dimensions != len(shape):
            raise BenchError(
                f"{path} is no matrix of {np.dtype(dtype)} in {len(shape)} dimensions: it is not the published file"
            )
        found += struct.unpack(f"<{max(0, dimensions - 3)}i", file.read(4 * max(0, dimensions - 3)))
        if found[:dimensions] != shape:
            raise BenchError(
                f"{path} has the shape {found[:dimensions]}, not {shape}: it is not the published file"
            )
        yield from values_in_blocks(path, file, shape, MAGIC[magic], BLOCK)


def resized(image: Images) -> Images:
    """uint8 [64, 64] of [96, 96], as the 2019 study did it: by Pillow's Lanczos filter on whole numbers of 32 bits.

    The filter overshoots at edges; the study kept what lies outside 0..255, here it is cut.
    """
    wide = Image.fromarray(image.astype(np.int32))
    return np.asarray(wide.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).clip(0, 255).astype(np.uint8)
