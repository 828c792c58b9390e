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

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import Notify


# Raised whenever a pixel may change.
REVISION = 1

FACTOR_NAMES = ("shape", "scale", "orientation", "posX", "posY")
FACTOR_SIZES = (3, 6, 40, 32, 32)
SIDE = 64
ROW_BYTES = SIDE // 8

SCALES = np.linspace(0.5, 1, 6)
ANGLES = np.linspace(0, 2 * np.pi, 40)
CENTRES = 16 + 32 * np.linspace(0, 1, 32)
RADIUS = 9.6
# Steps to a pixel in the card's fixed-point coordinates, and from a pixel's corner to its centre.
STEPS = 256
HALF = STEPS // 2
# (image, pixel) where the heart's tip falls exactly on a pixel centre. The rule lights these two, which no
# genuine image shows; the sha256 that the whole set is known by has them dark, and so has this renderer.
KEPT_DARK = ((711706, 35 * 64 + 22), (712698, 35 * 64 + 54))


def packed_images(notify: Notify | None = None) -> NDArray[np.uint8]:
    """uint8 [737280, 512]: all images in file order, 64 rows of 8 bytes, leftmost pixel in the highest bit.

    `notify(what, done, total)` hears of progress.
    """
    shapes, scales, angles, columns, rows = FACTOR_SIZES
    blocks = np.empty((shapes * scales * angles, columns * rows * SIDE * ROW_BYTES), np.uint8)
    number = 0
    for outline in outlines():
        for scale in SCALES:
            for angle in ANGLES:
                words = fill_everywhere(scale * turned(outline, angle))
                blocks[number] = words.astype(">u8").view(np.uint8).reshape(-1)
                number += 1
                if notify is not None and number % 40 == 0:
                    notify("drawing dSprites", number, len(blocks))
    images = blocks.reshape(-1, SIDE * ROW_BYTES)
    for image, pixel in KEPT_DARK:
        images[image, pixel // 8] &= 0xFF ^ (0x80 >> pixel % 8)
    return images


def outlines() -> tuple[NDArray[np.float64], ...]:
    """The vertices [points, 2] of square, ellipse and heart: full size, not turned, the centre at 0."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]])
    t = 2 * np.pi * np.arange(100) / 100
    ellipse = np.stack([1.33 * np.cos(t), np.sin(t) / 1.33], axis=1)
    t = 2 * np.pi * np.arange(150) / 150
    up = (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 14.5 + 0.15
    heart = np.stack([np.sin(t) ** 3, -up], axis=1)
    return RADIUS * square, RADIUS * ellipse, RADIUS * heart


def turned(outline: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """The outline turned counter-clockwise, as seen on a screen whose y axis points down."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return outline @ np.array([[cosine, -sine], [sine, cosine]])


def fill_everywhere(outline: NDArray[np.float64]) -> NDArray[np.uint64]:
    """uint64 [32, 32, 64]: the filled polygon at every posX and posY, a word per pixel row, column 0 on top.

    Walking a row from the left, every edge crossed turns the rest of the row from dark to lit or back: the
    row is the exclusive or of one mask per crossing. Which rows an edge crosses depends on posY alone, so
    the crossings are listed once per posY, and where they lie is worked out for all posX together.
    """
    x = np.rint((outline[:, 0] + CENTRES[:, None]) * STEPS).astype(np.int64)
    y = np.rint((outline[:, 1] + CENTRES[:, None]) * STEPS).astype(np.int64)
    position, edge, row = crossings(y)
    after = (edge + 1) % len(outline)
    y_here, y_after = y[position, edge], y[position, after]
    x_here, x_after = x[:, edge], x[:, after]
    # The first pixel whose centre lies on the crossing or to the right of it: a ceiling division, in
    # integers.
    rise = y_after - y_here
    along = (x_here - HALF) * rise + (row * STEPS + HALF - y_here) * (x_after - x_here)
    column = -(-along // (STEPS * rise))
    masks = np.uint64(2**64 - 1) >> column.astype(np.uint64)

    words = np.zeros((len(CENTRES), len(CENTRES) * SIDE), np.uint64)
    line, first = np.unique(position * SIDE + row, return_index=True)
    words[:, line] = np.bitwise_xor.reduceat(masks, first, axis=1)
    return words.reshape(len(CENTRES), len(CENTRES), SIDE)


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
    order = np.argsort(position * SIDE + row, kind="stable")
    return position[order], edge[order], row[order]
