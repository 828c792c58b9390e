"""Sets drawn with parameters: the published pictures where their numbers are asked for, and as asked elsewhere."""

import hashlib
import json

import numpy as np
import pytest
import torch

import disentangle_bench
from disentangle_bench import BenchError, load_dataset
from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.drawn import MOST_BYTES, DSpritesDrawn, Shapes3DDrawn
from disentangle_bench.data.load import find_source
from disentangle_bench.data.render_dsprites import PUBLISHED, Sprites, packed_images
from disentangle_bench.data.render_shapes3d import part_sets
from disentangle_bench.data.shapes3d_rooms import AZIMUTHS, Rooms, hue_levels, hue_steps
from disentangle_bench.data.source import DataSource
from disentangle_bench.grid_file import check_grid
from disentangle_bench.specs import DatasetSpec
from disentangle_bench.train.estimate import whole

SMALL = {"shapes": ["heart", "square"], "scales": 2, "orientations": 8, "positions": [3, 2], "turn": "open"}
FEW_ROOMS = {
    "floor_hues": 3,
    "wall_hues": 1,
    "object_hues": 4,
    "scales": 1,
    "shapes": ["cube"],
    "orientations": 2,
}


def test_without_parameters_the_sprites_are_the_published_ones(dsprites, tmp_path):
    source = DSpritesDrawn()
    assert source.factor_sizes == (3, 6, 40, 32, 32)
    digest, known = hashlib.sha256(), hashlib.sha256(dsprites.store.bits.numpy())
    for part in packed_images(source.sprites):
        digest.update(part)
    assert digest.digest() == known.digest()
    # They are not kept twice.
    source.open(tmp_path, None)
    assert [path.name for path in tmp_path.glob("*.npy")] == ["dsprites_rendered.r1.npy"]


def test_without_parameters_the_rooms_are_the_published_ones(shapes3d):
    rooms = Shapes3DDrawn().rooms
    assert rooms.rows == (3, 9, 15, 21)
    assert rooms.sets == 480
    # Drawing all takes a while: the maps of the first two views of every tenth body, of the same numbers.
    assert np.array_equal(rooms.azimuths, AZIMUTHS)
    few = Rooms(rooms.hues, rooms.scales[::4], rooms.shapes[1:3], rooms.azimuths[[0, 9]])
    known = shapes3d.store.maps.view(8, 4, 15, 21, 4096)[::4, 1:3][:, :, [0, 9]].reshape(-1, 21, 4096)
    for number, part in enumerate(part_sets(few)):
        assert np.array_equal(part[0], known[number].numpy())
    assert number == 7


def test_a_part_of_the_published_values_is_a_part_of_its_pictures(dsprites, tmp_path):
    drawn = load_dataset(
        "dsprites_drawn", parameters={"shapes": ["heart"], "positions": 2}, data_dir=tmp_path
    )
    assert drawn.factor_sizes == (1, 6, 40, 2, 2)
    factors = drawn.factors(torch.arange(len(drawn)))
    factors[:, 0], factors[:, 3:] = 2, factors[:, 3:] * 31
    assert torch.equal(drawn.images(torch.arange(len(drawn))), dsprites.images(dsprites.index(factors)))


def test_two_pixels_are_dark_wherever_their_sprite_is_drawn(dsprites, tmp_path):
    scales, angles, columns, rows = PUBLISHED.values
    (found,) = packed_images(Sprites(("heart",), scales[5:], angles[15:16], columns[31:], rows[26:27]))
    assert np.array_equal(found[0], dsprites.store.bits[712698].numpy())


def test_a_small_set_is_as_every_one_must_be(tmp_path):
    drawn = load_dataset("dsprites_drawn", parameters=SMALL, data_dir=tmp_path)
    check_dataset(drawn)
    assert (drawn.factor_sizes, len(drawn)) == ((2, 2, 8, 3, 2), 192)
    assert drawn.name == "dsprites_drawn[orientations=8,positions=3+2,scales=2,shapes=heart+square,turn=open]"
    assert drawn.provenance == "rendered"
    # A square looks the same after a quarter of a turn, which is two of eight orientations.
    images = drawn.images(drawn.index([[1, 1, k, 1, 0] for k in range(8)]))
    assert torch.equal(images[:2].repeat(4, 1, 1, 1), images)
    assert not torch.equal(images[0], images[1])


@pytest.mark.parametrize("side", [32, 64, 128, 256])
def test_a_square_by_hand_at_every_size(tmp_path, side):
    asked = {"shapes": ["square"], "scales": 1, "orientations": 1, "positions": 1, "side": side}
    drawn = load_dataset("dsprites_drawn", parameters=asked, data_dir=tmp_path)
    # Half side 9.6 of 64 about (32, 32), in pixels of 64 / side: centres within lie from the first above the edge.
    unit = side / 64
    lit = np.abs(np.arange(side) + 0.5 - 32 * unit) < 9.6 * unit
    assert np.array_equal(drawn.images([0])[0, 0].numpy(), np.outer(lit, lit) * 255)
    assert drawn.image_shape == (1, side, side)


def test_grey_levels(tmp_path):
    asked = SMALL | {"background": 200, "foreground": 60}
    drawn, plain = (load_dataset("dsprites_drawn", parameters=p, data_dir=tmp_path) for p in (asked, SMALL))
    images = drawn.images(torch.arange(192))
    assert torch.equal(images == 60, plain.images(torch.arange(192)) == 255)
    assert images.unique().tolist() == [60, 200]
    assert drawn.fingerprint != plain.fingerprint


def test_scattered_sprites_have_real_numbers(tmp_path):
    asked = {"images": 400, "seed": 3, "shapes": ["ellipse", "heart"]}
    drawn = load_dataset("dsprites_drawn", parameters=asked, data_dir=tmp_path)
    check_dataset(drawn)
    assert drawn.factor_sizes == (2, 10, 10, 10, 10)
    assert list(drawn.measured) == ["scale", "orientation", "posX", "posY"]
    for name, low, high in (("scale", 0.5, 1), ("orientation", 0, 2 * np.pi), ("posX", 0, 1), ("posY", 0, 1)):
        values = drawn.measured[name]
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    # The middle of what is lit lies where the ellipse's centre is, 16 + 32 p.
    values, images = drawn.values(range(400)), drawn.images(range(400))[:, 0] > 0
    ellipses = values[:, 0] == 0
    columns = (images.sum(1) * (torch.arange(64) + 0.5)).sum(1) / images.sum((1, 2))
    assert (columns - (16 + 32 * values[:, 3]))[ellipses].abs().max() < 0.3
    # What is lit grows with the square of the scale.
    area = images.sum((1, 2)) / values[:, 1] ** 2
    assert area[ellipses].std() / area[ellipses].mean() < 0.03
    again = load_dataset("dsprites_drawn", parameters=asked | {"seed": 4}, data_dir=tmp_path)
    assert again.fingerprint != drawn.fingerprint


def test_rooms_of_other_hues(tmp_path):
    drawn = load_dataset("shapes3d_drawn", parameters=FEW_ROOMS, data_dir=tmp_path)
    check_dataset(drawn)
    assert drawn.factor_sizes == (3, 1, 4, 1, 1, 2)
    # Azimuth -30 sees the floor before the body: red, green and blue.
    images = drawn.images(drawn.index([[hue, 0, 0, 0, 0, 0] for hue in range(3)]))
    assert [image[:, 60, 5].argmax().item() for image in images] == [0, 1, 2]
    assert all((image[:, 60, 5] > 0).sum() == 1 for image in images)


def test_levels_of_hues_by_hand():
    assert hue_steps(10) == 5
    assert hue_levels(6).tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]
    # A quarter of the way round is half way from yellow to green.
    assert hue_steps(4) == 2
    assert hue_levels(4).tolist() == [[2, 0, 0], [1, 2, 0], [0, 2, 2], [1, 0, 2]]


def test_an_even_part_of_the_published_hues_has_the_published_colours(shapes3d, tmp_path):
    asked = {"floor_hues": 5, "wall_hues": 2, "object_hues": 1, "scales": 1, "orientations": 1}
    drawn = load_dataset("shapes3d_drawn", parameters=asked, data_dir=tmp_path)
    whole = load_dataset("shapes3d_rendered", data_dir=None)
    assert drawn.factor_sizes == (5, 2, 1, 1, 4, 1)
    # Scale 1 is none of the published ones; the rest of the room does not hang on it.
    ours = drawn.images(drawn.index([[k, 1, 0, 0, 0, 0] for k in range(5)]))
    theirs = whole.images(whole.index([[2 * k, 5, 0, 3, 0, 7] for k in range(5)]))
    assert torch.equal(ours[:, :, :20], theirs[:, :, :20])
    assert torch.equal(ours[:, :, 55:, :10], theirs[:, :, 55:, :10])


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        (
            "dsprites_drawn",
            {"scals": 3},
            "unknown parameter of dsprites_drawn 'scals'. Did you mean 'scales'",
        ),
        ("dsprites_drawn", {"scales": 0}, r"parameters.scales = 0: needed is a whole number of 1 to 1000"),
        ("dsprites_drawn", {"scales": 2.5}, r"parameters.scales = 2.5: needed is a whole number"),
        ("dsprites_drawn", {"scales": True}, r"parameters.scales = True: needed is a whole number"),
        (
            "dsprites_drawn",
            {"shapes": ["hart"]},
            r"parameters.shapes = \['hart'\]: needed .* square, ellipse, heart",
        ),
        ("dsprites_drawn", {"shapes": ["heart", "heart"]}, "a list of different ones"),
        ("dsprites_drawn", {"shapes": "heart"}, r"parameters.shapes = 'heart': needed is a list"),
        ("dsprites_drawn", {"shapes": []}, r"parameters.shapes = \[\]"),
        ("dsprites_drawn", {"side": 48}, r"parameters.side = 48: needed is one of 32, 64, 128, 256"),
        ("dsprites_drawn", {"turn": "half"}, "needed is one of 'closed', 'open'"),
        (
            "dsprites_drawn",
            {"shapes": ["square", "ellipse"], "orientations": 3},
            "orientations = 3: needed is more, for square, ellipse would look the same at each",
        ),
        ("dsprites_drawn", {"positions": [3, 4, 5]}, r"positions = \[3, 4, 5\]: needed .* or a list of two"),
        ("dsprites_drawn", {"background": 256}, "a whole number of 0 to 255"),
        ("dsprites_drawn", {"background": 9, "foreground": 9}, "are both 9: a sprite would not show"),
        ("dsprites_drawn", {"images": 100, "scales": 3}, r"parameters.scales = 3: .*; leave it out"),
        ("dsprites_drawn", {"seed": 3}, r"parameters.seed = 3: nothing is drawn at random without images"),
        ("dsprites_drawn", {"side": 256, "positions": 256}, f"at most {MOST_BYTES:,} are drawn"),
        (
            "shapes3d_drawn",
            {"floor_hues": 101},
            r"parameters.floor_hues = 101: needed is a whole number of 1 to 100",
        ),
        ("shapes3d_drawn", {"shapes": ["ball"]}, "cube, cylinder, sphere, capsule"),
        ("shapes3d_drawn", {"object_hues": 97, "orientations": 500}, f"at most {MOST_BYTES:,} are drawn"),
        ("dsprites_rendered", {"scales": 3}, "dsprites_rendered takes no parameters; leave out scales"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_refused(name, parameters, message):
    with pytest.raises(BenchError, match=message):
        find_source(name, parameters)
    grid = {"name": "g", "datasets": [{"name": name, "parameters": parameters}], "models": [{"name": "vae"}]}
    with pytest.raises(BenchError, match=message) as caught:
        check_grid(grid, source="grid.toml")
    assert str(caught.value).startswith("grid.toml: ")


def test_parameters_hold_numbers_words_and_lists_of_them():
    grid = {"name": "g", "datasets": [{"name": "dsprites_drawn", "parameters": {"scales": {"a": 1}}}]}
    with pytest.raises(BenchError, match=r"datasets.0.parameters.scales"):
        check_grid(grid | {"models": [{"name": "vae"}]}, source="grid.toml")


def test_labels_and_ids_tell_parameters_apart_and_none_is_as_before():
    grid = {
        "name": "g",
        "datasets": [
            {"name": "dsprites_drawn", "parameters": {"scales": 4}},
            {"name": "dsprites_drawn", "parameters": {"scales": 5}, "every": {"orientation": 2}},
        ],
        "models": [{"name": "vae"}],
    }
    found = check_grid(grid)
    assert [entry.label for entry in found.datasets] == [
        "dsprites_drawn[scales=4]",
        "dsprites_drawn[scales=5,orientation/2]",
    ]
    assert len({spec.id for spec in found.runs}) == 2
    # What a step costs hangs on the parameters, and not on the sub-grid.
    assert whole(found.datasets[1]).label == "dsprites_drawn[scales=5]"
    assert check_grid(found.document()).datasets == found.datasets
    plain = DatasetSpec(name="dsprites_rendered")
    assert DatasetSpec.model_validate({"name": "dsprites_rendered", "parameters": {}}) == plain
    assert "parameters" not in plain.model_dump(exclude_none=True)


class Steps(DataSource):
    """So many grey levels; `wrong` raises as anyone's code may."""

    name = "steps"
    factor_names = ("level",)
    image_shape = (1, 8, 8)

    def __init__(self, levels: int = 4) -> None:
        self.factor_sizes = (levels,)

    def with_parameters(self, **parameters):
        if "wrong" in parameters:
            return 3
        return Steps(**parameters)

    def images(self, index):
        return (index * 20).to(torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)


def test_a_class_of_ones_own_takes_parameters(tmp_path):
    name = f"{__name__}:Steps"
    assert load_dataset(name, data_dir=tmp_path).factor_sizes == (4,)
    assert load_dataset(name, parameters={"levels": 7}, data_dir=tmp_path).factor_sizes == (7,)
    with pytest.raises(BenchError, match="cannot be had with leels=7: TypeError"):
        find_source(name, {"leels": 7})
    with pytest.raises(BenchError, match="with_parameters gives 'int', not a DataSource"):
        find_source(name, {"wrong": 7})


def test_a_study_on_a_drawn_set_of_real_numbers(tmp_path):
    grid = {
        "name": "drawn",
        "metrics": ["mig", "r2_identifiability"],
        "datasets": [{"name": "dsprites_drawn", "parameters": {"images": 60, "side": 32}}],
        "models": [{"name": "vae"}],
        "network": {"latents": 3, "channels": [4, 4], "kernels": [4, 4], "hidden": 8},
        "training": {"steps": 2, "batch_size": 8},
        "scoring": {"reconstruction_points": 8},
    }
    study = disentangle_bench.run(grid, out=tmp_path / "study", data_dir=tmp_path, device="cpu", jobs=1).path
    (run,) = (study / "runs").iterdir()
    scores = json.loads((run / "scores.json").read_text())
    assert scores["metrics"]["r2_identifiability"]["real_valued"] == "values"
    assert json.loads((run / "spec.json").read_text())["dataset"]["parameters"] == {"images": 60, "side": 32}
    assert "dsprites_drawn[images=60,side=32]" in (study / "leaderboard.csv").read_text()
