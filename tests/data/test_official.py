"""The loaders of the published files, on small files in their layouts whose hashes are passed explicitly."""

import hashlib
import re

import numpy as np
import pytest
import torch
from conftest import GENUINE
from small_files import LAYOUTS, arrays_of, facts_of, write

from disentangle_bench.data.layouts import DSPRITES_NPZ, read
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.official import FILES, check, listing, verify
from disentangle_bench.data.registered import DSprites, Shapes3D
from disentangle_bench.errors import BenchError

SOURCES = {"small.npz": DSprites, "small.hdf5": DSprites, "small.h5": Shapes3D}


@pytest.fixture(params=LAYOUTS)
def small(request, tmp_path):
    arrays = arrays_of(LAYOUTS[request.param])
    return write(tmp_path / request.param, arrays), arrays


def load(path, facts):
    source = SOURCES[path.name]()
    source.files = [facts]
    source.factor_sizes = tuple(len(values) for values in facts.layout.values)[-len(source.factor_names) :]
    return source.load(data_dir=path.parent)


def test_images_and_factors_are_the_files(small):
    path, arrays = small
    dataset = load(path, facts_of(path))
    layout = LAYOUTS[path.name]
    wanted = arrays[layout.image_key] * (255 // layout.largest)
    drawn = dataset.images(torch.arange(len(dataset))).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(drawn.reshape(wanted.shape), wanted)
    assert dataset.provenance == "official"
    values = [np.array(v) for v in layout.values if len(v) > 1 or path.suffix == ".h5"]
    factors = dataset.factors(torch.arange(len(dataset))).numpy()
    named = np.stack([v[factors[:, k]] for k, v in enumerate(values)], axis=1)
    assert np.allclose(named, arrays[layout.value_key][:, -named.shape[1] :])


def test_a_later_start_needs_no_file(small):
    path, _ = small
    facts = facts_of(path)
    first = load(path, facts)
    path.unlink()
    again = load(path, facts)
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.images([3, 1]), first.images([3, 1]))


def test_a_file_with_another_hash_is_not_official(small):
    path, _ = small
    facts = facts_of(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BenchError, match="damaged or another file"):
        load(path, facts)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["dsprites", "shapes3d"])
def test_without_the_file_the_error_says_what_to_do(tmp_path, name):
    with pytest.raises(BenchError, match=f"bench data get {name}.*{name}_rendered"):
        load_dataset(name, data_dir=tmp_path)


@pytest.mark.parametrize(
    "published", [f for known in FILES.values() for f in known if f.hashes], ids=lambda f: f.name
)
def test_a_rendered_file_never_passes_for_the_published_one(tmp_path, published):
    path = tmp_path / published.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"rendered")
    with pytest.raises(BenchError):
        check(path, published)


def test_a_part_of_the_published_file_is_refused(genuine):
    genuine("dsprites_official_layout_12.npz")
    with pytest.raises(BenchError, match=r"imgs is uint8 of shape \(12, 64, 64\)"):
        next(read(GENUINE / "dsprites_official_layout_12.npz", DSPRITES_NPZ))


def test_every_published_file_has_the_hashes_that_are_known():
    for name, known in FILES.items():
        for facts in known:
            if name in ("dsprites", "shapes3d"):
                assert {"sha256", "git-blob"} & set(facts.hashes)
                assert len(facts.hashes) >= 2
            elif not facts.by_hand:
                assert re.fullmatch("[0-9a-f]{32}", facts.hashes["md5"])
    md5 = {f.name: f.hashes["md5"] for known in FILES.values() for f in known if not f.by_hand}
    assert len(set(md5.values())) == len(md5)


def test_a_git_blob_hash_is_gits(tmp_path):
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    facts = facts_of_hello()
    check(path, facts)


def facts_of_hello():
    hashes = {
        "git-blob": "ce013625030ba8dba906f756967f9e9ca394464a",
        "md5": hashlib.md5(b"hello\n").hexdigest(),
    }
    return FILES["dsprites"][0].__class__("hello", "", LAYOUTS["small.npz"], hashes, 6)


def test_the_listing_tells_of_every_file(tmp_path):
    assert {entry.verified for entry in listing(tmp_path)} == {None}
    (tmp_path / "3dshapes.h5").write_bytes(b"no")
    (bad,) = verify("shapes3d", tmp_path)
    assert (bad.size, bad.verified) == (2, False)
    assert "267573662" in bad.reason
