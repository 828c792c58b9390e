"""Isaac3D: a folder of its layout becomes a data set in the order of its factors, and is refused where it differs."""

from collections import namedtuple

import numpy as np
import pytest
from PIL import Image
from published_files import FEW_ROBOTS, isaac_arrays, isaac_folder

from disentangle_bench.data import cache, isaac3d
from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.download import get
from disentangle_bench.data.isaac3d import read
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.registered import Isaac3D
from disentangle_bench.data.smaller import at_size
from disentangle_bench.errors import BenchError


@pytest.fixture
def labels(tmp_path):
    return isaac_folder(tmp_path, *isaac_arrays())


def source() -> Isaac3D:
    found = Isaac3D()
    found.factor_sizes = FEW_ROBOTS
    return found


def test_images_and_factors_are_the_folders(labels, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(isaac3d, "BLOCK", 5)
    dataset = source().load(data_dir=tmp_path)
    assert len(dataset) == 12
    for pixels, classes in zip(*isaac_arrays(), strict=True):
        found = dataset.images(dataset.index([classes.tolist()]))[0]
        assert np.array_equal(found.permute(1, 2, 0).numpy(), pixels)
    assert dataset.provenance == "official"
    check_dataset(dataset)
    assert at_size(dataset, 64).images([0]).shape == (1, 3, 64, 64)
    labels.unlink()
    assert source().load(data_dir=tmp_path).fingerprint == dataset.fingerprint


def test_the_fingerprint_tells_of_a_changed_pixel(labels, tmp_path) -> None:
    first = source().load(data_dir=tmp_path).fingerprint
    (tmp_path / "isaac3d.r1.npy").unlink()
    path = labels.parent / "images" / "000003.png"
    pixels = np.array(Image.open(path))
    pixels[5, 6, 1] ^= 1
    Image.fromarray(pixels).save(path)
    assert source().load(data_dir=tmp_path).fingerprint != first


def test_the_facts_of_the_published_folder() -> None:
    assert len(Isaac3D().outline({})) == 737_280
    assert Isaac3D().outline({}, 64).image_shape == (3, 64, 64)


def test_without_the_folder_the_error_says_what_to_do(tmp_path) -> None:
    said = r"by hand from https://drive\.google.*Isaac3D_down128/labels\.npy is there, unpacked where it comes in"
    with pytest.raises(BenchError, match=said):
        load_dataset("isaac3d", data_dir=tmp_path)
    with pytest.raises(BenchError, match=said):
        get("isaac3d", tmp_path)


def test_a_disk_without_room_is_told_of_first(labels, tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage(1, 1, 100))
    with pytest.raises(BenchError, match="make room, or name another folder with --data-dir"):
        source().load(data_dir=tmp_path)


def swap_two(labels: np.ndarray) -> np.ndarray:
    """The second image's labels are those of the first."""
    labels[1] = labels[0]
    return labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:-1], r"float64 of shape \(11, 9\), not floats of shape \(12, 9\)"),
        (lambda a: a[:, :8], "not floats of shape"),
        (lambda a: a.astype(np.int64), "not floats of shape"),
        (lambda a: a.astype(">f8"), "not floats of shape"),
        (lambda a: a.astype(object), "pickled"),
        (lambda a: a * np.nan, "has labels that are no numbers"),
        (lambda a: a + np.arange(12)[:, None] * 1e-9, "column 0 has 12 different values, not 2"),
        (lambda a: a * 0, "column 0 has 1 different values, not 2"),
        (lambda a: a[:, [0, 1, 2, 3, 0, 5, 6, 7, 8]], "does not list every combination"),
        (swap_two, "does not list every combination"),
    ],
)
def test_other_labels_are_refused(labels, change, message) -> None:
    np.save(labels, change(np.load(labels)))
    with pytest.raises(BenchError, match=message):
        list(read(labels, FEW_ROBOTS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), r"has 11 files \.png, labels\.npy names 12"),
        (lambda path: path.rename(path.with_name("3.png")), r"there is no file .*000003\.png"),
        (lambda path: path.write_bytes(b"rubbish"), r"000003\.png cannot be read as a PNG file"),
        (lambda path: path.write_bytes(bytes(1 << 21)), "has more than 1048576 bytes"),
        (lambda path: Image.new("RGB", (64, 64)).save(path), r"is RGB of size \(64, 64\)"),
        (lambda path: Image.new("L", (128, 128)).save(path), "is L of size"),
        (lambda path: Image.new("RGBA", (128, 128)).save(path), "has transparent pixels"),
        (lambda path: Image.new("RGB", (128, 128)).save(path, format="BMP"), "cannot be read as a PNG file"),
    ],
)
def test_other_images_are_refused(labels, change, message) -> None:
    change(labels.parent / "images" / "000003.png")
    with pytest.raises(BenchError, match=message):
        list(read(labels, FEW_ROBOTS))


def test_opaque_images_with_alpha_are_those_without(labels) -> None:
    whole = np.concatenate(list(read(labels, FEW_ROBOTS)))
    for path in (labels.parent / "images").iterdir():
        Image.open(path).convert("RGBA").save(path)
    assert np.array_equal(np.concatenate(list(read(labels, FEW_ROBOTS))), whole)


def test_a_folder_without_images_is_refused(labels) -> None:
    (labels.parent / "images").rename(labels.parent / "pictures")
    with pytest.raises(BenchError, match="cannot be read"):
        list(read(labels, FEW_ROBOTS))
