import hashlib

import numpy as np
import pytest
import torch

from disentangle_bench.data.render_shapes3d import (
    AZIMUTHS,
    FILTER,
    HUE_LEVELS,
    SHADOW_LIGHT,
    empty_room,
    in_shadow,
    part_set,
)
from disentangle_bench.data.shapes3d_bodies import bodies, rasterise

SKY = [153, 226, 249]


@pytest.mark.parametrize("name", ["shapes3d.npz", "shapes3d_check.npz"])
def test_genuine_images_are_met_closely(shapes3d, genuine, name):
    arrays = genuine(name)
    drawn = shapes3d.images(shapes3d.index(arrays["classes"])).permute(0, 2, 3, 1).numpy()
    apart = np.abs(drawn.astype(int) - arrays["images"])[:, 2:-2, 2:-2]
    assert apart.mean() <= 0.5
    assert (apart <= 8).mean() >= 0.98


def test_the_front_of_a_cube_by_hand(shapes3d):
    # Azimuth 0: the front faces the camera squarely and the spot light stands behind it, so its brightness is
    # .3516 + .5985 = .9501 in every point: 242 at full level, 145 at .6 (hue 1 is red and .6 of green), 0 at none.
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
    assert digest == "1bb6b72cc1bd685310865b62f2c2fa320878d19fbe86c8063f7fbcec0a3efa6b"


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
    weights = FILTER.toarray()
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
    corners = np.array([[1.0, 1.0], [1.0, 5.0], [5.0, 5.0], [5.0, 1.0]])
    found = rasterise(corners, np.ones(4), np.array([[0, 1, 2], [0, 2, 3]]), 8)
    covered = np.zeros(64, int)
    covered[found.pixels] = 1
    assert np.array_equal(np.argwhere(covered.reshape(8, 8)), np.argwhere(np.pad(np.ones((4, 4)), (1, 3))))
    assert np.allclose(found.weights.sum(axis=1), 1)


def test_what_faces_away_is_not_drawn():
    corners = np.array([[1.0, 1.0], [5.0, 5.0], [1.0, 5.0]])
    assert len(rasterise(corners, np.ones(3), np.array([[0, 1, 2]]), 8).pixels) == 0


def test_a_pole_casts_its_shadow_away_from_the_light():
    pole = np.array([[0, 0, 0], [0.01, 0, 0], [0, 0, 0.01], [0, 1.0, 0]])
    away = -SHADOW_LIGHT * [1, 0, 1] / np.linalg.norm(SHADOW_LIGHT[[0, 2]])
    assert in_shadow(np.array([0.1 * away, -0.1 * away]), pole).tolist() == [True, False]


def test_what_is_resident_is_the_maps(shapes3d):
    assert shapes3d.store.maps.nbytes == 480 * 21 * 4096 * 2


def test_the_data_set_says_that_it_is_rendered(shapes3d):
    assert shapes3d.provenance == "rendered"
    assert "rendered" in shapes3d.name
    assert len(shapes3d) == 480000
    assert shapes3d.factor_sizes == (10, 10, 10, 8, 4, 15)
