"""dSprites drawn again: the polygons of the original, filled the way a graphics card fills them.

Lengths are in pixels, x to the right, y downwards; the centre of pixel (row i, column j) is (j + .5, i + .5).

- Sprite centre 16 + 32 p, p = linspace(0, 1, 32); size linear in scale; R = 9.6 (.15 of the 64-pixel canvas).
- Square: half side R. Ellipse: 100 points, semi-axes 1.33 R and R / 1.33. Heart: 150 points at equal
  steps of t, x = R sin^3 t, up = R ((13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) / 14.5 + .15).
- Turned counter-clockwise on the screen by linspace(0, 2 pi, 40), both ends included.
- Vertices are rounded to 1/256 pixel. A pixel is lit if its centre is inside; a centre on an edge belongs
  to the shape on left and top edges only.

After the rounding everything is integer arithmetic. `docs/rendering.md` tells where these numbers come from
and how exact they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import Notify

Floats = NDArray[np.float64]

# Raised whenever a pixel may change.
REVISION = 1

FACTOR_NAMES = ("shape", "scale", "orientation", "posX", "posY")
FACTOR_SIZES = (3, 6, 40, 32, 32)
SHAPES = ("square", "ellipse", "heart")
# How often each looks the same in a whole turn.
ALIKE_IN_A_TURN = {"square": 4, "ellipse": 2, "heart": 1}
SIDE, LARGEST_SIDE = 64, 256

RADIUS = 9.6
# Steps to a pixel in the card's fixed-point coordinates, and from a pixel's corner to its centre.
STEPS = 256
HALF = STEPS // 2
# A place is rounded to so many decimals of a step first, so that what mathematics libraries differ by decides nothing.
DECIMALS = 9
# (shape, scale, orientation, posX, posY) where the heart's tip falls exactly on a pixel centre, and that pixel. The
# rule lights these two, which no genuine image shows; the sha256 that the whole set is known by has them dark, and so
# has this renderer.
KEPT_DARK = (((2, 5, 15, 0, 26), 35 * 64 + 22), ((2, 5, 15, 31, 26), 35 * 64 + 54))


@dataclass(frozen=True, eq=False)
class Sprites:
    """The sprites that a set shows: each shape at each scale, turned by each angle, at each place.

    Angles are in radians; places `pos_x` and `pos_y` run from 0 to 1. Images are `side` x `side`. Where they are
    `scattered`, the k-th image has the k-th of the shapes, scales, angles and places.
    """

    shapes: tuple[str, ...] = SHAPES
    scales: Floats = field(default_factory=lambda: np.linspace(0.5, 1, 6))
    angles: Floats = field(default_factory=lambda: np.linspace(0, 2 * np.pi, 40))
    pos_x: Floats = field(default_factory=lambda: np.linspace(0, 1, 32))
    pos_y: Floats = field(default_factory=lambda: np.linspace(0, 1, 32))
    side: int = SIDE
    scattered: bool = False

    @property
    def values(self) -> tuple[Floats, ...]:
        """Scales, angles, and places along x and along y."""
        return self.scales, self.angles, self.pos_x, self.pos_y

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many shapes, scales, angles and places there are."""
        return len(self.shapes), *map(len, self.values)

    def __len__(self) -> int:
        return len(self.shapes) if self.scattered else math.prod(self.sizes)


PUBLISHED = Sprites()


def packed_images(sprites: Sprites, notify: Notify | None = None) -> Iterator[NDArray[np.uint8]]:
    """All images in order, in parts uint8 [images, bytes]: `side` rows, leftmost pixel in the highest bit.

    `notify(what, done, total)` hears of progress.
    """
    total = math.prod(sprites.sizes[:3])
    turns = itertools.product(sprites.shapes, sprites.scales, sprites.angles)
    for number, (shape, scale, angle) in enumerate(turns):
        outline = scale * turned(OUTLINES[shape], angle)
        images = packed(fill_everywhere(outline, sprites.pos_x, sprites.pos_y, sprites.side), sprites.side)
        for which, pixel in KEPT_DARK:
            _darken(images, pixel, which, (shape, scale, angle), sprites)
        yield images.reshape(len(sprites.pos_x) * len(sprites.pos_y), -1)
        if notify is not None and (number + 1) % 40 == 0:
            notify("drawing dSprites", number + 1, total)


def scattered_images(sprites: Sprites, notify: Notify | None = None) -> Iterator[NDArray[np.uint8]]:
    """As `packed_images`, of scattered sprites: an image for each."""
    each = zip(sprites.shapes, *sprites.values, strict=True)
    for number, (shape, scale, angle, x, y) in enumerate(each):
        outline = scale * turned(OUTLINES[shape], angle)
        words = fill_everywhere(outline, np.array([x]), np.array([y]), sprites.side)
        yield packed(words, sprites.side).reshape(1, -1)
        if notify is not None and (number + 1) % 1000 == 0:
            notify("drawing dSprites", number + 1, len(sprites))


def packed(words: NDArray[np.uint64], side: int) -> NDArray[np.uint8]:
    """uint8 [..., side, side / 8] of pixel rows as words [..., side, words]."""
    rows = words.astype(">u8").view(np.uint8)
    # A word holds more than a row of 32 pixels.
    return np.ascontiguousarray(rows[..., : side // 8])


def _darken(
    images: NDArray[np.uint8],
    pixel: int,
    which: tuple[int, ...],
    drawn: tuple[str, float, float],
    sprites: Sprites,
) -> None:
    """Make this pixel dark where `images` [posX, posY, side, bytes] show that very sprite of the published set."""
    known = (SHAPES[which[0]], PUBLISHED.scales[which[1]], PUBLISHED.angles[which[2]])
    if drawn != known or sprites.side != SIDE:
        return
    x = sprites.pos_x == PUBLISHED.pos_x[which[3]]
    y = sprites.pos_y == PUBLISHED.pos_y[which[4]]
    row, column = divmod(pixel, SIDE)
    images[np.ix_(x, y, [row], [column // 8])] &= 0xFF ^ (0x80 >> column % 8)


def outlines() -> tuple[Floats, ...]:
    """The vertices [points, 2] of square, ellipse and heart: full size, not turned, the centre at 0."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]])
    t = 2 * np.pi * np.arange(100) / 100
    ellipse = np.stack([1.33 * np.cos(t), np.sin(t) / 1.33], axis=1)
    t = 2 * np.pi * np.arange(150) / 150
    up = (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 14.5 + 0.15
    heart = np.stack([np.sin(t) ** 3, -up], axis=1)
    return RADIUS * square, RADIUS * ellipse, RADIUS * heart


OUTLINES = dict(zip(SHAPES, outlines(), strict=True))


def turned(outline: Floats, angle: float) -> Floats:
    """The outline turned counter-clockwise, as seen on a screen whose y axis points down."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return outline @ np.array([[cosine, -sine], [sine, cosine]])


def fill_everywhere(
    outline: Floats,
    pos_x: Floats = PUBLISHED.pos_x,
    pos_y: Floats = PUBLISHED.pos_y,
    side: int = SIDE,
) -> NDArray[np.uint64]:
    """uint64 [posX, posY, side, words]: the filled polygon at every place, a pixel row in words, column 0 on top.

    Walking a row from the left, every edge crossed turns the rest of the row from dark to lit or back: the
    row is the exclusive or of one mask per crossing. Which rows an edge crosses depends on posY alone, so
    the crossings are listed once per posY, and where they lie is worked out for all posX together.
    """
    x, y = _fixed(outline[:, 0], pos_x, side), _fixed(outline[:, 1], pos_y, side)
    position, edge, row = crossings(y)
    after = (edge + 1) % len(outline)
    y_here, y_after = y[position, edge], y[position, after]
    x_here, x_after = x[:, edge], x[:, after]
    # The first pixel whose centre lies on the crossing or to the right of it: a ceiling division, in
    # integers.
    rise = y_after - y_here
    along = (x_here - HALF) * rise + (row * STEPS + HALF - y_here) * (x_after - x_here)
    column = -(-along // (STEPS * rise))

    line, first = np.unique(position * side + row, return_index=True)
    count = -(-side // 64)
    words = np.zeros((len(pos_x), len(pos_y) * side, count), np.uint64)
    for word in range(count):
        # A shift by all 64 bits is not defined.
        shift = (column - 64 * word).clip(0, 64)
        masks = np.where(
            shift < 64, np.uint64(2**64 - 1) >> shift.clip(max=63).astype(np.uint64), np.uint64(0)
        )
        words[:, line, word] = np.bitwise_xor.reduceat(masks, first, axis=1)
    return words.reshape(len(pos_x), len(pos_y), side, count)


def _fixed(outline: Floats, places: Floats, side: int) -> NDArray[np.int64]:
    """int64 [places, vertices]: one coordinate of the polygon at each of the places, in the card's steps."""
    steps = (outline + (16 + 32 * places)[:, None]) * (STEPS * side / SIDE)
    return np.rint(np.round(steps, DECIMALS)).astype(np.int64)


def crossings(y: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(position, edge, row) wherever an edge crosses a line of pixel centres, rows in order.

    `y` [positions, vertices] are heights in steps; edge k runs from vertex k to the next one. An edge
    crosses the line at height h if exactly one of its ends lies above or on it (y <= h): the top rule.
    """
    y_after = np.roll(y, -1, axis=1)
    first = -((HALF - np.minimum(y, y_after)) // STEPS)
    count = -((HALF - np.maximum(y, y_after)) // STEPS) - first
    position, edge = (np.repeat(a.reshape(-1), count.reshape(-1)) for a in np.indices(y.shape))
    total = np.cumsum(count.reshape(-1))
    row = np.arange(total[-1]) + np.repeat(first.reshape(-1) - total + count.reshape(-1), count.reshape(-1))
    order = np.argsort(position * LARGEST_SIDE + row, kind="stable")
    return position[order], edge[order], row[order]
