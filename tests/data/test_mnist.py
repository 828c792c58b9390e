"""MNIST and Fashion-MNIST: files of their layout become images without factors, and are refused where they differ."""

import gzip
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published_files import idx_file, random_images

from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.download import get
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.mnist import read
from disentangle_bench.data.official import FILES
from disentangle_bench.data.registered_images import MNIST
from disentangle_bench.errors import BenchError

PARTS = random_images(7, 28, 28), random_images(12, 28, 28)[7:]
NAMES = ("mnist", "fashion_mnist")


def source(name: str, folder: Path) -> MNIST:
    """The data set of few images, whose files with their hashes are put into the folder."""
    found = MNIST(name)
    found.parts = tuple(map(len, PARTS))
    files = []
    for facts, images in zip(FILES[name], PARTS, strict=True):
        path = folder / facts.name
        idx_file(path, images)
        files.append(replace(facts, hashes={"md5": hashlib.md5(path.read_bytes()).hexdigest()}))
    found.files = files
    return found


@pytest.mark.parametrize("name", NAMES)
def test_images_are_the_files_with_a_black_border(tmp_path, name) -> None:
    dataset = source(name, tmp_path).load(data_dir=tmp_path)
    images = dataset.images(range(12))[:, 0].numpy()
    assert np.array_equal(images[:, 2:30, 2:30], np.concatenate(PARTS))
    images[:, 2:30, 2:30] = 0
    assert not images.any()
    assert (dataset.factor_names, dataset.provenance, len(dataset)) == ((), "official", 12)
    check_dataset(dataset)


def test_a_later_start_needs_no_file(tmp_path) -> None:
    found = source("mnist", tmp_path)
    first = found.load(data_dir=tmp_path)
    for facts in found.files:
        (tmp_path / facts.name).unlink()
    again = found.load(data_dir=tmp_path)
    assert again.fingerprint == first.fingerprint
    assert np.array_equal(again.images([11]), first.images([11]))


def test_the_facts_of_the_published_files() -> None:
    for name in NAMES:
        assert len(MNIST(name).outline({})) == 70_000
        assert MNIST(name).outline({}).image_shape == (1, 32, 32)


def test_files_and_hashes_are_torchvisions() -> None:
    """A folder that torchvision has downloaded to can be read, and its reader gives the same pixels."""
    datasets = pytest.importorskip("torchvision.datasets.mnist")
    for name, theirs in (("mnist", datasets.MNIST), ("fashion_mnist", datasets.FashionMNIST)):
        known = dict(theirs.resources)
        bases = [base.rstrip("/") for base in theirs.mirrors]
        for facts in FILES[name]:
            path = Path(facts.name)
            assert facts.hashes == {"md5": known[path.name]}
            assert facts.url.removesuffix(f"/{path.name}") in bases
            assert path.parent == Path(theirs.__name__, "raw")


def test_torchvisions_reader_gives_the_same_images(tmp_path) -> None:
    datasets = pytest.importorskip("torchvision.datasets.mnist")
    idx_file(tmp_path / "images.gz", PARTS[0])
    (tmp_path / "images").write_bytes(gzip.decompress((tmp_path / "images.gz").read_bytes()))
    theirs = datasets.read_image_file(str(tmp_path / "images"))
    assert np.array_equal(np.concatenate(list(read(tmp_path / "images.gz", 7))), theirs.numpy())


def test_without_the_files_the_error_says_what_to_do(tmp_path) -> None:
    with pytest.raises(BenchError, match=r"bench data get mnist.*train-images-idx3-ubyte\.gz"):
        load_dataset("mnist", data_dir=tmp_path)


def test_a_file_with_another_hash_is_not_taken(tmp_path) -> None:
    found = source("mnist", tmp_path)
    path = tmp_path / found.files[1].name
    idx_file(path, PARTS[1] ^ 1)
    with pytest.raises(BenchError, match="damaged or another file"):
        found.load(data_dir=tmp_path)
    with pytest.raises(BenchError, match="damaged or another file"):
        get("mnist", tmp_path)


def test_torchvisions_older_files_are_not_looked_at(tmp_path) -> None:
    folder = tmp_path / "MNIST" / "processed"
    folder.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        (folder / name).write_bytes(b"\x80\x04no pickle is opened")
    assert len(source("mnist", tmp_path).load(data_dir=tmp_path)) == 12


FOREIGN = {
    "images of another size": random_images(7, 28, 32),
    "more images": random_images(8, 28, 28),
    "fewer images": random_images(6, 28, 28),
    "colours": random_images(7, 28, 28, 3),
    "labels": random_images(7),
}


@pytest.mark.parametrize("reason", FOREIGN)
def test_another_matrix_is_refused(tmp_path, reason) -> None:
    idx_file(tmp_path / "images.gz", FOREIGN[reason])
    with pytest.raises(BenchError, match=r"images\.gz"):
        list(read(tmp_path / "images.gz", 7))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content + b"\0", "goes on after its end"),
        (lambda content: content[:-1], "cannot be read"),
        (lambda content: b"\0\1" + content[2:], "is no matrix of bytes"),
        (lambda content: content[:2] + b"\x0d" + content[3:], "is no matrix of bytes"),
        (lambda content: b"", "cannot be read"),
    ],
)
def test_another_content_is_refused(tmp_path, change, message) -> None:
    path = tmp_path / "images.gz"
    idx_file(path, PARTS[0])
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))
    with pytest.raises(BenchError, match=message):
        list(read(path, 7))
