"""The four bodies of 3D Shapes as the triangle meshes that MuJoCo draws.

A body is convex and stands on the floor y = 0, its axis is the y axis; y points up. Round bodies have 28 slices
and 16 stacks, a lid half as many rings as stacks, a face of the cube 4 x 4 squares: MuJoCo's defaults. Colours are
worked out at the vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from disentangle_bench.data.shapes3d_raster import Floats, Ints

SLICES, STACKS = 28, 16
CUBE_CUTS = 4
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
    faces = [(one, v, -u), (-one, v, u), (u, v, one), (-u, v, -one), (-v, one, -u)]
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
    ring = radius * np.arange(STACKS // 2, -1, -1) / (STACKS // 2)
    lid = turned_profile(
        np.stack([np.full(len(ring), 2 * half), ring, np.full(len(ring), np.pi / 2)], axis=1)
    )
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
