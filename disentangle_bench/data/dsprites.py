"""dSprites (Matthey et al. 2017): 737,280 binary images of one sprite, kept as bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle_bench.data.cache import cached_array
from disentangle_bench.data.factor_dataset import Notify, Symmetry
from disentangle_bench.data.layouts import read
from disentangle_bench.data.official import CACHES, FileFacts, find
from disentangle_bench.data.render_dsprites import FACTOR_NAMES, FACTOR_SIZES, REVISION, SIDE, packed_images


class BitStore:
    """Binary images as packed bits, 512 bytes each; they are unpacked to 0 and 255 when they are asked for.

    `bits` is uint8 [images, 512], the leftmost pixel in the highest bit.
    """

    def __init__(self, bits: Tensor) -> None:
        self.bits = bits
        # For each byte its eight pixels, which are gathered as one 64-bit number.
        ones = torch.arange(256).unsqueeze(1) >> torch.arange(7, -1, -1) & 1
        self.pixels = (255 * ones).to(torch.uint8).view(torch.int64).reshape(256).to(bits.device)

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, 1, 64, 64], 0 or 255."""
        packed = self.bits.index_select(0, index).reshape(-1)
        return self.pixels.index_select(0, packed.int()).view(torch.uint8).reshape(-1, 1, SIDE, SIDE)

    def to(self, device: torch.device) -> BitStore:
        """The same bits on another device."""
        return self if self.bits.device == device else BitStore(self.bits.to(device))


def open_rendered(data_dir: Path, notify: Notify | None) -> tuple[BitStore, str]:
    """dSprites drawn again, and its fingerprint: an image for every one of the official set, in its order.

    The packed bits (377 MB) are kept in a cache file in `data_dir`, which all processes map. The fingerprint is made
    of them as that of the official set is: equal ones would mean equal images.
    """
    shape = (math.prod(FACTOR_SIZES), SIDE * SIDE // 8)
    path = data_dir / f"dsprites_rendered.r{REVISION}.npy"
    bits, fingerprint = cached_array(path, shape, np.uint8, lambda: [packed_images(notify)])
    return BitStore(torch.from_numpy(bits)), fingerprint


def open_official(files: Sequence[FileFacts], data_dir: Path, notify: Notify | None) -> tuple[BitStore, str]:
    """dSprites as published, from the `.npz` or `.hdf5` file in `data_dir`, and its fingerprint.

    The file's hashes and layout are checked once, when its bits are packed (377 MB) into a cache file beside
    it; later starts check the cache's own hash, which is the fingerprint. Raises BenchError where neither file
    is there, or the one that is there is not the published one.
    """

    def packed() -> Iterator[NDArray[np.uint8]]:
        path, facts = find(files, data_dir, "dsprites")
        for block in read(path, facts.arrays, notify):
            yield np.packbits(block.reshape(len(block), -1), axis=1)

    shape = (files[0].arrays.length, SIDE * SIDE // 8)
    bits, fingerprint = cached_array(data_dir / CACHES["dsprites"], shape, np.uint8, packed)
    return BitStore(torch.from_numpy(bits)), fingerprint


def symmetry() -> Symmetry:
    """What images show of the orientation: its share of the turn after which the shape looks the same again.

    That is a quarter of a turn for the square, half of one for the ellipse and a whole one for the heart. The first
    and the last orientation are the same.
    """
    steps = FACTOR_SIZES[FACTOR_NAMES.index("orientation")] - 1  # in a whole turn
    in_a_turn = torch.tensor([[4], [2], [1]])
    return Symmetry("orientation", "shape", torch.arange(steps + 1) * in_a_turn % steps / steps)
