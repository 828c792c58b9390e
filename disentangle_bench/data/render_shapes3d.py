"""3D Shapes drawn again: a lit room with one body, as MuJoCo draws it, in parts that add up to any picture.

World: y up, floor y = 0, walls at x = +-3.5 and z = -3.5, 2 high, open to the sky. The camera stands on a ring
of radius 2.5 at height .75 and looks level at the axis; `orientation` moves it along the ring. The body stands
at the centre. The light on a point with normal N is

    ambient + headlight max(0, N.b) + spot cone max(0, N.l)

times the colour (and texture) of the surface: b points horizontally at the camera, l at the spot light, which
looks straight down with cone = cos(angle)^7.748 and a slow fall-off. A body also has an even white veil
wherever N.l > 0, and takes the spot light from the floor where its shadow falls. Walls and floor carry a faint
texture that repeats every 2 units.

The picture is drawn at 192 x 192 in whole grey levels, one sample a pixel, and reduced to 64 x 64 with a
Lanczos-3 filter. Every sample shows one surface, so that the reduced picture is a sum of parts before it is
clipped, and the hues use six levels only: 21 small maps for each of the 480 combinations of scale, shape and
orientation make all 480,000 pictures. `docs/rendering.md` tells where the numbers come from and how exact they
are.
"""

from __future__ import annotations

import colorsys
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import ConvexHull

from disentangle_bench.data.factor_dataset import Notify
from disentangle_bench.data.shapes3d_bodies import Floats, Mesh, bodies, rasterise

# Raised whenever a pixel may change.
REVISION = 2

FACTOR_NAMES = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
FACTOR_SIZES = (10, 10, 10, 8, 4, 15)
SIDE, OVERSAMPLING = 64, 3
FINE = SIDE * OVERSAMPLING

SCALES = np.linspace(0.75, 1.25, 8)
AZIMUTHS = np.radians(np.linspace(-30, 30, 15))
# The hues' red, green and blue use multiples of 1/5 only; the table [10, 3] holds the multiples.
LEVELS = np.arange(6) / 5
HUE_LEVELS = np.rint(5 * np.array([colorsys.hsv_to_rgb(k / 10, 1, 1) for k in range(10)])).astype(np.int64)
SKY = np.array([153, 226, 249])

RING, EYE_HEIGHT, HALF_ROOM, WALL_HEIGHT, TEXTURE_PERIOD = 2.5, 0.75, 3.5, 2.0, 2.0
FOCAL = FINE / 2 / np.tan(np.radians(25))
AMBIENT, HEADLIGHT, SPOT, VEIL = 0.3516, 0.5985, 0.9328, 0.1488
CONE, FALL_OFF, FALL_OFF_FROM = 7.748, 0.1074, 6.4
LIGHT = np.array([-1.398, 6.531, -0.438])
# The outline of the shadow wants a slightly farther light than the one that the shading was fitted with.
SHADOW_LIGHT = np.array([-1.438, 7.362, -0.477])

# Maps are whole numbers of 1/128 grey level, so that adding them up gives the same picture on every device. They
# are added modulo 2^16, of which a picture's range, overshoot included, fills less than two thirds; the sky's maps
# hold MIDDLE grey levels less, which makes that range lie within -2^15..2^15.
STEP_BITS = 7
MIDDLE = 128
SKY_ROWS, FLOOR_ROWS, WALL_ROWS, OBJECT_ROWS, SET_ROWS = 0, 3, 9, 15, 21


@dataclass(frozen=True)
class View:
    """The empty room from one place of the camera; maps are [192 * 192], colours are shares of full brightness."""

    eye: Floats
    right: Floats
    forward: Floats
    sky: NDArray[np.bool_]
    points: Floats
    floor: Floats  # without the spot light
    floor_spot: Floats
    walls: Floats


def part_sets(notify: Notify | None = None) -> Iterator[NDArray[np.int16]]:
    """The 480 sets of maps, one for each (scale, shape, orientation), the last one fastest: int16 [1, 21, 4096].

    A set holds three maps of the sky (red, green, blue) and six each of floor, walls and body, one per level of
    a hue. The picture is the sum of one map each: `(sum >> STEP_BITS) + MIDDLE`, cut to 0..255, is the nearest
    grey level. `notify(what, done, total)` hears of progress.
    """
    meshes = bodies()
    views = [empty_room(azimuth) for azimuth in AZIMUTHS]
    total = len(SCALES) * len(meshes) * len(views)
    for number, (scale, mesh, view) in enumerate(itertools.product(SCALES, meshes, views)):
        yield part_set(view, mesh, scale)[None]
        if notify is not None and (number + 1) % len(views) == 0:
            notify("drawing 3D Shapes", number + 1, total)


def part_set(view: View, mesh: Mesh, scale: float) -> NDArray[np.int16]:
    """The 21 maps [21, 4096] of one body in one view."""
    points = scale * mesh.points
    along = (points - view.eye) @ view.forward
    screen = FINE / 2 + FOCAL / along[:, None] * np.stack(
        [(points - view.eye) @ view.right, view.eye[1] - points[:, 1]], axis=1
    )
    covered = rasterise(screen, along, mesh.triangles, FINE)
    base, spot, veil = lighting(points, mesh.normals, view.forward)
    body, white = np.zeros(FINE * FINE), np.zeros(FINE * FINE)
    body[covered.pixels] = ((base + spot)[covered.vertices] * covered.weights).sum(axis=1)
    white[covered.pixels] = (veil[covered.vertices] * covered.weights).sum(axis=1)

    free = np.ones(FINE * FINE, bool)
    free[covered.pixels] = False
    floor = free * (view.floor + view.floor_spot * ~in_shadow(view.points, points))
    parts = [np.outer(LEVELS, floor), np.outer(LEVELS, free * view.walls), np.outer(LEVELS, body) + white]
    sky = np.outer(SKY, free & view.sky)
    fine = np.concatenate([sky, *(np.rint(255 * part.clip(0, 1)) for part in parts)])
    maps = reduce_maps(fine)
    maps[:FLOOR_ROWS] += 0.5 - MIDDLE
    return np.rint(maps * 2**STEP_BITS).astype(np.int32).astype(np.int16)


def empty_room(azimuth: float) -> View:
    """The room as the camera sees it at this angle on its ring, in radians."""
    cosine, sine = np.cos(azimuth), np.sin(azimuth)
    eye = np.array([RING * sine, EYE_HEIGHT, RING * cosine])
    forward, right = np.array([-sine, 0, -cosine]), np.array([cosine, 0, -sine])
    across, up = np.meshgrid(np.arange(FINE) + 0.5 - FINE / 2, FINE / 2 - 0.5 - np.arange(FINE))
    rays = forward + (across.reshape(-1, 1) * right + up.reshape(-1, 1) * np.array([0, 1, 0])) / FOCAL

    distance = np.full(len(rays), np.inf)
    surface = np.zeros(len(rays), np.int64)
    for number, (normal, offset) in enumerate(SURFACES):
        towards = rays @ normal
        with np.errstate(divide="ignore"):
            reach = np.where(towards < 0, (offset - eye @ normal) / towards, np.inf)
        surface[reach < distance] = number
        distance = np.minimum(distance, reach)
    points = eye + distance[:, None] * rays
    sky = (surface != FLOOR) & (points[:, 1] > WALL_HEIGHT)
    base, spot = np.zeros(len(rays)), np.zeros(len(rays))
    for number, (normal, _) in enumerate(SURFACES):
        here = np.flatnonzero((surface == number) & ~sky)
        lit, lit_by_spot, _ = lighting(points[here], np.broadcast_to(normal, (len(here), 3)), forward)
        pattern = texture(points[here], number)
        base[here], spot[here] = lit * pattern, lit_by_spot * pattern
    on_floor = surface == FLOOR
    return View(eye, right, forward, sky, points, base * on_floor, spot * on_floor, (base + spot) * ~on_floor)


# Inward normal and offset (normal . point) of floor, back wall, right wall and left wall.
FLOOR = 0
SURFACES = (
    (np.array([0.0, 1, 0]), 0.0),
    (np.array([0.0, 0, 1]), -HALF_ROOM),
    (np.array([-1.0, 0, 0]), -HALF_ROOM),
    (np.array([1.0, 0, 0]), -HALF_ROOM),
)


def lighting(points: Floats, normals: Floats, forward: Floats) -> tuple[Floats, Floats, Floats]:
    """(all but the spot light, the spot light, the white veil) [n] on surface points [n, 3] with unit normals."""
    towards = LIGHT - points
    distance = np.sqrt((towards**2).sum(axis=1))
    cone = (towards[:, 1] / distance) ** CONE * (FALL_OFF_FROM / distance) ** FALL_OFF
    facing = (towards * normals).sum(axis=1) / distance
    base = AMBIENT + HEADLIGHT * np.maximum(-(normals @ forward), 0)
    return base, SPOT * cone * np.maximum(facing, 0), VEIL * cone * (facing > 0)


def texture(points: Floats, surface: int) -> Floats:
    """The brightness [n] of the texture at points [n, 3] of one surface, between the tile's samples bilinear.

    A wall's tile runs to the right as seen from inside; walls are one tile high.
    """
    tile = TILES[0 if surface == FLOOR else 1]
    size = len(tile)
    sideways = (points[:, 0], points[:, 0], points[:, 2], -points[:, 2])[surface]
    u = sideways / TEXTURE_PERIOD % 1 * size
    if surface == FLOOR:
        v = points[:, 2] / TEXTURE_PERIOD % 1 * size
    else:
        v = (points[:, 1] / WALL_HEIGHT).clip(0, 1) * (size - 1)
    i, j = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    a, b = u - i, v - j
    left, right = i % size, (i + 1) % size
    low, high = (j % size, (j + 1) % size) if surface == FLOOR else (j, np.minimum(j + 1, size - 1))
    bottom = tile[low, left] * (1 - a) + tile[low, right] * a
    top = tile[high, left] * (1 - a) + tile[high, right] * a
    shade: Floats = bottom * (1 - b) + top * b
    return shade


def read_tiles() -> Floats:
    """The measured textures [2, 48, 48] of floor and walls, as factors of the brightness."""
    source = resources.files("disentangle_bench.data").joinpath("shapes3d_tiles.npz")
    with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        tiles: Floats = arrays["tiles"] * float(arrays["step"]) + float(arrays["base"])
    return tiles


TILES = read_tiles()


def in_shadow(places: Floats, body: Floats) -> NDArray[np.bool_]:
    """Which of `places` [n, 3] on the floor a body with these vertices [v, 3] hides from the light.

    The shadow is the convex hull of the vertices' projections.
    """
    fall = SHADOW_LIGHT[1] / (SHADOW_LIGHT[1] - body[:, 1:2])
    cast = SHADOW_LIGHT[[0, 2]] + (body[:, [0, 2]] - SHADOW_LIGHT[[0, 2]]) * fall
    near = np.flatnonzero((np.abs(places[:, [0, 2]]) < np.abs(cast).max()).all(axis=1))
    sides = ConvexHull(cast).equations
    hidden = np.zeros(len(places), bool)
    hidden[near] = (places[near][:, [0, 2]] @ sides[:, :2].T + sides[:, 2] <= 0).all(axis=1)
    return hidden


def reduce_maps(fine: Floats) -> Floats:
    """Maps [n, 4096] from maps [n, 192 * 192] by an antialiasing Lanczos-3 filter along both axes."""
    count = len(fine)
    # Filtered along the rows, then along the columns, each time with the filtered axis first. The filter is sparse:
    # a dense product would be no faster alone, and far slower where its threads compete with other processes.
    rows = FILTER @ fine.reshape(count, FINE, FINE).transpose(1, 0, 2).reshape(FINE, -1)
    both = FILTER @ rows.reshape(SIDE, count, FINE).transpose(2, 1, 0).reshape(FINE, -1)
    reduced: Floats = both.reshape(SIDE, count, SIDE).transpose(1, 2, 0).reshape(count, -1)
    return reduced


def lanczos_rows(lobes: int = 3, bits: int = 14) -> csr_array:
    """The filter as a sparse matrix [64, 192]; rows add up to 1, also at the border.

    Its weights are multiples of 2^-14: filtering whole numbers is then exact in whatever order they are added.
    """
    apart = (np.arange(FINE) + 0.5) / OVERSAMPLING - (np.arange(SIDE) + 0.5)[:, None]
    rows = np.where(np.abs(apart) < lobes, np.sinc(apart) * np.sinc(apart / lobes), 0)
    rows = np.rint(rows / rows.sum(axis=1, keepdims=True) * 2**bits) / 2**bits
    rows[np.arange(SIDE), rows.argmax(axis=1)] += 1 - rows.sum(axis=1)
    return csr_array(rows)


FILTER = lanczos_rows()
