"""Images averaged over blocks: exact, the same everywhere, and part of what a data set and a run are called."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.utils.data import DataLoader

from disentangle_bench.cli import main
from disentangle_bench.data.checks import CHECKS
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.smaller import SmallerStore, at_size
from disentangle_bench.errors import BenchError
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import check_grid, read_grid
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.study.run import run

SQUARES = "tiny_data:SQUARES"


class Held:
    """Random pixels, the same each time."""

    def __init__(self) -> None:
        self.pixels = torch.from_numpy(
            np.random.default_rng(0).integers(0, 256, (5, 3, 12, 12), dtype=np.uint8)
        )

    def images(self, index: torch.Tensor) -> torch.Tensor:
        return self.pixels[index]

    def to(self, device: torch.device) -> "Held":
        return self


@pytest.mark.parametrize("block", [2, 3, 4, 12])
def test_a_pixel_is_the_rounded_mean_of_its_block(block: int) -> None:
    found = SmallerStore(Held(), block).images(torch.arange(5))
    whole = Held().pixels.numpy().astype(np.int64)
    for image, channel, y, x in np.ndindex(found.shape):
        part = whole[image, channel, y * block : (y + 1) * block, x * block : (x + 1) * block]
        assert found[image, channel, y, x] == int(np.floor(part.sum() / block**2 + 0.5))
    assert found.dtype == torch.uint8


def test_half_is_rounded_up() -> None:
    store = Held()
    store.pixels = torch.tensor([[[[0, 1], [1, 0]]], [[[255, 255], [255, 255]]]], dtype=torch.uint8)
    assert SmallerStore(store, 2).images(torch.arange(2)).flatten().tolist() == [1, 255]


def test_a_size_is_part_of_the_name_and_the_fingerprint() -> None:
    whole, small = load_dataset(SQUARES), load_dataset(SQUARES, size=8)
    assert (small.name, small.image_shape) == ("squares[8x8]", (1, 8, 8))
    assert small.fingerprint != whole.fingerprint
    assert load_dataset(SQUARES, size=16) == whole
    part = load_dataset(SQUARES, every={"row": 2}, size=8)
    assert part.name == "squares[row/2,8x8]"
    assert at_size(whole, None) is whole
    assert torch.equal(small.factors(range(48)), whole.factors(range(48)))
    images, _ = next(iter(DataLoader(small, batch_size=48)))
    assert torch.equal(images, small.images(range(48)))
    for check in CHECKS:
        check(small)


@pytest.mark.parametrize("size", [5, 32, 0, True])
def test_a_size_divides_the_sides(size: int) -> None:
    with pytest.raises(BenchError, match="a size that divides"):
        load_dataset(SQUARES, size=size)


def test_images_that_are_no_squares_keep_their_size(tmp_path: Path) -> None:
    factors = np.repeat(np.arange(4), 3)[:, None]
    np.savez(tmp_path / "wide.npz", images=np.zeros((12, 16, 32), np.uint8), factors=factors)
    with pytest.raises(BenchError, match="16 x 32"):
        load_dataset(str(tmp_path / "wide.npz"), size=8)


def grid(**more: object) -> dict:
    return {
        "name": "sizes",
        "metrics": ["mig"],
        "datasets": [{"name": SQUARES, "size": 8}, {"name": SQUARES}],
        "models": [{"name": "vae"}],
        "training": {"steps": 6, "batch_size": 8},
        "scoring": {"reconstruction_points": 16},
    } | more


def test_a_size_is_part_of_a_runs_identity_and_chooses_networks(tmp_path: Path) -> None:
    small, whole = expand(check_grid(grid()))
    assert "size8" in small.id
    assert small.dataset.label == f"{SQUARES}[8x8]"
    assert small.network.channels == (32,)
    assert len(whole.network.channels) == 4
    asked = check_grid(grid(network={"channels": [4, 4, 4], "kernels": [4, 4, 2]}))
    assert {spec.network.channels for spec in expand(asked)} == {(4, 4, 4)}
    # Whoever reads the grid that a study keeps finds the same runs.
    study = StudyDir(tmp_path / "study")
    study.write_grid(check_grid(grid()))
    assert expand(read_grid(study.path / "grid.toml")) == (small, whole)


@pytest.mark.parametrize(("size", "layers"), [(64, 4), (32, 3), (16, 2), (8, 1), (4, 1)])
def test_the_last_layer_has_four_by_four_pixels(size: int, layers: int) -> None:
    asked = check_grid(grid(datasets=[{"name": "dsprites_rendered", "size": size}]))
    (spec,) = expand(asked)
    assert len(spec.network.channels) == layers


def test_a_study_at_two_sizes(tmp_path: Path) -> None:
    outcome = run(grid(network={"latents": 3, "hidden": 16}), tmp_path / "study", device="cpu", jobs=1)
    assert (outcome.done, outcome.failed) == (2, 0)
    labels = {record.spec.dataset.label for record in StudyDir(outcome.path).records()}
    assert labels == {SQUARES, f"{SQUARES}[8x8]"}


def test_validate_says_which_networks_fit(tmp_path: Path) -> None:
    text = (
        'name="g"\nmetrics=["mig"]\nmodels=[{name="vae"}]\ndatasets=[{name="dsprites_rendered", size=32}]\n'
    )
    (tmp_path / "g.toml").write_text(text)
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "g.toml")])
    assert result.exit_code == 0, result.output
    assert "dsprites_rendered[32x32]: networks of 3 layers (32-32-64)" in result.output
    (tmp_path / "g.toml").write_text(text.replace("32", "20"))
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "g.toml")])
    assert result.exit_code == 2
    assert "cannot have size 20" in result.output
