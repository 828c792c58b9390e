"""Which rooms a set of 3D Shapes shows, and the levels of red, green and blue that its hues use."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, field

import numpy as np

from disentangle_bench.data.shapes3d_raster import Floats, Ints

FACTOR_NAMES = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
FACTOR_SIZES = (10, 10, 10, 8, 4, 15)
SHAPES = ("cube", "cylinder", "sphere", "capsule")
SCALES = np.linspace(0.75, 1.25, 8)
AZIMUTHS = np.radians(np.linspace(-30, 30, 15))
SKY_MAPS = 3


def hue_steps(hues: int) -> int:
    """Of what share of full brightness the red, green and blue of so many hues are multiples: 1 / steps."""
    return hues // math.gcd(6, hues)


def hue_levels(hues: int) -> Ints:
    """Red, green and blue [hues, 3] of evenly spaced hues, the first one red, as multiples of 1 / steps."""
    colours = [colorsys.hsv_to_rgb(k / hues, 1, 1) for k in range(hues)]
    return np.rint(hue_steps(hues) * np.array(colours)).astype(np.int64)


def levels(hues: int) -> Floats:
    """The brightnesses [steps + 1] that occur in so many hues."""
    found: Floats = np.arange(hue_steps(hues) + 1) / hue_steps(hues)
    return found


HUES = 10
LEVELS, HUE_LEVELS = levels(HUES), hue_levels(HUES)


@dataclass(frozen=True, eq=False)
class Rooms:
    """The rooms that a set shows: so many `hues` of floor, walls and body, each body at each scale and azimuth."""

    hues: tuple[int, int, int] = (HUES, HUES, HUES)
    scales: Floats = field(default_factory=lambda: SCALES)
    shapes: tuple[str, ...] = SHAPES
    azimuths: Floats = field(default_factory=lambda: AZIMUTHS)

    @property
    def sets(self) -> int:
        """How many sets of maps there are: one for each scale, shape and azimuth."""
        return len(self.scales) * len(self.shapes) * len(self.azimuths)

    @property
    def rows(self) -> tuple[int, int, int, int]:
        """Where in a set the maps of floor, walls and body begin, and how many maps it has."""
        floor, wall, body = (hue_steps(hues) + 1 for hues in self.hues)
        return SKY_MAPS, SKY_MAPS + floor, SKY_MAPS + floor + wall, SKY_MAPS + floor + wall + body


PUBLISHED = Rooms()
