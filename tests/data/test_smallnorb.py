"""SmallNORB: files of its layout become one data set in the order of its factors, and are refused where they differ."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from published_files import FEW_TOYS, norb_arrays, norb_files, norb_matrix

from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.download import get
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.official import FILES, FileFacts
from disentangle_bench.data.registered import SmallNORB
from disentangle_bench.data.smallnorb import read, resized
from disentangle_bench.errors import BenchError


def source(paths) -> SmallNORB:
    found = SmallNORB()
    found.factor_sizes, found.labels = FEW_TOYS, {}
    found.files = [
        FileFacts(p.name, "", hashes={"md5": hashlib.md5(p.read_bytes()).hexdigest()}) for p in paths
    ]
    return found


def test_images_and_factors_are_the_files(tmp_path) -> None:
    pairs, factors = norb_arrays()
    given = source(norb_files(tmp_path, pairs, factors))
    dataset = given.load(data_dir=tmp_path)
    assert len(dataset) == 48
    for pair, values in zip(pairs, factors, strict=True):
        image = dataset.images(dataset.index([values.tolist()]))[0, 0].numpy()
        assert np.array_equal(image, resized(pair[0]))
    assert dataset.provenance == "official"
    check_dataset(dataset)
    for facts in given.files:
        (tmp_path / facts.name).unlink()
    assert given.load(data_dir=tmp_path).fingerprint == dataset.fingerprint


def test_images_are_resized_as_the_2019_study_did_it_but_cut_to_bytes() -> None:
    flat = np.full((96, 96), 200, np.uint8)
    assert (resized(flat) == 200).all()
    edge = np.zeros((96, 96), np.uint8)
    edge[:, 48:] = 255
    # The study gave Pillow signed bytes, which it takes for 0..255 in a mode of 32 bits.
    theirs = np.asarray(Image.fromarray(edge.view(np.int8)).resize((64, 64), Image.Resampling.LANCZOS))
    assert theirs.min() < 0
    assert theirs.max() > 255
    assert np.array_equal(resized(edge), theirs.clip(0, 255))


def test_the_facts_of_the_published_files() -> None:
    assert len(SmallNORB().outline({})) == 48_600 == 2 * 24_300
    assert [facts.name.split("-")[-2:] for facts in FILES["smallnorb"]] == [
        [part, f"{what}.mat.gz"] for part in ("training", "testing") for what in ("dat", "cat", "info")
    ]


def test_without_one_of_its_files_the_error_names_it(tmp_path) -> None:
    paths = norb_files(tmp_path, *norb_arrays())
    given = source(paths)
    paths[4].unlink()
    with pytest.raises(BenchError, match=rf"`bench data get smallnorb` downloads them.*put {paths[4].name}"):
        given.load(data_dir=tmp_path)
    with pytest.raises(BenchError, match="put smallnorb-5x46789"):
        load_dataset("smallnorb", data_dir=tmp_path / "none")


def test_one_file_with_another_hash_is_refused(tmp_path) -> None:
    paths = norb_files(tmp_path, *norb_arrays())
    given = source(paths)
    paths[5].write_bytes(paths[2].read_bytes())
    with pytest.raises(BenchError, match=f"{paths[5].name} is damaged or another file"):
        given.load(data_dir=tmp_path)


def test_a_mirror_of_six_files_is_a_folder(tmp_path) -> None:
    with pytest.raises(BenchError, match="smallnorb has 6 files: the mirror must be the address of a folder"):
        get("smallnorb", tmp_path, mirror="http://127.0.0.1:9/file")


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, lambda a: a[:-1], r"has the shape \(23, 2, 96, 96\), not \(24, 2, 96, 96\)"),
        (0, lambda a: a[:, :1], "has the shape"),
        (0, lambda a: a[:, 0], "is no matrix of uint8 in 4 dimensions"),
        (0, lambda a: a.astype(np.int32), "is no matrix of uint8"),
        (1, lambda a: a.astype(np.float32), "is no matrix of int32"),
        (1, lambda a: a[:, None].repeat(2, axis=1), "is no matrix of int32 in 1 dimensions"),
        (1, lambda a: 1 - a // 2, "do not list every combination of factors once"),
        (1, lambda a: a + 1, "which SmallNORB does not have"),
        (2, lambda a: a - 1, "which SmallNORB does not have"),
        (2, lambda a: a * [[1, 1, 2, 1]], "which SmallNORB does not have"),
        (2, lambda a: np.add(a, [[0, 0, 1, 0]]), "which SmallNORB does not have"),
        (2, lambda a: a[:, ::-1], "which SmallNORB does not have"),
        (2, lambda a: a * [[0, 1, 1, 1]], "do not list every combination of factors once"),
    ],
)
def test_other_content_is_refused(tmp_path, number, change, message) -> None:
    pairs, factors = norb_arrays()
    paths = norb_files(tmp_path, pairs, factors)
    chosen = factors[:, 1] == 1
    stored = factors[chosen] * np.array([1, 1, 1, 2, 1], np.int32)
    whole = (pairs[chosen], stored[:, 0], stored[:, 1:])[number]
    changed = change(whole)
    norb_matrix(
        paths[number],
        np.ascontiguousarray(changed.astype(np.int32) if changed.dtype == np.int64 else changed),
    )
    with pytest.raises(BenchError, match=message):
        read(paths, FEW_TOYS)


def test_what_is_no_matrix(tmp_path) -> None:
    paths = norb_files(tmp_path, *norb_arrays())
    for rubbish in (b"", b"rubbish", b"\x1f\x8b" + bytes(100)):
        paths[0].write_bytes(rubbish)
        with pytest.raises(BenchError, match=paths[0].name):
            read(paths, FEW_TOYS)
    paths[0].unlink()
    with pytest.raises(BenchError, match="there is no file"):
        read(paths, FEW_TOYS)
