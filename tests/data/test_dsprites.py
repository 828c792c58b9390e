import hashlib

import numpy as np
import pytest
import torch

from disentangle_bench.data.cache import cached_array
from disentangle_bench.data.dsprites import BitStore
from disentangle_bench.data.dsprites import symmetry as dsprites_symmetry
from disentangle_bench.data.render_dsprites import fill_everywhere, outlines, turned
from disentangle_bench.data.subgrid import subgrid

WHOLE_SET = "f0f1b5d0904b2ec96e76afc9282e7c7c650be565d3abe30d5334717e49ee23a8"


def picture(rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows.split()], np.uint8) * 255


def test_the_whole_set_has_the_known_hash(dsprites):
    digest = hashlib.sha256()
    for block in dsprites.store.bits.numpy().reshape(-1, 4096, 512):
        digest.update(np.unpackbits(block).data)
    assert digest.hexdigest() == WHOLE_SET


@pytest.mark.parametrize("name", ["dsprites.npz", "dsprites_check.npz"])
def test_every_genuine_image_is_met_exactly(dsprites, genuine, name):
    arrays = genuine(name)
    drawn = dsprites.images(dsprites.index(arrays["classes"][:, 1:].astype(np.int64)))
    assert np.array_equal(drawn[:, 0].numpy() // 255, arrays["images"])


def test_the_small_official_layout_is_met_exactly(dsprites, genuine):
    arrays = genuine("dsprites_official_layout_12.npz")
    values = [np.arange(1, 4), np.linspace(0.5, 1, 6), np.linspace(0, 2 * np.pi, 40)]
    values += [np.linspace(0, 1, 32)] * 2
    columns = arrays["latents_values"][:, 1:].T
    classes = [np.abs(column[:, None] - v).argmin(1) for column, v in zip(columns, values, strict=True)]
    drawn = dsprites.images(dsprites.index(np.stack(classes, 1)))
    assert np.array_equal(drawn[:, 0].numpy() // 255, arrays["imgs"])


def test_a_square_by_hand(dsprites):
    # Half side 4.8 about (16, 16): the centres from 11.5 to 20.5 lie inside, columns and rows 11 to 20.
    image = dsprites.images(0)[0, 0].numpy()
    expected = np.zeros((64, 64), np.uint8)
    expected[11:21, 11:21] = 255
    assert np.array_equal(image, expected)


def test_pos_x_runs_along_the_columns_and_pos_y_along_the_rows(dsprites):
    image = dsprites.images(dsprites.index([[0, 0, 0, 31, 0]]))[0, 0].numpy()
    assert np.array_equal(np.flatnonzero(image.any(0)), np.arange(43, 53))
    assert np.array_equal(np.flatnonzero(image.any(1)), np.arange(11, 21))


def test_the_first_and_the_last_orientation_are_the_same_picture(dsprites):
    for shape in range(3):
        first, last = dsprites.images(dsprites.index([[shape, 3, 0, 7, 9], [shape, 3, 39, 7, 9]]))
        assert torch.equal(first, last)


def test_a_turn_is_counter_clockwise_on_the_screen():
    corner = turned(np.array([[1.0, 0.0]]), np.pi / 2)
    assert np.allclose(corner, [[0, -1]])


def test_filling_agrees_with_the_definition_pixel_by_pixel():
    """A slow winding test of the heart, in exact integers, at a few positions."""
    heart = 0.7 * turned(outlines()[2], 1.1)
    words = fill_everywhere(heart)
    for pos_x, pos_y in [(0, 0), (13, 29), (31, 5)]:
        centre = 16 + 32 * np.array([pos_x, pos_y]) / 31
        vertices = np.rint((heart + centre) * 256).astype(np.int64)
        bits = np.unpackbits(words[pos_x, pos_y].astype(">u8").view(np.uint8)).reshape(64, 64)
        for row, column in np.ndindex(64, 64):
            assert bits[row, column] == inside(vertices, 256 * column + 128, 256 * row + 128)


def inside(vertices: np.ndarray, x: int, y: int) -> bool:
    lit = False
    for (x1, y1), (x2, y2) in zip(vertices.tolist(), np.roll(vertices, -1, 0).tolist(), strict=True):
        if (y1 <= y) != (y2 <= y):
            left_of_it = (x - x1) * (y2 - y1) - (x2 - x1) * (y - y1)
            lit ^= left_of_it >= 0 if y2 > y1 else left_of_it <= 0
    return lit


def test_bits_unpack_leftmost_first():
    store = BitStore(torch.tensor([[0b10010000] + [0] * 510 + [1]], dtype=torch.uint8))
    image = store.images(torch.tensor([0]))[0, 0]
    assert image.nonzero().tolist() == [[0, 0], [0, 3], [63, 63]]
    assert image.unique().tolist() == [0, 255]


def test_what_is_resident_is_one_bit_a_pixel(dsprites):
    assert dsprites.store.bits.nbytes == 737280 * 512


def test_the_data_set_says_that_it_is_rendered(dsprites):
    assert dsprites.provenance == "rendered"
    assert "rendered" in dsprites.name
    assert len(dsprites) == 737280


def test_equal_images_mean_equal_fingerprints(dsprites, tmp_path):
    """A cache as the official loader would write it, were its images the same, has the same fingerprint."""
    bits = dsprites.store.bits.numpy()
    _, fingerprint = cached_array(tmp_path / "bits.npy", bits.shape, np.uint8, lambda: [bits])
    assert fingerprint == dsprites.fingerprint


def test_what_images_show_of_the_orientation():
    seen = dsprites_symmetry().seen
    # A square looks the same after 39/4 steps, so steps 9 and 10 are .75 before and .25 after that.
    assert seen[0, [0, 1, 9, 10, 39]].tolist() == pytest.approx([0, 4 / 39, 36 / 39, 1 / 39, 0], abs=1e-6)
    assert seen[1, [0, 1, 20, 39]].tolist() == pytest.approx([0, 2 / 39, 1 / 39, 0], abs=1e-6)
    assert seen[2].tolist() == pytest.approx([*(step / 39 for step in range(39)), 0], abs=1e-6)
    assert (seen[:, 0] == seen[:, -1]).all()


def test_a_part_of_the_data_keeps_what_its_images_show(dsprites):
    part = subgrid(dsprites, {"shape": 2, "orientation": 13})
    assert (part.symmetry.seen == dsprites.symmetry.seen[[0, 2]][:, [0, 13, 26, 39]]).all()
