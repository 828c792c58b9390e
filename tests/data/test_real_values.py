"""Real-valued factors: values beside bins, from files of every kind and from code."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from disentangle_bench import BenchError, evaluate, load_dataset
from disentangle_bench.data.bins import in_bins
from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.parts import hold_out
from disentangle_bench.data.source import DataSource
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.data.user import UserSource


def test_twenty_different_values_make_ten_bins_of_two():
    values = np.arange(20)[::-1] / 4
    bins, labels = in_bins(values)
    assert bins.tolist() == [k // 2 for k in range(19, -1, -1)]
    assert labels[0] == "0 to 0.25"
    assert labels[-1] == "4.5 to 4.75"


def test_up_to_ten_different_values_are_a_bin_each():
    bins, labels = in_bins(np.array([0.5, 7.25, 0.5, -1.0]))
    assert bins.tolist() == [1, 2, 1, 0]
    assert labels == ("-1", "0.5", "7.25")


def test_equal_values_stay_together_in_the_tenth_of_their_middle():
    # Ten zeros: the middle of their ranks is 5 of 21, in the third tenth. Then 1.5 .. 11.5 with k zeros and numbers
    # before each: (10 + k + .5) / 21, in tenths 5, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9 (from 10.5 / 21 = .5 to 20.5 / 21).
    values = np.concatenate([np.zeros(10), np.arange(11) + 1.5])
    bins, labels = in_bins(values)
    assert bins[:10].tolist() == [0] * 10
    tenths = [int(10 * (10 + k + 0.5) / 21) for k in range(11)]
    assert tenths == [5, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9]
    assert bins[10:].tolist() == [tenth - 4 for tenth in tenths]
    assert labels == ("0", "1.5 to 3.5", "4.5 to 5.5", "6.5 to 7.5", "8.5 to 9.5", "10.5 to 11.5")


def test_a_value_that_is_nearly_everywhere_leaves_the_others_apart():
    values = np.concatenate([np.full(989, 2.0), np.arange(11) / 100])
    bins, labels = in_bins(values)
    # The middle of the rare ones' ranks lies in the first tenth, that of the common one in the sixth.
    assert bins.tolist() == [1] * 989 + [0] * 11
    assert labels == ("0 to 0.1", "2")


ANGLES = np.linspace(0.05, 3, 40)


def arrays(angles: np.ndarray = ANGLES) -> dict[str, np.ndarray]:
    """40 images whose brightness is their angle's rank, of kind 0 or 1."""
    images = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None] * 6, (40, 8, 8))
    kinds = np.arange(40) % 2
    names = np.array(["kind", "angle"])
    return {"images": images, "factors": np.stack([kinds, angles], axis=1), "factor_names": names}


def write(path: Path, found: dict[str, np.ndarray]) -> Path:
    if path.suffix == ".npz":
        np.savez_compressed(path, **found)
        return path
    with h5py.File(path, "w") as file:
        for key, array in found.items():
            file[key] = array if key != "factor_names" else [str(name) for name in array]
    return path


@pytest.mark.parametrize("name", ["mine.npz", "mine.h5"])
def test_a_column_of_floats_keeps_its_values_beside_bins(tmp_path, name):
    dataset = load_dataset(str(write(tmp_path / name, arrays())))
    assert (dataset.factor_names, dataset.factor_sizes) == (("kind", "angle"), (2, 10))
    assert not dataset.full_grid
    assert dataset.factors(range(40))[:, 1].tolist() == [k // 4 for k in range(40)]
    assert torch.equal(dataset.values(range(40))[:, 1], torch.from_numpy(ANGLES))
    assert dataset.values([3]).tolist() == [[1.0, ANGLES[3]]]
    assert list(dataset.measured) == ["angle"]
    assert dataset.labels["angle"][0] == "0.05 to 0.2769"
    check_dataset(dataset)


def test_the_fingerprint_covers_the_values(tmp_path):
    moved = ANGLES.copy()
    moved[7] += 1e-9  # in the same bin
    before, after = (
        load_dataset(str(write(tmp_path / f"{k}.npz", arrays(angles))))
        for k, angles in enumerate((ANGLES, moved))
    )
    assert torch.equal(before.table, after.table)
    assert before.fingerprint != after.fingerprint


def test_floats_that_are_whole_are_as_whole_numbers(tmp_path):
    whole = arrays(np.repeat(np.arange(20), 2))
    floats = load_dataset(str(write(tmp_path / "a.npz", whole)))
    integers = load_dataset(str(write(tmp_path / "b.npz", whole | {"factors": whole["factors"].astype(int)})))
    assert not floats.measured
    assert floats.fingerprint == integers.fingerprint


def test_the_steps_of_a_full_grid_keep_their_values_and_the_grid(tmp_path):
    found = arrays(np.repeat(np.linspace(1, 0.05, 20), 2))
    dataset = load_dataset(str(write(tmp_path / "grid.npz", found)))
    assert dataset.full_grid
    assert dataset.factor_sizes == (2, 20)
    # In the order of the grid, in which the file was not.
    assert dataset.values(range(40)).tolist() == [
        [kind, angle] for kind in (0, 1) for angle in np.linspace(1, 0.05, 20)[::-1]
    ]
    assert dataset.labels["angle"][:2] == ("0.05", "0.1")
    part = subgrid(dataset, {"angle": 10})
    assert part.values(range(4)).tolist() == [[0, 0.05], [0, 0.55], [1, 0.05], [1, 0.55]]


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_is_no_number_is_refused_with_its_row(tmp_path, odd):
    angles = ANGLES.copy()
    angles[7] = odd
    with pytest.raises(BenchError, match=rf"row 7 of factors .* has {odd} for 'angle'"):
        UserSource(write(tmp_path / "odd.npz", arrays(angles)))


def folder(tmp_path: Path, angles: list[str]) -> str:
    (tmp_path / "photos").mkdir()
    rows = ["file,kind,angle"]
    for k, angle in enumerate(angles):
        Image.new("RGB", (8, 8), (k, k, k)).save(tmp_path / f"photos/{k}.png")
        rows.append(f"{k}.png,{'ab'[k % 2]},{angle}")
    (tmp_path / "photos" / "factors.csv").write_text("\n".join(rows))
    return str(tmp_path / "photos")


def test_a_column_of_a_text_table_that_was_no_factor_is_real_valued(tmp_path):
    dataset = load_dataset(folder(tmp_path, [f"{k / 8 + 0.01:.3f}" for k in range(20)]))
    assert dataset.factor_sizes == (2, 10)
    assert dataset.measured["angle"].tolist() == [round(k / 8 + 0.01, 3) for k in range(20)]
    assert dataset.labels["angle"][1] == "0.26 to 0.385"


def test_a_fractional_scale_of_few_values_in_a_text_table_stays_as_it_was(tmp_path):
    dataset = load_dataset(folder(tmp_path, ["0.5", "0.75", "1.5"] * 5))
    assert not dataset.measured
    assert dataset.labels["angle"] == ("0.5", "0.75", "1.5")


def test_a_column_that_holds_text_too_is_refused_as_before(tmp_path):
    with pytest.raises(BenchError, match="a value of its own for each of the 20 images"):
        load_dataset(folder(tmp_path, ["about 1", *(f"{k}.5" for k in range(19))]))


def test_parts_keep_the_values_of_their_images(tmp_path):
    dataset = load_dataset(str(write(tmp_path / "mine.npz", arrays())))
    training, unseen = hold_out(dataset, {"kind": [1]})
    assert training.measured["angle"].tolist() == ANGLES[::2].tolist()
    assert unseen.values(range(20))[:, 1].tolist() == ANGLES[1::2].tolist()
    assert (
        subgrid(dataset, {"angle": 5}).measured["angle"].tolist()
        == ANGLES[[0, 1, 2, 3, 20, 21, 22, 23]].tolist()
    )


class Dots(DataSource):
    name = "dots"
    factor_names = ("place",)
    factor_sizes: tuple[int, ...] = (10,)
    image_shape = (1, 8, 8)
    table = torch.from_numpy(in_bins(ANGLES)[0])[:, None]

    def __init__(self) -> None:
        self.measured = {"place": torch.from_numpy(ANGLES)}

    def images(self, index):
        return (index * 5).to(torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)


def test_a_data_set_by_code_gives_values_beside_its_table(tmp_path):
    dots = Dots()
    dots.check_facts()
    dataset = dots.load(data_dir=tmp_path)
    check_dataset(dataset)
    assert dataset.values([1, 39])[:, 0].tolist() == [ANGLES[1], 3.0]
    other = Dots()
    other.measured = {"place": torch.from_numpy(ANGLES + 1e-9)}
    assert other.load(data_dir=tmp_path).fingerprint != dataset.fingerprint


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"plaec": torch.zeros(40, dtype=torch.float64)}, "unknown factor of dots 'plaec'.*place"),
        ({"place": torch.zeros(40)}, r"torch.float32 \(40,\), not a tensor torch.float64 \(40,\)"),
        ({"place": torch.zeros(39, dtype=torch.float64)}, r"\(39,\), not"),
        ({"place": torch.full((40,), torch.nan, dtype=torch.float64)}, "image 0 has nan"),
    ],
)
def test_values_that_are_none_are_refused(measured, message):
    dots = Dots()
    dots.measured = measured
    with pytest.raises(BenchError, match=message):
        dots.check_facts()
    with pytest.raises(BenchError, match=message):
        check_dataset(replace(Dots().load(data_dir=Path()), measured=measured))


def test_values_may_be_known_of_some_images_only(tmp_path: Path) -> None:
    """Files and evaluation: the values of the others are never looked at."""
    labelled = np.arange(3, 35)[::-1]
    given = arrays()
    np.savez(
        tmp_path / "some.npz",
        images=given["images"],
        factors=given["factors"][labelled],
        labelled=labelled,
        factor_names=given["factor_names"],
    )
    dataset = load_dataset(str(tmp_path / "some.npz"))
    check_dataset(dataset)
    values = dataset.measured["angle"].numpy()
    assert np.array_equal(values[3:35], ANGLES[3:35])
    assert np.isnan(values[:3]).all()
    assert dataset.labelled is not None
    assert sorted(dataset.labelled.tolist()) == list(range(3, 35))
    record = evaluate(
        lambda images: images.float().mean((2, 3)), dataset, ["r2_identifiability", "unsupervised"]
    )
    assert record.points["number"] == 32
    assert "real-valued are angle: r2_identifiability had the values themselves" in " ".join(record.notes)
