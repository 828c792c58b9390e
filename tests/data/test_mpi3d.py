"""MPI3D: files of its layout are mapped where their images lie, hashed once, and refused where they differ."""

import json
import os
import zipfile

import numpy as np
import pytest
import torch
from published_files import random_images, small_mpi3d, sparse_npz

from disentangle_bench.data import checked_once, registered
from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.download import get
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.mpi3d import mapped
from disentangle_bench.data.official import FILES, MPI3D_BYTES, FileFacts, status
from disentangle_bench.errors import BenchError

NAME = "real3d_complicated_shapes_ordered.npz"


@pytest.fixture
def images():
    return random_images(48, 64, 64, 3)


@pytest.fixture
def path(tmp_path, images):
    np.savez(tmp_path / NAME, images=images)
    return tmp_path / NAME


def test_images_and_factors_are_the_files(path, images) -> None:
    dataset = small_mpi3d().load(data_dir=path.parent)
    found = dataset.images(range(48)).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(found, images)
    # The last factor is the fastest; 48 = 2 * 1 * 2 * 2 * 1 * 2 * 3.
    assert dataset.factors([0, 1, 3, 6, 12, 24]).tolist() == [
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0],
    ]
    assert dataset.provenance == "official"
    assert torch.equal(dataset.to("cpu").images([47]), dataset.images([47]))
    check_dataset(dataset)


def test_the_images_stay_in_the_file(path, images) -> None:
    array = mapped(path, images.shape)
    array[0] = 0
    assert np.array_equal(np.load(path)["images"], images)


def test_a_file_of_full_size_is_laid_out_as_numpy_does_it(tmp_path) -> None:
    """The published number of bytes is that of the array in numpy's own archive: nothing is compressed."""
    path = tmp_path / "mpi3d_toy.npz"
    place = sparse_npz(path, 1_036_800)
    assert path.stat().st_size == MPI3D_BYTES
    with path.open("r+b") as file:
        file.seek(place + 1_036_799 * 64 * 64 * 3)
        file.write(b"\x01\x02\x03")
    array = mapped(path, (1_036_800, 64, 64, 3))
    assert array[-1, 0, 0].tolist() == [1, 2, 3]
    assert not array[-1, 0, 1:].any()


def test_the_facts_of_the_published_files() -> None:
    assert len(registered.MPI3D_TOY.outline({})) == 1_036_800
    assert len(registered.MPI3D_REAL_COMPLEX.outline({})) == 460_800
    assert registered.MPI3D_REAL.factor_sizes == (6, 6, 2, 3, 3, 40, 40)


def test_it_is_hashed_once_and_again_when_it_changes(path) -> None:
    seen: list[str] = []

    def load():
        seen.clear()
        return small_mpi3d().load(data_dir=path.parent, notify=lambda what, done, total: seen.append(what))

    first = load()
    assert seen
    assert load().fingerprint == first.fingerprint
    assert not seen
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    assert load().fingerprint != first.fingerprint
    assert seen


def test_where_no_record_can_be_kept_it_is_hashed_at_every_start(path, monkeypatch) -> None:
    def refuse(*_):
        raise OSError("read-only")

    fingerprint = small_mpi3d().load(data_dir=path.parent).fingerprint
    path.with_name(f"{NAME}.checked.json").unlink()
    monkeypatch.setattr(checked_once, "write_text", refuse)
    with pytest.warns(UserWarning, match=r"cannot be written \(read-only\).*hashed at every start"):
        assert small_mpi3d().load(data_dir=path.parent).fingerprint == fingerprint


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"stamp": 1}', "\0", "fingerprint"])
def test_a_damaged_record_is_made_again(path, record) -> None:
    fingerprint = small_mpi3d().load(data_dir=path.parent).fingerprint
    kept = path.with_name(f"{NAME}.checked.json")
    if record == "fingerprint":
        record = json.dumps(json.loads(kept.read_text()) | {"fingerprint": 3})
    kept.write_text(record)
    assert small_mpi3d().load(data_dir=path.parent).fingerprint == fingerprint
    assert json.loads(kept.read_text())["fingerprint"] == fingerprint


def test_a_file_with_another_hash_is_not_official(path) -> None:
    source = small_mpi3d()
    source.files = [FileFacts(NAME, "https://example.org/", hashes={"md5": "0" * 32})]
    with pytest.raises(BenchError, match=r"damaged or another file.*move it away and get that one"):
        source.load(data_dir=path.parent)
    assert not path.with_name(f"{NAME}.checked.json").exists()


def test_another_size_is_refused_before_anything_is_read(tmp_path) -> None:
    sparse_npz(tmp_path / "mpi3d_toy.npz", 1_036_799)
    with pytest.raises(BenchError, match="has 12740186474 bytes, the published file has 12740198762"):
        load_dataset("mpi3d_toy", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[:-1], r"uint8 of shape \(47, 64, 64, 3\), not uint8 of shape \(48,"),
        (lambda a: a[:, :32], r"not uint8 of shape"),
        (lambda a: a.transpose(0, 3, 1, 2), r"not uint8 of shape"),
        (lambda a: a.view(np.int8), r"images is int8"),
        (lambda a: a.astype(np.float32), r"images is float32"),
        (lambda a: np.asfortranarray(a), "column by column"),
        (lambda a: np.array([None] * 48), "pickled"),
    ],
)
def test_other_arrays_are_refused(path, images, change, message) -> None:
    np.savez(path, images=change(images))
    with pytest.raises(BenchError, match=message):
        small_mpi3d().load(data_dir=path.parent)


def test_a_compressed_file_is_refused_with_what_to_do(path, images) -> None:
    np.savez_compressed(path, images=images)
    with pytest.raises(BenchError, match=r"compressed.*save it again without: numpy.savez"):
        small_mpi3d().load(data_dir=path.parent)
    np.savez(path, images=np.load(path)["images"])
    small_mpi3d().load(data_dir=path.parent)


def test_a_file_without_images_is_refused(path, images) -> None:
    np.savez(path, imgs=images)
    with pytest.raises(BenchError, match="has no array 'images'"):
        small_mpi3d().load(data_dir=path.parent)
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(BenchError, match="has no array 'images'"):
        small_mpi3d().load(data_dir=path.parent)


def test_without_the_file_the_error_says_what_to_do(tmp_path) -> None:
    with pytest.raises(BenchError, match=r"`bench data get mpi3d_toy` downloads them.*mpi3d_toy\.npz"):
        load_dataset("mpi3d_toy", data_dir=tmp_path)
    with pytest.raises(BenchError, match=rf"by hand from https://drive\.google.*{NAME} is there"):
        load_dataset("mpi3d_real_complex", data_dir=tmp_path)
    with pytest.raises(BenchError, match=rf"by hand from https://drive.*{NAME} is there"):
        get("mpi3d_real_complex", tmp_path)


def test_a_file_without_a_published_hash_is_not_called_verified(path) -> None:
    (facts,) = FILES["mpi3d_real_complex"]
    found = status("mpi3d_real_complex", facts, path.parent)
    assert (found.verified, found.hashed) == (True, False)
