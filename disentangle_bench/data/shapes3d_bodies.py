"""The four bodies of 3D Shapes as the triangle meshes that MuJoCo draws, and the pixels that they cover.

A body is convex and stands on the floor y = 0, its axis is the y axis; y points up. Round bodies have 28 slices
and 16 stacks. Colours are worked out at the vertices and run linearly over each triangle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SLICES, STACKS = 28, 16
# A face of the cube is cut into this many squares along each side, so that light may vary over it.
CUBE_CUTS = 8
# At scale 1: half the cube's side; radius and half height of the cylinder; the ball's radius; radius and half
# the straight part of the capsule.
CUBE_HALF = 0.35
CYLINDER = (0.375, 0.375)
BALL = 0.425
CAPSULE = (0.325, 0.325)


@dataclass(frozen=True)
class Mesh:
    """Points [vertices, 3], their normals [vertices, 3], and the vertices of each triangle [triangles, 3].

    Seen from outside, each triangle's vertices run counter-clockwise.
    """

    points: Floats
    normals: Floats
    triangles: Ints


def bodies() -> tuple[Mesh, ...]:
    """Cube, cylinder, ball and capsule at scale 1, in the order of the factor `shape`."""
    return cube(), cylinder(), turned_profile(ball_profile(BALL, 0.0)), turned_profile(ball_profile(*CAPSULE))


def cube() -> Mesh:
    """The cube without its bottom, which nobody sees."""
    steps = np.linspace(-1, 1, CUBE_CUTS + 1)
    u, v = np.meshgrid(steps, steps, indexing="ij")
    one = np.ones_like(u)
    faces = [(one, v, -u), (-one, v, u), (u, v, one), (-u, v, -one), (u, one, -v)]
    points = np.stack([np.stack(face, axis=-1).reshape(-1, 3) for face in faces])
    normals = np.array([[1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1], [0, 1, 0]], np.float64)
    triangles = [grid_triangles(CUBE_CUTS + 1, CUBE_CUTS + 1) + k * u.size for k in range(len(faces))]
    return Mesh(
        CUBE_HALF * (points.reshape(-1, 3) + np.array([0, 1, 0])),
        np.repeat(normals, u.size, axis=0),
        np.concatenate(triangles),
    )


def cylinder() -> Mesh:
    """The tube and its lid, which do not share normals at the rim."""
    radius, half = CYLINDER
    up = np.arange(STACKS + 1) / STACKS
    tube = turned_profile(np.stack([2 * half * up, np.full(len(up), radius), np.zeros(len(up))], axis=1))
    lid = turned_profile(np.array([[2 * half, radius, np.pi / 2], [2 * half, 0, np.pi / 2]]))
    return Mesh(
        np.concatenate([tube.points, lid.points]),
        np.concatenate([tube.normals, lid.normals]),
        np.concatenate([tube.triangles, lid.triangles + len(tube.points)]),
    )


def ball_profile(radius: float, half: float) -> Floats:
    """The rings of a ball that stands on the floor, cut at its equator and drawn 2 `half` apart."""
    elevation = (np.arange(STACKS + 1) / STACKS - 0.5) * np.pi
    rings = np.stack([radius * (1 + np.sin(elevation)), radius * np.cos(elevation), elevation], axis=1)
    if half == 0:
        return rings
    top = rings[STACKS // 2 :] + np.array([2 * half, 0, 0])
    straight = np.arange(1, STACKS) / STACKS
    tube = np.stack([radius + 2 * half * straight, np.full(STACKS - 1, radius), np.zeros(STACKS - 1)], axis=1)
    return np.concatenate([rings[: STACKS // 2 + 1], tube, top])


def turned_profile(rings: Floats) -> Mesh:
    """The mesh of rings [rings, 3] about the y axis: their heights, radii and the elevation of their normals."""
    height, radius, elevation = rings.T
    around = np.arange(SLICES + 1)[:, None] * 2 * np.pi / SLICES
    still = np.ones_like(around)
    points = np.stack([radius * np.sin(around), height * still, radius * np.cos(around)], axis=-1)
    out = np.cos(elevation)
    normals = np.stack([out * np.sin(around), np.sin(elevation) * still, out * np.cos(around)], axis=-1)
    return Mesh(points.reshape(-1, 3), normals.reshape(-1, 3), grid_triangles(SLICES + 1, len(rings)))


def grid_triangles(columns: int, rows: int) -> Ints:
    """Two triangles for every square of a grid whose vertices are numbered upwards, column by column."""
    corner = (np.arange(columns - 1)[:, None] * rows + np.arange(rows - 1)).reshape(-1)
    right, above, across = corner + rows, corner + 1, corner + rows + 1
    return np.concatenate([np.stack([corner, right, above], 1), np.stack([above, right, across], 1)])


@dataclass(frozen=True)
class Fragments:
    """Which pixels [n] (row * side + column) a mesh covers, and the three vertices [n, 3] that colour each.

    `weights` [n, 3] are the vertices' shares at the pixel's centre, with perspective; they add up to 1.
    """

    pixels: Ints
    vertices: Ints
    weights: Floats


def rasterise(screen: Floats, depth: Floats, triangles: Ints, side: int) -> Fragments:
    """The pixels of a picture of side x side whose centres a convex mesh covers.

    `screen` [vertices, 2] are column and row of each vertex in pixels (rows downwards), `depth` [vertices] the
    distances along the viewing direction. Triangles seen from behind are left out; of a convex body the others
    never hide one another.
    """
    a, b, c = (screen[triangles[:, k]] for k in range(3))
    area = cross(b - a, c - a)
    seen = area < 0
    triangles, a, b, c, area = triangles[seen], a[seen], b[seen], c[seen], area[seen]

    corners = np.stack([a, b, c])
    low = np.ceil(corners.min(axis=0) - 0.5).astype(np.int64)
    size = np.maximum(np.floor(corners.max(axis=0) - 0.5).astype(np.int64) - low + 1, 0)
    count = size.prod(axis=1)
    which = np.repeat(np.arange(len(triangles)), count)
    place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    column = low[which, 0] + place % size[which, 0]
    row = low[which, 1] + place // size[which, 0]

    centre = np.stack([column, row], axis=1) + 0.5
    a, b, c = a[which] - centre, b[which] - centre, c[which] - centre
    shares = np.stack([cross(b, c), cross(c, a), cross(a, b)], axis=1) / area[which, None]
    inside = (shares >= 0).all(axis=1)
    vertices = triangles[which[inside]]
    weights = shares[inside] / depth[vertices]
    weights /= weights.sum(axis=1, keepdims=True)
    return Fragments((row * side + column)[inside], vertices, weights)


def cross(a: Floats, b: Floats) -> Floats:
    """Twice the signed area between vectors [n, 2] and [n, 2]."""
    area: Floats = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return area
