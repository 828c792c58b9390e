"""Triangles as Mesa's software renderer draws them: clipping, fixed-point corners, fill rule, flat interpolation.

The genuine 3D Shapes show this renderer's habits. Corners are cut down to 1/16 of a pixel. A quadrangle that
reaches out of the picture is clipped as a whole, and only then cut into triangles. Colours run linearly over the
screen, without perspective, so that light on large quadrangles changes with the point of view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# In the order in which they are clipped against: right, left, top, bottom.
SCREEN_SIDES = np.array([[-1.0, 0], [1, 0], [0, -1], [0, 1]])
# Where a centre lies exactly on an edge, left and lower edges count: the centre is taken to lie a little to the
# right of where it is, and much less above. Corners are multiples of 1/16, so no other centre is affected.
NUDGE = np.array([1e-6, -1e-9])


@dataclass(frozen=True)
class Fragments:
    """Which pixels [n] (row * side + column) are covered, and the three vertices [n, 3] that colour each.

    `weights` [n, 3] are the vertices' shares at the pixel's centre, linear on the screen; they add up to 1.
    """

    pixels: Ints
    vertices: Ints
    weights: Floats

    def interpolate(self, values: Floats) -> Floats:
        """Values [n, ...] at the pixels from values [vertices, ...]."""
        weights = self.weights.reshape(*self.weights.shape, *[1] * (values.ndim - 1))
        shares: Floats = (values[self.vertices] * weights).sum(axis=1)
        return shares


def snap(places: Floats) -> Floats:
    """Places cut down to 1/16, by way of the renderer's fixed point of 1/2048."""
    cut: Floats = np.floor(np.rint(places * 2048) / 128) / 16
    return cut


def cut_quad(corners: Floats) -> Floats:
    """The triangles [n, 3, k] of a quadrangle [4, k] as far as it is in the picture.

    The columns are across, up, depth and any values at the corners; |across| = depth and |up| = depth are the
    picture's borders. Values run linearly along the edges.
    """
    polygon = corners[[3, 0, 1, 2]]
    for side in SCREEN_SIDES:
        reach = polygon[:, :2] @ side + polygon[:, 2]
        if (reach >= 0).all():
            continue
        kept = []
        for here in range(len(polygon)):
            there = (here + 1) % len(polygon)
            if reach[here] >= 0:
                kept.append(polygon[here])
            if (reach[here] >= 0) != (reach[there] >= 0):
                part = reach[here] / (reach[here] - reach[there])
                kept.append(polygon[here] + part * (polygon[there] - polygon[here]))
        if len(kept) < 3:
            return np.empty((0, 3, corners.shape[1]))
        polygon = np.stack(kept)
    if len(polygon) == 4 and (polygon == corners[[3, 0, 1, 2]]).all():
        return corners[[[0, 1, 3], [1, 2, 3]]]
    return np.stack([polygon[[k - 1, k, 0]] for k in range(2, len(polygon))])


def rasterise(screen: Floats, triangles: Ints, side: int) -> Fragments:
    """The pixels of a picture of side x side whose centres triangles cover that do not hide one another.

    `screen` [vertices, 2] are column and row of each vertex in pixels, rows downwards. Triangles whose vertices
    run clockwise on the screen are seen from behind and left out.
    """
    snapped = np.stack([snap(screen[:, 0]), side - snap(side - screen[:, 1])], axis=1)
    a, b, c = (snapped[triangles[:, k]] for k in range(3))
    area = cross(b - a, c - a)
    seen = area < 0
    triangles, a, b, c, area = triangles[seen], a[seen], b[seen], c[seen], area[seen]

    corners = np.stack([a, b, c])
    low = np.maximum(np.ceil(corners.min(axis=0) - 0.5).astype(np.int64), 0)
    high = np.minimum(np.floor(corners.max(axis=0) - 0.5).astype(np.int64), side - 1)
    size = np.maximum(high - low + 1, 0)
    count = size.prod(axis=1)
    which = np.repeat(np.arange(len(triangles)), count)
    place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    column = low[which, 0] + place % size[which, 0]
    row = low[which, 1] + place // size[which, 0]

    centre = np.stack([column, row], axis=1) + 0.5 + NUDGE
    a, b, c = a[which] - centre, b[which] - centre, c[which] - centre
    shares = np.stack([cross(b, c), cross(c, a), cross(a, b)], axis=1) / area[which, None]
    inside = (shares >= 0).all(axis=1)
    return Fragments((row * side + column)[inside], triangles[which[inside]], shares[inside])


def cross(a: Floats, b: Floats) -> Floats:
    """Twice the signed area between vectors [n, 2] and [n, 2]."""
    area: Floats = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return area
