"""What every data set must hold, and as what torch's loaders take it: all that are registered, and others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_data
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, random_split

from disentangle_bench import registry
from disentangle_bench.data.checks import CHECKS, check_dataset
from disentangle_bench.data.factor_dataset import FactorDataset, Symmetry
from disentangle_bench.data.load import default_data_dir, find_source, load_dataset
from disentangle_bench.data.official import CACHES
from disentangle_bench.data.parts import hold_out
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.data.variants import NOISY, vary
from disentangle_bench.errors import BenchError


def user_file(folder: Path, rows: int) -> str:
    """The first rows of the squares as somebody's own file."""
    index = range(rows)
    squares = tiny_data.squares()
    np.savez(
        folder / "mine.npz", images=squares.images(index).numpy(), factors=squares.factors(index).numpy()
    )
    return str(folder / "mine.npz")


def file_of_some(folder: Path, labelled: int) -> str:
    """The squares as somebody's own file, with factors of so many of them."""
    squares = tiny_data.squares()
    known = np.arange(5, 5 + labelled)
    factors = {"factors": squares.factors(known).numpy(), "labelled": known} if labelled else {}
    np.savez(folder / "some.npz", images=squares.images(range(48)).numpy(), **factors)
    return str(folder / "some.npz")


OTHERS = {
    "by code": lambda folder: load_dataset("tiny_data:Squares"),
    "an object": lambda folder: load_dataset("tiny_data:SQUARES"),
    "sub-grid": lambda folder: load_dataset("tiny_data:Squares", every={"row": 2, "light": 3}),
    "variant": lambda folder: vary(tiny_data.squares(), NOISY),
    "held out": lambda folder: hold_out(tiny_data.squares(), {"row": [1], "light": [0, 2]})[0],
    "file": lambda folder: load_dataset(user_file(folder, 48)),
    "file with a table": lambda folder: load_dataset(user_file(folder, 25)),
    "file without factors": lambda folder: load_dataset(file_of_some(folder, 0)),
    "file with some factors": lambda folder: load_dataset(file_of_some(folder, 9)),
    "sub-grid of a table": lambda folder: load_dataset(user_file(folder, 25), every={"factor2": 2}),
}


@pytest.fixture(scope="module", params=[*registry.DATASETS, *OTHERS])
def dataset(request, tmp_path_factory: pytest.TempPathFactory) -> FactorDataset:
    folder = tmp_path_factory.mktemp("data")
    if request.param in OTHERS:
        return OTHERS[request.param](folder)
    published = find_source(request.param).published
    data_dir = default_data_dir()
    if published is not None and not (data_dir / CACHES[published]).is_file():
        pytest.skip("its published file is not there")
    if request.param.startswith("scream_"):
        Image.effect_noise((350, 274), 60).save(folder / "scream.png")
        return load_dataset(request.param, data_dir=folder)
    return load_dataset(request.param, data_dir=data_dir if data_dir.is_dir() else folder)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_data_set_is_as_it_must_be(dataset, check) -> None:
    check(dataset)


def test_an_item_is_an_image_with_its_factors(dataset) -> None:
    assert isinstance(dataset, Dataset)
    last = len(dataset) - 1
    for index, same in (
        (0, 0),
        (last, last),
        (-1, last),
        (-len(dataset), 0),
        (np.int64(1), 1),
        (torch.tensor(1), 1),
    ):
        image, factors = dataset[index]
        assert torch.equal(image, dataset.images([same])[0])
        assert torch.equal(factors, dataset.factors([same])[0])
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, dataset.image_shape)
    assert (factors.dtype, factors.shape) == (torch.int64, (len(dataset.factor_names),))
    for outside in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError):
            dataset[outside]
    for no_index in (1.0, "1", slice(2), [1]):
        with pytest.raises(TypeError):
            dataset[no_index]


def test_a_loop_over_it_ends() -> None:
    squares = tiny_data.squares()
    pairs = list(squares)
    assert len(pairs) == 48
    assert torch.equal(torch.stack([image for image, _ in pairs]), squares.images(range(48)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["by code", "file", "file with a table", "variant", "sub-grid"])
def test_a_data_loader_gives_every_image_once(kind, workers, tmp_path) -> None:
    dataset = OTHERS[kind](tmp_path)
    loader = DataLoader(dataset, batch_size=5, shuffle=True, num_workers=workers)
    images, factors = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert images.dtype == torch.uint8
    assert len(images) == len(dataset)
    index = dataset.index(factors)
    assert torch.equal(index.sort().values, torch.arange(len(dataset)))
    assert torch.equal(images, dataset.images(index))


def test_a_data_loader_of_another_process_start_gives_the_same(tmp_path) -> None:
    loader = DataLoader(tiny_data.squares(), batch_size=48, num_workers=1, multiprocessing_context="spawn")
    ((images, factors),) = loader
    assert torch.equal(images, tiny_data.squares().images(range(48)))
    assert torch.equal(factors, tiny_data.squares().factors(range(48)))


def test_torch_takes_parts_of_it() -> None:
    squares = tiny_data.squares()
    part = Subset(squares, [7, 5])
    (images, factors), *_ = DataLoader(part, batch_size=2)
    assert torch.equal(images, squares.images([7, 5]))
    assert torch.equal(factors, squares.factors([7, 5]))
    parts = random_split(squares, [0.75, 0.25], torch.Generator().manual_seed(1))
    assert [len(part) for part in parts] == [36, 12]
    seen = squares.index(torch.stack([factors for part in parts for _, factors in part]))
    assert torch.equal(seen.sort().values, torch.arange(48))
    assert len(ConcatDataset([squares, squares])) == 96


class Changed:
    """The squares' images after a change that may look at the index."""

    def __init__(self, change) -> None:
        self.change = change

    def images(self, index):
        return self.change(tiny_data.SQUARES.images(index), index)

    def to(self, device):
        return self


def mixed(images, index):
    """Brighter where the first image that is asked for is number 3."""
    return images + int(index[0] == 3)


class Elsewhere(Changed):
    """Other images once a device is named."""

    def to(self, device):
        return Changed(lambda images, index: images // 2)


def same(images, index):
    return images


SQUARES = tiny_data.squares()
# For every check a data set that breaks its rule, and what it says.
WRONG = {
    "images_are_bytes": (
        replace(SQUARES, store=Changed(lambda images, index: images.clamp(max=1))),
        "multiply them by 255",
    ),
    "images_repeat": (replace(SQUARES, store=Changed(mixed)), "must be a function of its index alone"),
    "factors_name_images": (
        replace(SQUARES, table=SQUARES.factors(range(48)) + 1),
        r"outside 0\.\.size-1",
    ),
    "factors_show": (
        replace(
            SQUARES,
            factor_names=("row", "column", "light", "hue"),
            factor_sizes=(2, 4, 3, 2),
            store=Changed(lambda images, index: tiny_data.SQUARES.images(index // 2)),
        ),
        "changes with the factor 'hue'",
    ),
    "values_are_told": (replace(SQUARES, labels={"light": ("dark", "bright")}), "2 names for 'light'"),
    "devices_agree": (replace(SQUARES, store=Elsewhere(same)), "on cpu its images are others"),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_data_set_that_breaks_a_rule_is_refused(check) -> None:
    wrong, message = WRONG[check.__name__]
    with pytest.raises(BenchError, match=f"data set 'squares'.*{message}"):
        check(wrong)
    with pytest.raises(BenchError):
        check_dataset(wrong)


@pytest.mark.parametrize(
    ("symmetry", "message"),
    [
        (Symmetry("row", "light", torch.zeros(3, 3)), r"is a table of \(3, 3\), not \(3, 4\)"),
        (Symmetry("row", "hue", torch.zeros(3, 4)), r"not \(None, 4\)"),
        (
            Symmetry("row", "light", torch.zeros(3, 4)),
            "seen as the same where 'light' is 0 have different images",
        ),
    ],
)
def test_a_symmetry_that_images_do_not_have_is_refused(symmetry, message) -> None:
    with pytest.raises(BenchError, match=message):
        check_dataset(replace(SQUARES, symmetry=symmetry))


def test_a_symmetry_that_images_have_passes() -> None:
    """Where light is drawn as if 1 were 0, both are seen as the same."""
    blind = Changed(lambda images, index: tiny_data.SQUARES.images(index - (index % 3 == 1).long()))
    seen = torch.tensor([[0.0, 0.0, 1.0]] * 4)
    check_dataset(replace(SQUARES, store=blind, symmetry=Symmetry("light", "row", seen)))


def test_a_part_keeps_what_is_told() -> None:
    named = replace(SQUARES, labels={"light": ("dark", "dim", "bright")})
    part = subgrid(named, {"light": 2})
    check_dataset(part)
    assert part.labels == {"light": ("dark", "bright")}
