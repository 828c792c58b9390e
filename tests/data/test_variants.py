"""Colour, noise, held-out combinations and correlated factors."""

import numpy as np
import pytest
import torch
from PIL import Image

from disentangle_bench.data.background import background_picture
from disentangle_bench.data.correlated import CorrelatedFactors, Tie
from disentangle_bench.data.load import find_source, load_dataset
from disentangle_bench.data.parts import hold_out
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.data.variants import COLOR, NOISY, random_bytes, scream, vary
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import DATASETS

EVERY = {"orientation": 10, "posX": 8, "posY": 8}
# Every place of this picture has a colour of its own: red tells the row, green the column.
PLACES = torch.stack(
    [*torch.meshgrid(torch.arange(80), torch.arange(100), indexing="ij"), torch.zeros(80, 100)]
)
SCREAM = scream(PLACES.to(torch.uint8))


@pytest.fixture(scope="module")
def small(dsprites):
    return subgrid(dsprites, EVERY)


def generator():
    return torch.Generator().manual_seed(11)


@pytest.mark.parametrize("variant", [COLOR, NOISY, SCREAM])
def test_an_image_is_a_function_of_seed_and_index(dsprites, variant):
    first, again, other = vary(dsprites, variant), vary(dsprites, variant), vary(dsprites, variant, seed=1)
    index = torch.tensor([5, 700000, 5, 6])
    images = first.images(index)
    assert torch.equal(images, again.images(index))
    assert torch.equal(images[0], images[2])
    assert torch.equal(images[1], first.images([700000])[0])
    assert not torch.equal(images[0], images[3])
    assert not torch.equal(images, other.images(index))
    assert first.fingerprint == again.fingerprint
    assert len({first.fingerprint, other.fingerprint, dsprites.fingerprint}) == 3


@pytest.mark.parametrize("variant", [COLOR, NOISY, SCREAM])
def test_a_subgrid_shows_the_same_images(dsprites, variant):
    whole = vary(dsprites, variant)
    part = subgrid(whole, EVERY)
    steps = torch.tensor([1, 1, 10, 8, 8])
    index = torch.arange(0, len(part), 7)
    assert torch.equal(part.images(index), whole.images(whole.index(part.factors(index) * steps)))


def test_colour_dims_what_is_lit(small):
    images = vary(small, COLOR).images(torch.arange(len(small)))
    lit = small.images(torch.arange(len(small))).expand_as(images) > 0
    assert not images[~lit].any()
    colours = images.amax(dim=(2, 3))
    assert torch.equal(images, torch.where(lit, colours[:, :, None, None], torch.zeros_like(images)))
    assert (colours.min(), colours.max()) == (128, 255)
    assert abs(colours.double().mean() - 191.5) < 1


def test_noise_is_uniform_behind_the_sprite(small):
    images = vary(small, NOISY).images(torch.arange(len(small)))
    lit = small.images(torch.arange(len(small))).expand_as(images) > 0
    assert (images[lit] == 255).all()
    counts = torch.bincount(images[~lit].int(), minlength=256).double()
    assert (counts / counts.mean() - 1).abs().max() < 0.06


def test_a_window_of_the_picture_lies_behind_sprites_that_invert_it(small):
    index = torch.arange(len(small))
    images, sprites = vary(small, SCREAM).images(index).int(), small.images(index)
    drawn = random_bytes(index, 8, 0).int()
    # Sixteen random bits over so many places: 0 to 15, and 0 to 35; the study never draws the last one either.
    rows, columns = ((drawn[:, k] * 256 + drawn[:, k + 1]) * n // 2**16 for k, n in ((0, 16), (2, 36)))
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (0, 15, 0, 35)
    for n in range(0, len(small), 17):
        window = PLACES[:, rows[n] : rows[n] + 64, columns[n] : columns[n] + 64]
        behind = torch.floor((window + drawn[n, 4:7, None, None]) / 2 + 0.5).int()
        assert torch.equal(images[n], torch.where(sprites[n] > 0, 255 - behind, behind))


def save_picture(path, width, height):
    Image.fromarray(np.full((height, width, 3), (90, 60, 30), np.uint8)).save(path)
    return path


def test_the_users_picture_is_shrunk_as_in_the_study_and_part_of_the_fingerprint(tmp_path):
    save_picture(tmp_path / "scream.png", 500, 548)
    assert background_picture(tmp_path).shape == (3, 274, 250)
    first = load_dataset("scream_dsprites_rendered", data_dir=tmp_path)
    save_picture(tmp_path / "scream.jpg", 350, 274)
    assert background_picture(tmp_path).shape == (3, 274, 350)
    other = load_dataset("scream_dsprites_rendered", data_dir=tmp_path)
    assert first.fingerprint != other.fingerprint
    assert (first.image_shape, first.factor_sizes) == ((3, 64, 64), (3, 6, 40, 32, 32))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("scream.png", lambda path: None, "put one .* at .*scream.jpg"),
        (
            "scream.png",
            lambda path: path.write_bytes(b"no picture"),
            "scream.png is no JPEG or PNG",
        ),
        ("scream.png", lambda path: path.mkdir(), "scream.png is no plain file"),
        ("scream.png", lambda path: save_picture(path, 64, 274), "64 x 274 pixels .* need at least 65"),
        ("scream.jpg", lambda path: Image.new("RGB", (90, 90)).save(path, format="GIF"), "is no JPEG or PNG"),
    ],
    ids=["none", "text", "folder", "narrow", "another format"],
)
def test_a_picture_that_cannot_serve_is_refused(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(BenchError, match=message):
        load_dataset("scream_dsprites_rendered", data_dir=tmp_path)


def test_colour_images_may_be_varied_too(shapes3d):
    index = torch.arange(0, 480000, 40001)
    plain, noisy = shapes3d.images(index), vary(shapes3d, NOISY).images(index)
    assert (noisy >= plain).all()
    assert (vary(shapes3d, COLOR).images(index) <= plain).all()


def test_random_bytes_look_random():
    found = random_bytes(torch.arange(2000), 400, 0).double()
    assert abs(found.mean() - 127.5) < 0.5
    flat = (found - found.mean()) / found.std()
    for shifted in (flat.roll(1, 0), flat.roll(1, 1), flat.roll((1, 1), (0, 1)), flat.roll(64, 0)):
        assert abs((flat * shifted).mean()) < 0.006
    assert len(torch.unique(found[:, :4], dim=0)) == 2000


def test_the_nuisance_is_named(dsprites):
    assert "colour" in vary(dsprites, COLOR).nuisance
    assert "noise" in vary(dsprites, NOISY).nuisance
    assert "background" in vary(dsprites, SCREAM).nuisance
    assert dsprites.nuisance == ""


@pytest.mark.parametrize(
    "name", [name for name in DATASETS if name.startswith(("color_", "noisy_", "scream_"))]
)
def test_every_variant_is_registered_under_its_name(name):
    source = find_source(name)
    assert source.name == name
    assert source.image_shape == (3, 64, 64)
    assert source.provenance == ("rendered" if "rendered" in name else "official")


def test_held_out_combinations_are_in_one_part_only(small):
    training, held = hold_out(small, {"shape": [2], "posX": range(2, 4)})
    assert len(training) + len(held) == len(small)
    assert not training.full_grid
    factors = held.factors(torch.arange(len(held)))
    assert (factors[:, 0] == 2).all()
    assert (factors[:, 3] >= 2).all()
    assert torch.equal(held.images([3, 9]), small.images(small.index(factors[[3, 9]])))
    rest = training.factors(torch.arange(len(training)))
    assert not ((rest[:, 0] == 2) & (rest[:, 3] >= 2)).any()
    assert training.name.endswith("[without shape=2,posX=2+3]")
    assert training.fingerprint != held.fingerprint
    with pytest.raises(IndexError):
        training.index(factors[:1])


@pytest.mark.parametrize(
    "values", [{}, {"shap": [0]}, {"shape": [3]}, {"shape": []}, {"shape": [0, 1, 2]}, {"shape": [-1]}]
)
def test_an_impossible_holding_out_is_refused(small, values):
    with pytest.raises(BenchError):
        hold_out(small, values)


def test_a_correlated_pair_has_the_stated_distribution(dsprites):
    pair = CorrelatedFactors(dsprites, [Tie("posX", "scale", sigma=0.2)])
    uniforms = torch.rand(200_000, 5, generator=generator(), dtype=torch.float64)
    factors = dsprites.factors(pair.index(uniforms)).numpy()
    a, b = np.linspace(0, 1, 32)[:, None], np.linspace(0, 1, 6)
    wanted = np.exp(-((a - b) ** 2) / (2 * 0.2**2))
    found = np.histogram2d(factors[:, 3], factors[:, 1], bins=(32, 6), range=((0, 32), (0, 6)))[0]
    assert np.abs(found / len(factors) - wanted / wanted.sum()).max() < 0.0008
    for column, size in ((0, 3), (2, 40), (4, 32)):
        share = np.bincount(factors[:, column], minlength=size) / len(factors)
        assert np.abs(share * size - 1).max() < 0.06


def test_a_wide_sigma_leaves_the_pair_free(dsprites):
    pair = CorrelatedFactors(dsprites, [Tie("posX", "posY", sigma=1000.0)])
    factors = dsprites.factors(pair.index(torch.rand(50_000, 5, generator=generator())))
    assert abs(np.corrcoef(factors[:, 3], factors[:, 4])[0, 1]) < 0.02


def test_uniforms_decide_alone(dsprites):
    pair = CorrelatedFactors(dsprites, [Tie("posX", "posY", sigma=0.2)])
    uniforms = torch.rand(100, 5, generator=generator())
    assert torch.equal(pair.index(uniforms), pair.index(uniforms.clone()))
    assert torch.equal(pair.index(uniforms)[50:], pair.index(uniforms[50:]))
    edges = torch.tensor([[0.0] * 5, [1 - 2**-24] * 5])
    assert dsprites.factors(pair.index(edges))[:, [0, 1, 2]].tolist() == [[0, 0, 0], [2, 5, 39]]


def test_an_impossible_pair_is_refused(dsprites, small):
    for arguments in (
        ("posX", "posX", 0.2),
        ("posX", "posZ", 0.2),
        ("posX", "posY", 0.0),
        ("posX", "posY", -1),
    ):
        with pytest.raises(BenchError):
            CorrelatedFactors(dsprites, [Tie(*arguments)])
    with pytest.raises(BenchError, match="lacks some"):
        CorrelatedFactors(hold_out(small, {"shape": [0]})[0], [Tie("posX", "posY", 0.2)])
