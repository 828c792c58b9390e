"""dSprites and 3D Shapes with as many values of each factor as a question needs, drawn by the same renderers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.data import render_dsprites, render_shapes3d, shapes3d_rooms
from disentangle_bench.data.bins import in_bins
from disentangle_bench.data.parameters import Parameters
from disentangle_bench.data.render_dsprites import ALIKE_IN_A_TURN, Floats, Sprites
from disentangle_bench.data.shapes3d_rooms import Rooms
from disentangle_bench.data.source import DataSource
from disentangle_bench.errors import BenchError
from disentangle_bench.shown import settings

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import ImageStore, Notify, Symmetry

# What is kept on the disk, and mapped from there. A set that takes more is refused before a pixel is drawn.
MOST_BYTES = 1 << 32
MOST_VALUES = 1000
MOST_IMAGES = 1 << 20
MOST_HUES = 100
SIDES = (32, 64, 128, 256)
# What a grid of sprites has and scattered ones do not, and the other way round.
OF_A_GRID = ("scales", "orientations", "turn", "positions")
OF_SCATTERED = ("images", "seed")
OF_BOTH = ("shapes", "side", "background", "foreground")


class DSpritesDrawn(DataSource):
    """Sprites drawn as those of dSprites: a full grid, or `images` whose factors are real numbers drawn at random."""

    factor_names = render_dsprites.FACTOR_NAMES
    provenance = "rendered"

    def __init__(self, **parameters: Any) -> None:
        self.name = named("dsprites_drawn", parameters)
        asked = Parameters("dsprites_drawn", parameters, (*OF_A_GRID, *OF_SCATTERED, *OF_BOTH))
        shapes = asked.some_of("shapes", render_dsprites.SHAPES)
        side = asked.one_of("side", render_dsprites.SIDE, SIDES)
        self.image_shape = (1, side, side)
        self.levels = (asked.whole("background", 0, 0, 255), asked.whole("foreground", 255, 0, 255))
        if self.levels[0] == self.levels[1]:
            raise BenchError(
                f"{self.name}: background and foreground are both {self.levels[0]}: a sprite would not show"
            )
        self.closed = asked.one_of("turn", "closed", ("closed", "open")) == "closed"
        if "images" in parameters:
            asked.refuse(OF_A_GRID, "images = ... draws these at random")
            self._scatter(asked, shapes, side)
        else:
            asked.refuse(("seed",), "nothing is drawn at random without images = ...")
            self._cross(asked, shapes, side)
        refuse_large(
            self.name, len(self.sprites) * side**2 // 8, f"{len(self.sprites):,} images of {side} x {side}"
        )

    def _cross(self, asked: Parameters, shapes: tuple[str, ...], side: int) -> None:
        """Sprites of every combination of so many values of each factor."""
        scales = spread(0.5, 1, asked.whole("scales", 6, 1, MOST_VALUES), alone=1)
        orientations = asked.whole("orientations", 40, 1, MOST_VALUES)
        steps = orientations - self.closed  # in a whole turn
        if orientations > 1 and all(ALIKE_IN_A_TURN[shape] % steps == 0 for shape in shapes):
            raise asked.refused("orientations", f"more, for {', '.join(shapes)} would look the same at each")
        columns, rows = (
            spread(0, 1, count, alone=0.5) for count in asked.pair("positions", 32, 1, MOST_VALUES)
        )
        self.sprites = Sprites(shapes, scales, angles(orientations, self.closed), columns, rows, side)
        self.factor_sizes = self.sprites.sizes
        self.labels = {"shape": shapes}

    def _scatter(self, asked: Parameters, shapes: tuple[str, ...], side: int) -> None:
        """Sprites whose factors are drawn uniformly: the shape's number, and real numbers in bins."""
        import torch

        count = asked.whole("images", 0, 2, MOST_IMAGES)
        drawn = np.random.default_rng(asked.whole("seed", 0, 0, 2**63 - 1)).random((count, 5))
        shape = (drawn[:, 0] * len(shapes)).astype(np.int64)
        values = (0.5 + 0.5 * drawn[:, 1], 2 * np.pi * drawn[:, 2], drawn[:, 3], drawn[:, 4])
        chosen = tuple(shapes[number] for number in shape)
        self.sprites = Sprites(chosen, *values, side=side, scattered=True)
        bins = [in_bins(column) for column in values]
        self.table = torch.from_numpy(np.stack([shape, *(numbers for numbers, _ in bins)], axis=1))
        names = self.factor_names[1:]
        self.measured = {name: torch.from_numpy(column) for name, column in zip(names, values, strict=True)}
        ranges = {name: labels for name, (_, labels) in zip(names, bins, strict=True)}
        self.labels = {"shape": shapes, **ranges}
        self.factor_sizes = tuple(map(len, self.labels.values()))

    @property
    def symmetry(self) -> Symmetry | None:
        """What images show of the orientation, shape by shape; of scattered sprites nothing is said."""
        from disentangle_bench.data.dsprites import symmetry

        if self.sprites.scattered:
            return None
        return symmetry(self.sprites.shapes, len(self.sprites.angles), self.closed)

    def with_parameters(self, **parameters: Any) -> DSpritesDrawn:
        """The set that is asked for."""
        return DSpritesDrawn(**parameters)

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The packed bits, and a hash of these, the grey levels and the factors."""
        from disentangle_bench.data.dsprites import open_rendered

        store, found = open_rendered(data_dir, notify, self.sprites, self.levels)
        digest = hashlib.sha256(repr((found, self.levels, self.sprites.shapes, self.factor_sizes)).encode())
        for values in self.sprites.values:
            digest.update(values.tobytes())
        return store, digest.hexdigest()


class Shapes3DDrawn(DataSource):
    """Rooms drawn as those of 3D Shapes."""

    factor_names = shapes3d_rooms.FACTOR_NAMES
    image_shape = (3, render_shapes3d.SIDE, render_shapes3d.SIDE)
    provenance = "rendered"

    def __init__(self, **parameters: Any) -> None:
        self.name = named("shapes3d_drawn", parameters)
        hues = ("floor_hues", "wall_hues", "object_hues")
        asked = Parameters("shapes3d_drawn", parameters, (*hues, "scales", "shapes", "orientations"))
        floor, walls, body = (asked.whole(key, shapes3d_rooms.HUES, 1, MOST_HUES) for key in hues)
        self.rooms = rooms = Rooms(
            (floor, walls, body),
            spread(0.75, 1.25, asked.whole("scales", 8, 1, MOST_VALUES), alone=1),
            asked.some_of("shapes", shapes3d_rooms.SHAPES),
            np.radians(spread(-30, 30, asked.whole("orientations", 15, 1, MOST_VALUES), alone=0)),
        )
        self.factor_sizes = (*rooms.hues, len(rooms.scales), len(rooms.shapes), len(rooms.azimuths))
        self.labels = {"shape": rooms.shapes}
        maps = rooms.sets * rooms.rows[-1]
        side = render_shapes3d.SIDE
        refuse_large(
            self.name, maps * side**2 * 2, f"{maps:,} maps for {math.prod(self.factor_sizes):,} images"
        )

    def with_parameters(self, **parameters: Any) -> Shapes3DDrawn:
        """The set that is asked for."""
        return Shapes3DDrawn(**parameters)

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The part maps, and a hash of these and of the factors."""
        from disentangle_bench.data.shapes3d import open_rendered

        store, found = open_rendered(data_dir, notify, self.rooms)
        known = (found, self.rooms.shapes, self.factor_sizes)
        return store, hashlib.sha256(repr(known).encode()).hexdigest()


def named(name: str, parameters: Mapping[str, Any]) -> str:
    """The data set's name with what was asked of it."""
    return f"{name}[{settings(parameters)}]" if parameters else name


def spread(first: float, last: float, count: int, alone: float) -> Floats:
    """So many evenly spaced values, both ends among them; `alone` where there is one."""
    return np.linspace(first, last, count) if count > 1 else np.array([float(alone)])


def angles(count: int, closed: bool) -> Floats:
    """So many angles of a whole turn from 0; of a `closed` one the last is 2 pi, the same picture as the first."""
    return np.linspace(0, 2 * np.pi, count, endpoint=closed)


def refuse_large(name: str, size: int, what: str) -> None:
    """Raise BenchError where a set takes more bytes than are drawn."""
    if size > MOST_BYTES:
        raise BenchError(
            f"{name}: {what} take {size:,} bytes, and at most {MOST_BYTES:,} are drawn, since all lie in a file that"
            " every process maps; ask for fewer values"
        )
