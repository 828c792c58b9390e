import hashlib

import numpy as np
import pytest
import torch

from disentangle_bench.data.render_shapes3d import (
    LIGHT,
    PLANES,
    empty_room,
    grid_lines,
    in_shadow,
    lanczos_rows,
    part_set,
    plane_light,
    shadow_places,
)
from disentangle_bench.data.shapes3d_bodies import bodies
from disentangle_bench.data.shapes3d_raster import cut_quad, rasterise, snap
from disentangle_bench.data.shapes3d_rooms import AZIMUTHS, HUE_LEVELS

SKY = [153, 226, 249]


@pytest.mark.parametrize("name", ["shapes3d.npz", "shapes3d_check.npz"])
def test_genuine_images_are_met_closely(shapes3d, genuine, name):
    arrays = genuine(name)
    drawn = shapes3d.images(shapes3d.index(arrays["classes"])).permute(0, 2, 3, 1).numpy()
    apart = np.abs(drawn.astype(int) - arrays["images"])[:, 2:-2, 2:-2]
    assert apart.mean() <= 0.25
    assert (apart <= 8).all(axis=-1).mean() >= 0.995


def test_the_front_of_a_cube_by_hand(shapes3d):
    # Azimuth 0: the front faces the camera squarely and the spot light stands behind it, so its brightness is
    # .35 + .6 = .95 in every point: 242 at full level, 145 at .6 (hue 1 is red and .6 of green), 0 at none.
    image = shapes3d.images(shapes3d.index([[4, 6, 1, 0, 0, 7]]))[0]
    assert image[:, 46, 32].tolist() == [242, 145, 0]


def test_the_sky_is_one_colour(shapes3d):
    images = shapes3d.images(torch.arange(0, 480000, 4801))
    assert (images[:, :, 0, :] == torch.tensor(SKY)[:, None]).all()


def test_each_hue_colours_its_own_surface(shapes3d):
    floor, wall, body = (5, 60, 32), (5, 25, 5), (0, 46, 32)
    for place, column in ((floor, 0), (wall, 1), (body, 2)):
        for hue in range(10):
            factors = [0, 0, 0, 0, 0, 7]
            factors[column] = hue
            pixel = shapes3d.images(shapes3d.index([factors]))[0, :, place[1], place[2]].numpy()
            assert np.array_equal(pixel > 0, HUE_LEVELS[hue] > 0)
            assert pixel.argmax() == HUE_LEVELS[hue].argmax()


def test_a_few_pictures_are_what_they_were(shapes3d):
    images = shapes3d.images([0, 65537, 131071, 262143, 333333, 479999])
    digest = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    assert digest == "03016daaa131caea2aac57c898f2e24ba8c845222a54e6d338eb77840bbbacf2"


def test_a_picture_is_the_reduced_sum_of_its_parts(shapes3d):
    """The integer maps against the same sum in floating point, hues and clipping included."""
    mesh, view = bodies()[2], empty_room(AZIMUTHS[3])
    maps = part_set(view, mesh, 1.25).astype(np.float64)
    sky, floor, wall, body = maps[:3], maps[3:9], maps[9:15], maps[15:21]
    for hues in [(0, 0, 0), (1, 5, 9), (8, 3, 6)]:
        f, w, o = (HUE_LEVELS[h] for h in hues)
        total = (sky + floor[f] + wall[w] + body[o] + 2**15) % 2**16 - 2**15
        expected = np.clip(np.floor(total / 128) + 128, 0, 255).reshape(3, 64, 64)
        drawn = shapes3d.images(shapes3d.index([[*hues, 7, 2, 3]]))[0].numpy()
        assert np.array_equal(drawn, expected)


def test_the_maps_do_not_change_from_run_to_run(shapes3d):
    scale, shape, orientation = 5, 3, 11
    again = part_set(empty_room(AZIMUTHS[orientation]), bodies()[shape], np.linspace(0.75, 1.25, 8)[scale])
    number = (scale * 4 + shape) * 15 + orientation
    assert np.array_equal(shapes3d.store.maps.view(480, 21, 4096)[number].numpy(), again)


def test_the_filter_keeps_what_is_even():
    weights = lanczos_rows().toarray()
    assert (weights.sum(axis=1) == 1).all()
    assert np.array_equal(weights, weights[::-1, ::-1])


def test_meshes_are_closed_towards_the_viewer_and_wound_outwards():
    for mesh in bodies():
        a, b, c = (mesh.points[mesh.triangles[:, k]] for k in range(3))
        outward = (np.cross(b - a, c - a) * mesh.normals[mesh.triangles].sum(axis=1)).sum(axis=1)
        assert (outward > -1e-12).all()
        assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1)
        assert mesh.points[:, 1].min() >= 0


def test_rasterising_a_square_covers_each_centre_once():
    # Centres lie on the diagonal, and on all edges of the second square: there left and lower edges count.
    for low, columns, rows in ((1.0, (1, 5), (1, 5)), (1.5, (1, 5), (2, 6))):
        high = low + 4
        corners = np.array([[low, low], [low, high], [high, high], [high, low]])
        found = rasterise(corners, np.array([[0, 1, 2], [0, 2, 3]]), 8)
        covered = np.zeros((8, 8), int)
        np.add.at(covered.reshape(-1), found.pixels, 1)
        expected = np.zeros((8, 8), int)
        expected[slice(*rows), slice(*columns)] = 1
        assert np.array_equal(covered, expected)
        assert np.allclose(found.weights.sum(axis=1), 1)


def test_what_faces_away_is_not_drawn():
    corners = np.array([[1.0, 1.0], [5.0, 5.0], [1.0, 5.0]])
    assert len(rasterise(corners, np.array([[0, 2, 1]]), 8).pixels) > 0
    assert len(rasterise(corners, np.array([[0, 1, 2]]), 8).pixels) == 0


def test_corners_are_cut_down_to_sixteenths():
    assert snap(np.array([2.0, 2.06, 2.07, -0.01, 2.1249999])).tolist() == [2, 2, 2.0625, -0.0625, 2.125]


def test_values_run_linearly_on_the_screen():
    # Corner 1 is ten times as far away as the others; with perspective its share at the middle would be smaller.
    corners = np.array([[0.0, 8.0], [8.0, 8.0], [0.0, 0.0]])
    found = rasterise(corners, np.array([[0, 1, 2]]), 8)
    column, row = found.pixels % 8 + 0.5, found.pixels // 8 + 0.5
    assert np.allclose(found.interpolate(np.array([0.0, 8.0, 0.0])), column, atol=1e-5)
    assert np.allclose(found.interpolate(np.array([0.0, 0.0, 8.0])), 8 - row, atol=1e-5)


def test_a_quadrangle_is_clipped_before_it_is_cut_into_triangles():
    # Columns: across, up, depth, value. Whole: both triangles hold corners 1 and 3.
    square = np.array([[-0.5, -0.5, 1, 0], [0.5, -0.5, 1, 1], [0.5, 0.5, 1, 2], [-0.5, 0.5, 1, 3]])
    assert cut_quad(square)[:, :, 3].tolist() == [[0, 1, 3], [1, 2, 3]]
    # Its right half lies outside: what is left is a fan about corner 3, two corners of which are new.
    wide = square.copy()
    wide[:, 0] = [0, 2, 2, 0]
    fan = cut_quad(wide)
    assert fan[:, 2].tolist() == [wide[3].tolist()] * 2
    assert (fan[:, :, 0] <= fan[:, :, 2]).all()
    assert sorted({value for value in fan[:, :, 3].reshape(-1)}) == [0, 0.5, 2.5, 3]
    square[:, 0] += 3
    assert len(cut_quad(square)) == 0


def test_floor_and_walls_cover_each_sample_once():
    view = empty_room(AZIMUTHS[2])
    shown = np.concatenate([plane_light(plane, view.camera)[0] for plane in PLANES])
    assert len(shown) == len(set(shown))
    assert np.array_equal(np.sort(shown), np.flatnonzero(~view.sky))
    assert not (view.floor[5] > 0)[view.walls[5] > 0].any()


def test_a_grid_of_spacing_one_has_narrow_cells_at_its_ends():
    assert grid_lines(3.5).tolist() == [-3.5, -3, -2, -1, 0, 1, 2, 3, 3.5]
    assert grid_lines(1.0).tolist() == [-1, 0, 1]


def test_a_pole_casts_its_shadow_away_from_the_light():
    pole = np.array([[0, 0, 0], [0.05, 0, 0], [0, 0, 0.05], [0, 1.0, 0]])
    away = -LIGHT * [1, 0, 1] / np.linalg.norm(LIGHT[[0, 2]])
    places = np.floor(shadow_places(np.array([0.1 * away, -0.1 * away]))) + 0.5
    assert in_shadow(places, pole).tolist() == [True, False]


def test_the_shadow_map_looks_straight_down():
    # 48 degrees to a side from 7.5 above; the map counts against x and against z.
    reach = 7.5 * np.tan(np.radians(48))
    places = shadow_places(np.array([[-1.5, 0, -0.5], [-1.5 + reach, 0, -0.5], [-1.5, 0, -0.5 - reach]]))
    assert np.allclose(places, [[512, 512], [0, 512], [512, 1024]])


def test_what_is_resident_is_the_maps(shapes3d):
    assert shapes3d.store.maps.nbytes == 480 * 21 * 4096 * 2


def test_the_data_set_says_that_it_is_rendered(shapes3d):
    assert shapes3d.provenance == "rendered"
    assert "rendered" in shapes3d.name
    assert len(shapes3d) == 480000
    assert shapes3d.factor_sizes == (10, 10, 10, 8, 4, 15)
