"""Images without factors, and images of which some have factors: what a data set of them says and gives."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.contact_sheet import contact_sheet
from disentangle_bench.data.correlated import CorrelatedFactors, Tie
from disentangle_bench.data.factor_table import check_table
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.parts import hold_out
from disentangle_bench.data.source import DataSource
from disentangle_bench.data.variants import COLOR, vary
from disentangle_bench.errors import BenchError
from disentangle_bench.specs import DatasetSpec, SplitSpec
from disentangle_bench.splits import seen_and_unseen
from disentangle_bench.train.batches import Batches

PICTURES = np.random.default_rng(1).integers(0, 256, (30, 8, 8), dtype=np.uint8)
FACTORS = np.stack([np.arange(12) % 3, np.arange(12) // 3], axis=1)
# In no order, so that a mistake with positions shows.
LABELLED = np.random.default_rng(2).permutation(30)[:12]


def write(path: Path, **arrays: np.ndarray) -> str:
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file[key] = array
    return str(path)


class Noise(DataSource):
    """Images of a number each, and no factors."""

    name = "noise"
    factor_names = ()
    factor_sizes = ()
    image_shape = (1, 8, 8)
    table = torch.empty(30, 0, dtype=torch.int64)

    def images(self, index: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(PICTURES)[index][:, None]


@pytest.mark.parametrize("name", ["mine.npz", "mine.h5"])
def test_a_file_without_factors_is_its_images(tmp_path, name) -> None:
    dataset = load_dataset(write(tmp_path / name, images=PICTURES))
    assert (len(dataset), dataset.factor_names, dataset.factor_sizes) == (30, (), ())
    assert not dataset.full_grid
    assert dataset.labelled is None
    assert np.array_equal(dataset.images(range(30))[:, 0].numpy(), PICTURES)
    assert dataset.factors([3, 4]).shape == (2, 0)
    image, factors = dataset[-1]
    assert (image.shape, factors.shape) == ((1, 8, 8), (0,))
    check_dataset(dataset)


def test_a_data_set_by_code_without_factors() -> None:
    dataset = Noise().load(data_dir=Path())
    check_dataset(dataset)
    assert len(dataset) == 30
    assert Noise().outline({}, 4).image_shape == (1, 4, 4)
    assert np.array_equal(dataset.images([7])[0, 0].numpy(), PICTURES[7])
    check_dataset(vary(dataset, COLOR))


@pytest.mark.parametrize("name", ["mine.npz", "mine.h5"])
def test_a_file_with_factors_for_some_images(tmp_path, name) -> None:
    dataset = load_dataset(write(tmp_path / name, images=PICTURES, factors=FACTORS * 7, labelled=LABELLED))
    assert (len(dataset), dataset.factor_sizes) == (30, (3, 4))
    assert dataset.labelled is not None
    assert dataset.labelled.tolist() == sorted(LABELLED.tolist())
    assert np.array_equal(dataset.factors(LABELLED).numpy(), FACTORS)
    others = sorted({*range(30)} - {*LABELLED.tolist()})
    assert (dataset.factors(others) == -1).all()
    assert np.array_equal(dataset.index(FACTORS).numpy(), LABELLED)
    assert np.array_equal(dataset.images(range(30))[:, 0].numpy(), PICTURES)
    check_dataset(dataset)


def test_factors_of_all_images_may_come_in_another_order(tmp_path) -> None:
    order = np.random.default_rng(3).permutation(12)
    straight = load_dataset(write(tmp_path / "a.npz", images=PICTURES[:12], factors=FACTORS))
    named = load_dataset(
        write(tmp_path / "b.npz", images=PICTURES[:12], factors=FACTORS[order], labelled=order)
    )
    assert named.full_grid
    assert named.fingerprint == straight.fingerprint


def folder(path: Path, names: list[str]) -> str:
    for number, name in enumerate(names):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number, 0, 0)).save(path / name, format="PNG")
    return f"{path}/"


def test_a_folder_without_a_table_is_all_its_images_in_the_order_of_their_paths(tmp_path) -> None:
    path = folder(tmp_path / "photos", ["b.png", "a/c.PNG", "a.png", "a/b/z.png", "10.png", "9.png"])
    left_behind = [".a.png", "._b.png", "__MACOSX/b.png", ".thumbnails/a.png"]
    folder(tmp_path / "photos", left_behind)
    (tmp_path / "photos" / "read.me").write_text("no image")
    dataset = load_dataset(path)
    assert dataset.factor_names == ()
    # In the order of "10.png", "9.png", "a.png", "a/b/z.png", "a/c.PNG", "b.png".
    assert dataset.images(range(6))[:, 0, 0, 0].tolist() == [4, 5, 2, 3, 1, 0]
    assert dataset.image_shape == (3, 64, 64)
    check_dataset(dataset)


def test_a_folder_in_the_current_directory_needs_no_slash(tmp_path, monkeypatch) -> None:
    folder(tmp_path / "photos", ["a.png"])
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("photos")) == 1


def test_a_table_by_another_name_is_not_passed_over(tmp_path) -> None:
    path = folder(tmp_path / "photos", ["a.png"])
    (tmp_path / "photos" / "Factors.csv").write_text("file,size\na.png,1")
    with pytest.raises(BenchError, match=r"has Factors\.csv, which must be called factors\.csv"):
        load_dataset(path)


def test_an_image_that_is_a_link_to_elsewhere_is_refused(tmp_path) -> None:
    path = folder(tmp_path / "photos", ["a.png"])
    folder(tmp_path, ["secret.png"])
    (tmp_path / "photos" / "b.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(BenchError, match=r"holds 'b\.png', which lies outside the folder"):
        load_dataset(path)


def test_a_pipe_among_the_images_is_not_waited_for(tmp_path) -> None:
    path = folder(tmp_path / "photos", ["a.png"])
    os.mkfifo(tmp_path / "photos" / "b.png")
    with pytest.raises(BenchError, match=r"holds 'b\.png', which is no plain file"):
        load_dataset(path)


def test_a_broken_image_of_a_folder_is_refused_by_its_name(tmp_path) -> None:
    path = folder(tmp_path / "photos", ["a.png", "b.png"])
    (tmp_path / "photos" / "b.png").write_bytes(b"\x89PNG")
    with pytest.raises(BenchError, match=r"b\.png cannot be read as an image"):
        load_dataset(path)


def table(path: Path, lines: list[str]) -> str:
    name = folder(path, ["a.png", "b.png", "c.png", "d.png"])
    (path / "factors.csv").write_text("\n".join(["file,size,kind", *lines]))
    return name


def test_a_row_without_any_entry_is_an_image_without_factors(tmp_path) -> None:
    dataset = load_dataset(table(tmp_path / "photos", ["a.png,1,x", "b.png,,", "c.png,2,x", "d.png, , "]))
    assert len(dataset) == 4
    assert dataset.labelled is not None
    assert dataset.labelled.tolist() == [0, 2]
    assert dataset.factors(range(4)).tolist() == [[0, 0], [-1, -1], [1, 0], [-1, -1]]
    check_dataset(dataset)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.png,1,x", "b.png,,", "c.png,2,"], r"row 4 \(c\.png\) has nothing for 'kind'"),
        (["a.png,,", "b.png,,", "c.png,,"], r"row 2 \(a\.png\) has nothing for 'size'"),
        (["a.png,,", "b.png,nan,x"], r"row 3 \(b\.png\) has 'nan' for 'size'"),
    ],
)
def test_a_row_with_some_entries_and_a_table_without_any_are_refused(tmp_path, lines, message) -> None:
    with pytest.raises(BenchError, match=message):
        load_dataset(table(tmp_path / "photos", lines))


def test_one_image_with_factors_is_too_few(tmp_path) -> None:
    path = write(tmp_path / "mine.npz", images=PICTURES, factors=FACTORS[:1], labelled=LABELLED[:1])
    with pytest.raises(BenchError, match=r"mine\.npz: 1 of its 30 images have factors"):
        load_dataset(path)


def test_rows_of_a_table_are_known_or_not_as_a_whole() -> None:
    check_table("mine", ("a", "b"), (2, 2), torch.tensor([[0, 1], [-1, -1], [1, 0]]))
    with pytest.raises(BenchError, match="'b' has values -1 to 1"):
        check_table("mine", ("a", "b"), (2, 2), torch.tensor([[0, 1], [1, -1]]))
    for known in (0, 1):
        table = torch.full((3, 2), -1)
        table[:known] = 0
        with pytest.raises(BenchError, match=f"{known} of its 3 images have factors"):
            check_table("mine", ("a", "b"), (2, 2), table)


@pytest.mark.parametrize("known", [0, 12])
@pytest.mark.parametrize(
    "ask",
    [
        lambda dataset: hold_out(dataset, {"factor0": [1]}),
        lambda dataset: seen_and_unseen(DatasetSpec(name="x", split=SplitSpec(kind="random")), dataset),
        lambda dataset: CorrelatedFactors(dataset, [Tie("factor0", "factor1", 0.2)]),
    ],
)
def test_what_needs_the_factors_of_all_images_is_refused(tmp_path, known, ask) -> None:
    arrays = {"factors": FACTORS, "labelled": LABELLED} if known else {}
    dataset = load_dataset(write(tmp_path / "mine.npz", images=PICTURES, **arrays))
    message = (
        "factors for 12 of its 30 images, and .* those of all" if known else "without factors, and .* needs"
    )
    with pytest.raises(BenchError, match=f"mine.npz has .*{message}"):
        ask(dataset)
    with pytest.raises(BenchError, match="`every` needs"):
        load_dataset(str(tmp_path / "mine.npz"), every={"factor0": 2})


def test_all_images_train(tmp_path) -> None:
    path = write(tmp_path / "mine.npz", images=PICTURES, factors=FACTORS, labelled=LABELLED)
    dataset = load_dataset(path)
    batches = Batches(DatasetSpec(name=path), dataset)
    drawn = batches.index(torch.tensor(0), 0, 2000)
    assert drawn.unique().tolist() == list(range(30))


def test_a_contact_sheet_without_factors_is_images_in_their_order(tmp_path) -> None:
    sheet = contact_sheet(load_dataset(write(tmp_path / "mine.npz", images=PICTURES)))
    # Three rows of 12, of which the last one is half full, 2 pixels between images.
    assert sheet.shape == (2 + 3 * 10, 2 + 12 * 10, 3)
    assert np.array_equal(sheet[12:20, 22:30, 1], PICTURES[12 + 2])
    assert (sheet[22:, 62:] == 255).all()


def test_a_contact_sheet_rests_on_an_image_whose_factors_are_known(tmp_path) -> None:
    path = write(tmp_path / "mine.npz", images=PICTURES, factors=FACTORS, labelled=LABELLED)
    sheet = contact_sheet(load_dataset(path))
    middle = sorted(LABELLED)[6]
    rest = FACTORS[middle == LABELLED][0]
    for value in range(3):
        wanted = np.array([value, rest[1]])
        image = LABELLED[(wanted == FACTORS).all(axis=1)][0]
        assert np.array_equal(sheet[20:28, 2 + 10 * value : 10 + 10 * value, 0], PICTURES[image])
