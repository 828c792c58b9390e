"""MPI3D (Gondal et al. 2019, arXiv:1906.03292): images of a robot arm that holds a body, drawn or photographed.

The published `.npz` files hold one array, `images`, uint8 [images, 64, 64, 3], without compression. It is mapped
into memory where it lies in the file, so that the operating system keeps of it what fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.cache import map_private
from disentangle_bench.data.checked_once import fingerprint_of
from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.official import FileFacts, check_size, find_one
from disentangle_bench.data.strict_npz import open_npz
from disentangle_bench.errors import BenchError

SIDE = 64
KEY = "images"


def open_official(
    files: Sequence[FileFacts], sizes: Sequence[int], data_dir: Path, notify: Notify | None, name: str
) -> tuple[ArrayStore, str]:
    """An MPI3D data set as published, from its `.npz` file in `data_dir`, and its fingerprint.

    `sizes` are those of the factors. The file's hash is checked once (see `checked_once`), its layout at every start.
    Raises BenchError where the file is not there, or is not the published one.
    """
    path, facts = find_one(files, data_dir, name)
    check_size(path, facts)
    array = mapped(path, (math.prod(sizes), SIDE, SIDE, 3))
    fingerprint = fingerprint_of(path, facts, notify)
    return ArrayStore(torch.from_numpy(array).permute(0, 3, 1, 2)), fingerprint


def mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array `images` of an `.npz` file, mapped copy-on-write: writing to it does not change the file.

    Raises BenchError unless it is uint8 of this shape, stored without compression.
    """
    with open_npz(path) as archive:
        header = archive.header(KEY)
        if header.shape != shape or header.dtype != np.uint8 or header.column_major:
            order = " column by column" if header.column_major else ""
            raise BenchError(
                f"{path}: {KEY} is {header.dtype} of shape {header.shape}{order}, not uint8 of shape {shape}: it is"
                " not the published file of this data set"
            )
        place = archive.place(KEY)
    return map_private(path, np.uint8, shape, place)
