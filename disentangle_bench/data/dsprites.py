"""dSprites (Matthey et al. 2017): 737,280 binary images of one sprite, kept as bits."""

from __future__ import annotations

import hashlib
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
from disentangle_bench.data.render_dsprites import (
    ALIKE_IN_A_TURN,
    FACTOR_SIZES,
    PUBLISHED,
    REVISION,
    SHAPES,
    SIDE,
    Sprites,
    packed_images,
    scattered_images,
)


class BitStore:
    """Binary images as packed bits, which are unpacked to two grey levels, 0 and 255, when they are asked for.

    `bits` is uint8 [images, side * side / 8], the leftmost pixel in the highest bit.
    """

    def __init__(self, bits: Tensor, levels: tuple[int, int] = (0, 255)) -> None:
        self.bits, self.levels = bits, levels
        self.side = math.isqrt(8 * bits.shape[1])
        # For each byte its eight pixels, which are gathered as one 64-bit number.
        ones = torch.arange(256).unsqueeze(1) >> torch.arange(7, -1, -1) & 1
        dark, lit = levels
        grey = (dark + (lit - dark) * ones).to(torch.uint8)
        self.pixels = grey.view(torch.int64).reshape(256).to(bits.device)

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, 1, side, side]."""
        packed = self.bits.index_select(0, index).reshape(-1)
        found = self.pixels.index_select(0, packed.int()).view(torch.uint8)
        return found.reshape(-1, 1, self.side, self.side)

    def to(self, device: torch.device) -> BitStore:
        """The same bits on another device."""
        return self if self.bits.device == device else BitStore(self.bits.to(device), self.levels)


def open_rendered(
    data_dir: Path,
    notify: Notify | None,
    sprites: Sprites = PUBLISHED,
    levels: tuple[int, int] = (0, 255),
) -> tuple[BitStore, str]:
    """Sprites drawn, and a hash of their bits: an image for every one of the official set, in its order, or others.

    The packed bits (377 MB) are kept in a cache file in `data_dir`, named by what is drawn, which all processes map.
    The hash is made of them as that of the official set is: equal ones would mean equal images.
    """
    asked = _hash_of(sprites)
    name = "dsprites_rendered" if asked == _hash_of(PUBLISHED) else f"dsprites_drawn.{asked}"
    shape = (len(sprites), sprites.side**2 // 8)
    draw = scattered_images if sprites.scattered else packed_images
    path = data_dir / f"{name}.r{REVISION}.npy"
    bits, found = cached_array(path, shape, np.uint8, lambda: draw(sprites, notify))
    return BitStore(torch.from_numpy(bits), levels), found


def _hash_of(sprites: Sprites) -> str:
    values = [values.tobytes() for values in sprites.values]
    return hashlib.sha256(
        repr((sprites.shapes, values, sprites.scattered, sprites.side)).encode()
    ).hexdigest()[:16]


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


def symmetry(
    shapes: Sequence[str] = SHAPES, orientations: int = FACTOR_SIZES[2], closed: bool = True
) -> Symmetry:
    """What images show of the orientation: its share of the turn after which the shape looks the same again.

    That is a quarter of a turn for the square, half of one for the ellipse and a whole one for the heart. Of a `closed`
    turn the first and the last orientation are the same.
    """
    steps = max(orientations - closed, 1)  # in a whole turn
    in_a_turn = torch.tensor([[ALIKE_IN_A_TURN[shape]] for shape in shapes])
    return Symmetry("orientation", "shape", torch.arange(orientations) * in_a_turn % steps / steps)
