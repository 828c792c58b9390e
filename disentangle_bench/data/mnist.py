"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017): 28 x 28 images of digits, and of clothes.

The published files are matrices packed by gzip: two zeros, the type (8: bytes), the number of dimensions, their sizes
as big-endian whole numbers, and the values. Files and hashes are those of torchvision's data sets, and lie where
torchvision puts them. Its older `.pt` files are never looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.cache import cached_array
from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.official import CACHES, FileFacts, find_all
from disentangle_bench.data.packed_matrix import open_packed, values_in_blocks
from disentangle_bench.errors import BenchError

Images = NDArray[np.uint8]
NATIVE_SIDE, SIDE = 28, 32
BORDER = (SIDE - NATIVE_SIDE) // 2
BYTES = 8
BLOCK = 2048


def open_official(
    files: Sequence[FileFacts], parts: Sequence[int], data_dir: Path, notify: Notify | None, name: str
) -> tuple[ArrayStore, str]:
    """The images of the files in `data_dir`, of which each holds so many (`parts`), one after the other.

    Hashes and content are checked once, when the images are put into a cache file (72 MB); later starts check the
    cache's own hash, which is the fingerprint, and map it. Raises BenchError where a file is not there, or is not the
    published one.
    """

    def images() -> Iterator[Images]:
        done = 0
        for path, number in zip(find_all(files, data_dir, name), parts, strict=True):
            for block in read(path, number):
                yield padded(block)
                done += len(block)
                if notify is not None:
                    notify(f"reading {path.name}", done, sum(parts))

    shape = (sum(parts), 1, SIDE, SIDE)
    array, fingerprint = cached_array(data_dir / CACHES[name], shape, np.uint8, images)
    return ArrayStore(torch.from_numpy(array)), fingerprint


def read(path: Path, number: int) -> Iterator[Images]:
    """The file's images in blocks [n, 28, 28]. Raises BenchError unless it is a packed matrix of so many bytes."""
    shape = (number, NATIVE_SIDE, NATIVE_SIDE)
    with open_packed(path) as file:
        zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
        found = struct.unpack(f">{len(shape)}I", file.read(4 * len(shape)))
        if (zeros, kind, dimensions) != (0, BYTES, len(shape)) or found != shape:
            raise BenchError(f"{path} is no matrix of bytes of shape {shape}: it is not the published file")
        yield from values_in_blocks(path, file, shape, np.uint8, BLOCK)


def padded(images: Images) -> Images:
    """uint8 [n, 1, 32, 32] of [n, 28, 28]: black around them, so that three layers can halve their sides."""
    return np.pad(images, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))[:, None]
