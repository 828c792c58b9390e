"""3D Shapes (Burgess and Kim 2018): 480,000 colour images of a room with one body."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle_bench.data.array_store import ArrayStore
from disentangle_bench.data.cache import cached_array
from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.layouts import read
from disentangle_bench.data.official import CACHES, FileFacts, find
from disentangle_bench.data.render_shapes3d import (
    MIDDLE,
    REVISION,
    SIDE,
    STEP_BITS,
    part_sets,
)
from disentangle_bench.data.shapes3d_rooms import PUBLISHED, Rooms, hue_levels


class PartStore:
    """Pictures added up from part maps when they are asked for, in integers: the same on every device.

    `maps` is int16 [sets * maps, 4096] as `part_sets` lays them out.
    """

    def __init__(self, maps: Tensor, rooms: Rooms = PUBLISHED) -> None:
        self.maps, self.asked = maps, rooms
        self.levels = [torch.from_numpy(hue_levels(hues)).to(maps.device) for hues in rooms.hues]
        self.channels = torch.arange(3, device=maps.device)

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, 3, 64, 64]."""
        sets = self.asked.sets
        *starts, count = self.asked.rows
        _, walls, bodies = self.asked.hues
        colours, first = index // sets, (index % sets * count).unsqueeze(1)
        hues = (colours // (walls * bodies), colours // bodies % walls, colours % bodies)
        picture = self.rows(first + self.channels)
        for start, levels, hue in zip(starts, self.levels, hues, strict=True):
            picture += self.rows(first + start + levels[hue])
        grey = (picture >> STEP_BITS) + MIDDLE
        return grey.clamp_(0, 255).to(torch.uint8).view(-1, 3, SIDE, SIDE)

    def rows(self, numbers: Tensor) -> Tensor:
        """int16 [n * 3, 4096]: the maps with these numbers [n, 3]."""
        return self.maps.index_select(0, numbers.reshape(-1))

    def to(self, device: torch.device) -> PartStore:
        """The same maps on another device."""
        return self if self.maps.device == device else PartStore(self.maps.to(device), self.asked)


def open_rendered(data_dir: Path, notify: Notify | None, rooms: Rooms = PUBLISHED) -> tuple[PartStore, str]:
    """Rooms drawn, and a hash of their maps: an image for every one of the official set, in its order, or others.

    The part maps (83 MB) are kept in a cache file in `data_dir`, named by what is drawn. The hash is the sha256 of that
    file's content.
    """
    asked = _hash_of(rooms)
    name = "shapes3d_rendered" if asked == _hash_of(PUBLISHED) else f"shapes3d_drawn.{asked}"
    shape = (rooms.sets, rooms.rows[-1], SIDE * SIDE)
    path = data_dir / f"{name}.r{REVISION}.npy"
    maps, found = cached_array(path, shape, np.int16, lambda: part_sets(rooms, notify))
    return PartStore(torch.from_numpy(maps).view(-1, SIDE * SIDE), rooms), found


def _hash_of(rooms: Rooms) -> str:
    known = (rooms.hues, rooms.scales.tobytes(), rooms.shapes, rooms.azimuths.tobytes())
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def open_official(
    files: Sequence[FileFacts], data_dir: Path, notify: Notify | None
) -> tuple[ArrayStore, str]:
    """3D Shapes as published, from the file `3dshapes.h5` in `data_dir`, and its fingerprint.

    The file's hashes and layout are checked once, when it is unpacked (5.9 GB) into a cache file beside it;
    later starts check the cache's own hash, which is the fingerprint, and map it into memory. Raises BenchError
    where the file is not there, or is not the published one.
    """

    def channels_first() -> Iterator[NDArray[np.uint8]]:
        path, facts = find(files, data_dir, "shapes3d")
        for block in read(path, facts.arrays, notify):
            yield block.transpose(0, 3, 1, 2)

    shape = (files[0].arrays.length, 3, SIDE, SIDE)
    images, fingerprint = cached_array(data_dir / CACHES["shapes3d"], shape, np.uint8, channels_first)
    return ArrayStore(torch.from_numpy(images)), fingerprint
