"""3D Shapes drawn again: a lit room with one body, as MuJoCo draws it, in parts that add up to any picture.

World: y up, floor y = 0, walls at x = +-3.5 and z = -3.5, 2 high, open to the sky. The camera stands on a ring
of radius 2.5 at height .75 and looks level at the axis; `orientation` moves it along the ring. The body stands
at the centre. The light on a vertex with normal N is

    ambient + headlight max(0, N.b) + spot cone max(0, N.l)

times the colour (and, between the vertices, the texture) of the surface: b points horizontally at the camera, l at
the spot light, which looks straight down with cone = cos(angle)^10. A body also has an even white veil wherever
N.l > 0, and takes the spot light from the floor where its shadow falls, as a map of 1024 x 1024 places seen from the
light tells. Walls and floor are grids with vertices 1 apart and carry a faint texture that repeats every 2 units.

The picture is drawn at 192 x 192, one sample a pixel, as Mesa's software renderer does it (`shapes3d_raster`): in
two passes of whole grey levels, the second for the spot light. It is reduced to 64 x 64 with a Lanczos-3 filter.
Every sample shows one surface, so that the reduced picture is a sum of parts before it is clipped, and the hues use
six levels only: 21 small maps for each of the 480 combinations of scale, shape and orientation make all 480,000
pictures. Other numbers of hues have other levels (`shapes3d_rooms`), with a map for each.
`docs/rendering.md` tells where the numbers come from and how exact they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.data.shapes3d_bodies import Mesh, bodies
from disentangle_bench.data.shapes3d_raster import Floats, Fragments, Ints, cut_quad, rasterise, snap
from disentangle_bench.data.shapes3d_rooms import LEVELS, SHAPES, SKY_MAPS, Rooms, levels

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from disentangle_bench.data.factor_dataset import Notify

Greys = NDArray[np.uint8]

# Raised whenever a pixel may change.
REVISION = 3

SIDE, OVERSAMPLING = 64, 3
FINE = SIDE * OVERSAMPLING

SKY = np.array([153, 226, 249])

RING, EYE_HEIGHT, HALF_ROOM, WALL_HEIGHT, TEXTURE_PERIOD = 2.5, 0.75, 3.5, 2.0, 2.0
HALF_VIEW = np.tan(np.radians(25))
AMBIENT, HEADLIGHT, SPOT, VEIL, CONE = 0.35, 0.6, 1.0, 0.15, 10
LIGHT = np.array([-1.5, 7.5, -0.5])
# The shadow map sees 48 degrees to each side (.6 of the spot light's 80). It is drawn without its outermost places
# but read as if it had been drawn with them.
SHADOW_SIDE, SHADOW_HALF_VIEW = 1024, np.tan(np.radians(48))
# Which edges of a shadow count, as in `shapes3d_raster`; the map's columns run along z, its rows upwards along x.
SHADOW_NUDGE = np.array([1e-9, 1e-6])

# Maps are whole numbers of 1/128 grey level, so that adding them up gives the same picture on every device. They
# are added modulo 2^16, of which a picture's range, overshoot included, fills less than two thirds; the sky's maps
# hold MIDDLE grey levels less, which makes that range lie within -2^15..2^15.
STEP_BITS = 7
MIDDLE = 128

RIGHT, UP, FRONT = np.eye(3)


@dataclass(frozen=True)
class Camera:
    """Where the camera stands and its directions, as [3] each; it looks level."""

    eye: Floats
    right: Floats
    forward: Floats

    def look(self, points: Floats) -> Floats:
        """Across, up and depth [n, 3] of points [n, 3]; |across| = depth and |up| = depth border the picture."""
        away = points - self.eye
        return np.stack([away @ self.right / HALF_VIEW, away[:, 1] / HALF_VIEW, away @ self.forward], axis=1)


@dataclass(frozen=True)
class View:
    """The empty room from one place of the camera, in 192 x 192 samples.

    `floor`, `shade` (the floor without the spot light) and `walls` are grey levels [levels, samples], one row per level
    of a hue, 0 where another surface is seen. `places` [samples, 2] are the centres of the shadow map's places that
    samples of the floor look up.
    """

    camera: Camera
    sky: NDArray[np.bool_]
    floor: Greys
    shade: Greys
    walls: Greys
    places: Floats


def part_sets(rooms: Rooms, notify: Notify | None = None) -> Iterator[NDArray[np.int16]]:
    """The sets of maps, one for each (scale, shape, orientation), the last one fastest: int16 [1, maps, 4096].

    A set holds three maps of the sky (red, green, blue) and those of floor, walls and body, one per level of
    a hue. The picture is the sum of one map each: `(sum >> STEP_BITS) + MIDDLE`, cut to 0..255, is the nearest
    grey level. `notify(what, done, total)` hears of progress.
    """
    known = dict(zip(SHAPES, bodies(), strict=True))
    meshes = [known[shape] for shape in rooms.shapes]
    of_floor, of_walls, of_body = map(levels, rooms.hues)
    views = [empty_room(azimuth, of_floor, of_walls) for azimuth in rooms.azimuths]
    for number, (scale, mesh, view) in enumerate(itertools.product(rooms.scales, meshes, views)):
        yield part_set(view, mesh, scale, of_body)[None]
        if notify is not None and (number + 1) % len(views) == 0:
            notify("drawing 3D Shapes", number + 1, rooms.sets)


def part_set(view: View, mesh: Mesh, scale: float, of_body: Floats = LEVELS) -> NDArray[np.int16]:
    """The maps [maps, 4096] of one body, in these levels, in one view."""
    points = scale * mesh.points
    covered = rasterise(on_screen(view.camera.look(points)), mesh.triangles, FINE)
    body = np.zeros((len(of_body), FINE * FINE))
    body[:, covered.pixels] = body_levels(points, mesh.normals, view.camera, covered, of_body)

    free = np.ones(FINE * FINE, bool)
    free[covered.pixels] = False
    floor = np.where(in_shadow(view.places, points), view.shade, view.floor)
    sky = np.outer(SKY, free & view.sky)
    maps = reduce_maps(np.concatenate([sky, free * floor, free * view.walls, body]))
    maps[:SKY_MAPS] += 0.5 - MIDDLE
    return np.rint(maps * 2**STEP_BITS).astype(np.int32).astype(np.int16)


def body_levels(
    points: Floats, normals: Floats, camera: Camera, covered: Fragments, of_body: Floats
) -> Floats:
    """Grey levels [levels, n] of the covered pixels: both passes are rounded and the sum is cut to 255."""
    base, spot, veil = lighting(points, normals, camera.forward)
    # Light on a vertex is cut to 1 in either pass; the first one never gets there.
    second = np.minimum(np.outer(spot, of_body) + veil[:, None], 1)
    shade = np.outer(covered.interpolate(base), of_body)
    both: Floats = np.minimum(np.rint(255 * shade) + np.rint(255 * covered.interpolate(second)), 255).T
    return both


def empty_room(azimuth: float, of_floor: Floats = LEVELS, of_walls: Floats = LEVELS) -> View:
    """The room in these levels as the camera sees it at this angle on its ring, in radians."""
    cosine, sine = np.cos(azimuth), np.sin(azimuth)
    eye = np.array([RING * sine, EYE_HEIGHT, RING * cosine])
    camera = Camera(eye, right=np.array([cosine, 0, -sine]), forward=np.array([-sine, 0, -cosine]))
    across = (np.arange(FINE) + 0.5) / (FINE / 2) - 1
    sideways, upwards = np.meshgrid(HALF_VIEW * across, -HALF_VIEW * across)
    rays = camera.forward + np.outer(sideways, camera.right) + np.outer(upwards, UP)

    points = np.zeros((FINE * FINE, 3))
    surface = np.full(FINE * FINE, NOTHING)
    first, second = np.zeros((2, FINE * FINE))
    for number, plane in enumerate(PLANES):
        pixels, base, spot = plane_light(plane, camera)
        reach = (plane.middle - eye) @ plane.normal / (rays[pixels] @ plane.normal)
        points[pixels] = eye + reach[:, None] * rays[pixels]
        pattern = texture(points[pixels], number)
        surface[pixels], first[pixels], second[pixels] = number, base * pattern, spot * pattern
    on_floor, on_wall = surface == FLOOR, (surface != FLOOR) & (surface != NOTHING)
    floor, shade = _two_passes(of_floor, first * on_floor, second * on_floor)
    return View(
        camera,
        surface == NOTHING,
        floor,
        shade,
        _two_passes(of_walls, first * on_wall, second * on_wall)[0],
        np.floor(shadow_places(points)) + 0.5 + SHADOW_NUDGE,
    )


def _two_passes(of_surface: Floats, first: Floats, second: Floats) -> tuple[Greys, Greys]:
    """Grey levels [levels, samples] with the spot light, whose light is `second`, and without it."""
    shade = np.rint(255 * np.outer(of_surface, first))
    full = np.minimum(shade + np.rint(255 * np.outer(of_surface, second)), 255)
    return full.astype(np.uint8), shade.astype(np.uint8)


@dataclass(frozen=True)
class Plane:
    """A side of the room, drawn as a grid of quadrangles about its middle.

    The grid's axes are `a` and `b`, a x b is the inward normal; `half` holds the half sizes along both.
    """

    middle: Floats
    a: Floats
    b: Floats
    half: tuple[float, float]

    @property
    def normal(self) -> Floats:
        """Towards the room's inside, of length 1."""
        return np.cross(self.a, self.b)

    def grid(self) -> tuple[Floats, Ints]:
        """The grid's points [n, 3] and its quadrangles [m, 4], whose corners run counter-clockwise from inside."""
        s, t = (grid_lines(half) for half in self.half)
        points = self.middle + s[:, None, None] * self.a + t[:, None] * self.b
        corner = (np.arange(len(s) - 1)[:, None] * len(t) + np.arange(len(t) - 1)).reshape(-1)
        quads = np.stack([corner, corner + len(t), corner + len(t) + 1, corner + 1], axis=1)
        return points.reshape(-1, 3), quads


def grid_lines(half: float) -> Floats:
    """Where MuJoCo puts the lines of a plane's grid of spacing 1 that reaches from -half to half."""
    whole = np.floor(half)
    return np.unique(np.concatenate([[-half], np.arange(-whole, whole + 1), [half]]))


FLOOR, NOTHING = 0, 4
WALL_MIDDLE, WALL_HALF = WALL_HEIGHT / 2 * UP, (HALF_ROOM, WALL_HEIGHT / 2)
# Floor, back wall, right wall and left wall.
PLANES = (
    Plane(0 * UP, -FRONT, -RIGHT, (HALF_ROOM, HALF_ROOM)),
    Plane(WALL_MIDDLE - HALF_ROOM * FRONT, -RIGHT, -UP, WALL_HALF),
    Plane(WALL_MIDDLE + HALF_ROOM * RIGHT, -FRONT, -UP, WALL_HALF),
    Plane(WALL_MIDDLE - HALF_ROOM * RIGHT, FRONT, -UP, WALL_HALF),
)


def plane_light(plane: Plane, camera: Camera) -> tuple[Ints, Floats, Floats]:
    """The pixels [n] that show this plane, and there all light but the spot light [n] and the spot light [n]."""
    points, quads = plane.grid()
    base, spot, _ = lighting(points, np.broadcast_to(plane.normal, points.shape), camera.forward)
    corners = np.column_stack([camera.look(points), base, spot])
    seen = np.concatenate([cut_quad(corners[quad]) for quad in quads]).reshape(-1, corners.shape[1])
    covered = rasterise(on_screen(seen), np.arange(len(seen)).reshape(-1, 3), FINE)
    light = covered.interpolate(seen[:, 3:])
    return covered.pixels, light[:, 0], light[:, 1]


def on_screen(seen: Floats) -> Floats:
    """Column and row [n, 2] in samples of points given as across, up and depth [n, 3 or more]."""
    place: Floats = (1 + seen[:, :2] / seen[:, 2:3] * np.array([1, -1])) * (FINE / 2)
    return place


def lighting(points: Floats, normals: Floats, forward: Floats) -> tuple[Floats, Floats, Floats]:
    """(all but the spot light, the spot light, the white veil) [n] on surface points [n, 3] with unit normals."""
    towards = LIGHT - points
    distance = np.sqrt((towards**2).sum(axis=1))
    cone = (towards[:, 1] / distance) ** CONE
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


def shadow_places(points: Floats) -> Floats:
    """Where points [n, 3] lie in the shadow map [n, 2], from 0 to 1024 against x and against z."""
    towards = points - LIGHT
    place: Floats = (1 + towards[:, [0, 2]] / (towards[:, 1:2] * SHADOW_HALF_VIEW)) * (SHADOW_SIDE / 2)
    return place


def in_shadow(places: Floats, body: Floats) -> NDArray[np.bool_]:
    """Which places [n, 2] of the shadow map a body with these vertices [v, 3] covers: the hull of the vertices."""
    from scipy.spatial import ConvexHull

    middle = SHADOW_SIDE / 2
    drawn = snap(middle + (shadow_places(body) - middle) * (SHADOW_SIDE - 2) / SHADOW_SIDE)
    near = np.flatnonzero(((places >= drawn.min(axis=0)) & (places <= drawn.max(axis=0))).all(axis=1))
    sides = ConvexHull(drawn).equations
    hidden = np.zeros(len(places), bool)
    hidden[near] = (places[near] @ sides[:, :2].T + sides[:, 2] <= 0).all(axis=1)
    return hidden


def reduce_maps(fine: Floats) -> Floats:
    """Maps [n, 4096] from maps [n, 192 * 192] by an antialiasing Lanczos-3 filter along both axes."""
    count = len(fine)
    # Filtered along the rows, then along the columns, each time with the filtered axis first. The filter is sparse:
    # a dense product would be no faster alone, and far slower where its threads compete with other processes.
    narrowed = lanczos_rows()
    rows = narrowed @ fine.reshape(count, FINE, FINE).transpose(1, 0, 2).reshape(FINE, -1)
    both = narrowed @ rows.reshape(SIDE, count, FINE).transpose(2, 1, 0).reshape(FINE, -1)
    reduced: Floats = both.reshape(SIDE, count, SIDE).transpose(1, 2, 0).reshape(count, -1)
    return reduced


@cache
def lanczos_rows(lobes: int = 3, bits: int = 14) -> csr_array:
    """The filter as a sparse matrix [64, 192]; rows add up to 1, also at the border.

    Its weights are multiples of 2^-14: filtering whole numbers is then exact in whatever order they are added.
    """
    # Maps that were drawn before are read without scipy.
    from scipy.sparse import csr_array

    apart = (np.arange(FINE) + 0.5) / OVERSAMPLING - (np.arange(SIDE) + 0.5)[:, None]
    rows = np.where(np.abs(apart) < lobes, np.sinc(apart) * np.sinc(apart / lobes), 0)
    rows = np.rint(rows / rows.sum(axis=1, keepdims=True) * 2**bits) / 2**bits
    rows[np.arange(SIDE), rows.argmax(axis=1)] += 1 - rows.sum(axis=1)
    return csr_array(rows)
