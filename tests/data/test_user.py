"""Your own data: arrays in a file, images in a folder, full and partial factor tables."""

import os
import pickle
import random

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from disentangle_bench.data import user
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.data.user import user_source
from disentangle_bench.errors import BenchError
from disentangle_bench.registry import is_path

FULL = np.stack(np.unravel_index(np.arange(12), (2, 3, 2)), axis=1)
PICTURES = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return str(path)


def h5(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = array
    return str(path)


def folder(path, table: str, count: int = 12, side: int = 64):
    path.mkdir()
    for k in range(count):
        Image.fromarray(np.full((side, side, 3), 10 * k, np.uint8)).save(path / f"{k}.png")
    (path / "factors.csv").write_text(table)
    return str(path)


@pytest.mark.parametrize(("write", "name"), [(npz, "my.npz"), (h5, "my.h5"), (h5, "my.hdf5")])
def test_a_full_grid_from_a_file(tmp_path, write, name):
    path = write(tmp_path / name, images=PICTURES, factors=FULL * 5 - 2)
    dataset = load_dataset(path)
    assert dataset.full_grid
    assert (dataset.name, dataset.provenance) == (name, "user")
    assert dataset.factor_names == ("factor0", "factor1", "factor2")
    assert dataset.factor_sizes == (2, 3, 2)
    assert np.array_equal(dataset.images(torch.arange(12)).permute(0, 2, 3, 1).numpy(), PICTURES)


@pytest.mark.parametrize("write", [npz, h5])
def test_names_are_taken(tmp_path, write):
    names = np.array([b"colour", b"size", b"place"])
    path = tmp_path / ("my.npz" if write is npz else "my.h5")
    source = user_source(write(path, images=PICTURES, factors=FULL, factor_names=names))
    assert source.factor_names == ("colour", "size", "place")
    assert (source.factor_sizes, source.image_shape) == ((2, 3, 2), (3, 8, 8))


def test_a_full_grid_in_any_order_is_put_in_order(tmp_path):
    order = np.random.default_rng(2).permutation(12)
    shuffled = load_dataset(npz(tmp_path / "a.npz", images=PICTURES[order], factors=FULL[order]))
    straight = load_dataset(npz(tmp_path / "b.npz", images=PICTURES, factors=FULL))
    assert shuffled.full_grid
    assert shuffled.fingerprint == straight.fingerprint
    assert torch.equal(shuffled.images(torch.arange(12)), straight.images(torch.arange(12)))


@pytest.mark.parametrize("rows", [list(range(11)), [*range(12), 3], [4, 4, 0, 7]])
def test_a_partial_or_repeated_table_stays_as_it_is(tmp_path, rows):
    factors = FULL[rows]
    dataset = load_dataset(npz(tmp_path / "my.npz", images=PICTURES[rows], factors=factors))
    assert not dataset.full_grid
    assert len(dataset) == len(rows)
    everything = torch.arange(len(rows))
    numbered = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], axis=1)
    assert np.array_equal(dataset.factors(everything).numpy(), numbered)
    back = dataset.index(dataset.factors(everything))
    assert torch.equal(dataset.factors(back), dataset.factors(everything))
    with pytest.raises(IndexError):
        dataset.images([len(rows)])


def test_a_missing_combination_is_said(tmp_path):
    dataset = load_dataset(npz(tmp_path / "my.npz", images=PICTURES[:11], factors=FULL[:11]))
    with pytest.raises(IndexError, match="no image"):
        dataset.index([[1, 2, 1]])


def test_a_subgrid_of_a_partial_table(tmp_path):
    dataset = load_dataset(npz(tmp_path / "my.npz", images=PICTURES[:11], factors=FULL[:11]))
    part = subgrid(dataset, {"factor1": 2})
    assert part.factor_sizes == (2, 2, 2)
    assert len(part) == 7
    whole = dataset.index(part.factors(torch.arange(7)) * torch.tensor([1, 2, 1]))
    assert torch.equal(part.images(torch.arange(7)), dataset.images(whole))


@pytest.mark.parametrize(
    ("pictures", "shape"),
    [
        (PICTURES, (3, 8, 8)),
        (PICTURES.transpose(0, 3, 1, 2), (3, 8, 8)),
        (PICTURES[..., :1], (1, 8, 8)),
        (PICTURES[..., 0], (1, 8, 8)),
        (PICTURES[:, None, :, :, 0], (1, 8, 8)),
    ],
)
def test_channels_may_come_first_or_last_or_not_at_all(tmp_path, pictures, shape):
    dataset = load_dataset(npz(tmp_path / "my.npz", images=np.ascontiguousarray(pictures), factors=FULL))
    assert dataset.image_shape == shape
    assert np.array_equal(dataset.images([5])[0, 0].numpy(), PICTURES[5, :, :, 0])


def test_zeros_and_ones_are_black_and_white(tmp_path):
    dataset = load_dataset(npz(tmp_path / "my.npz", images=PICTURES // 128, factors=FULL))
    assert dataset.images(torch.arange(12)).unique().tolist() == [0, 255]


def test_a_folder_with_a_table(tmp_path):
    lines = [f"{k}.png,{['square', 'circle'][a]},{10.0 * b},{c}" for k, (a, b, c) in enumerate(FULL.tolist())]
    dataset = load_dataset(folder(tmp_path / "mine", "\n".join(["file,shape,size,place", *lines]), side=20))
    assert dataset.factor_names == ("shape", "size", "place")
    assert dataset.full_grid
    assert dataset.image_shape == (3, 64, 64)
    # Text is sorted as text: circles come first, though squares were listed first.
    assert dataset.images(dataset.index([[0, 0, 0], [1, 0, 0], [1, 2, 1]]))[:, 0, 0, 0].tolist() == [
        60,
        0,
        50,
    ]


def test_numbers_are_sorted_by_value(tmp_path):
    lines = [f"{k}.png,{value}" for k, value in enumerate([10, 9, 100])]
    dataset = load_dataset(folder(tmp_path / "mine", "\n".join(["file,size", *lines]), count=3))
    assert dataset.images(torch.arange(3))[:, 0, 0, 0].tolist() == [10, 0, 20]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "first line"),
        ("name,size\n0.png,1", "first line"),
        ("file,size", "names no factor or no image"),
        ("file\n0.png", "names no factor or no image"),
        ("file,size\n0.png", "row 2 has 1 entries"),
        ("file,size\n7.png,1", "not there"),
        ("file,size\n../mine/../../x.png,1", "outside"),
        ("file,size\n/etc/passwd,1", "outside"),
        ("file,size,size\n0.png,1,2", "different names"),
        ("file,size\nfactors.csv,1", "cannot be read as an image"),
    ],
)
def test_a_wrong_folder_is_refused(tmp_path, table, message):
    with pytest.raises(BenchError, match=message):
        load_dataset(folder(tmp_path / "mine", table, count=1))


def test_a_folder_without_a_table_is_refused(tmp_path):
    with pytest.raises(BenchError, match=r"factors\.csv cannot be read"):
        load_dataset(f"{tmp_path}/")


WRONG = {
    "no images": {"images": None},
    "no factors": {"factors": None},
    "floating point images beyond 1": {"images": PICTURES / 7},
    "images of 16 bits": {"images": PICTURES.astype(np.uint16) * 257},
    "images below 0": {"images": PICTURES.astype(np.int64) - 1},
    "images with a nan": {"images": np.where(PICTURES > 9, PICTURES / 255, np.nan)},
    "channels that may be either axis": {"images": np.zeros((12, 3, 8, 3), np.uint8)},
    "flat images": {"images": PICTURES.reshape(12, -1)},
    "four channels": {"images": np.zeros((12, 8, 8, 4), np.uint8)},
    "floating point factors": {"factors": FULL / 2},
    "one axis of factors": {"factors": FULL[:, 0]},
    "another number of factors": {"factors": FULL[:5]},
    "no image at all": {"images": PICTURES[:0], "factors": FULL[:0]},
    "no factor at all": {"factors": FULL[:, :0]},
    "too few names": {"factor_names": np.array([b"a"])},
    "the same name twice": {"factor_names": np.array([b"a", b"a", b"b"])},
}


@pytest.mark.parametrize("reason", WRONG)
@pytest.mark.parametrize("write", [npz, h5])
def test_a_wrong_file_is_refused(tmp_path, write, reason):
    arrays = {"images": PICTURES, "factors": FULL} | WRONG[reason]
    path = tmp_path / ("my.npz" if write is npz else "my.h5")
    write(path, **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(BenchError, match=r"my\."):
        load_dataset(str(path))


def test_a_pickle_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "boom"),)

    path = tmp_path / "my.npz"
    for key in ("images", "factors", "factor_names"):
        arrays = {"images": PICTURES, "factors": FULL, key: np.array([Bomb()] * 12, dtype=object)}
        np.savez(path, **arrays)
        with pytest.raises(BenchError, match="pickled"):
            load_dataset(str(path))
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BenchError):
        load_dataset(str(path))
    assert not (tmp_path / "boom").exists()


def test_more_than_fits_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(user, "LARGEST_BYTES", 1000)
    with pytest.raises(BenchError, match="at most 1000"):
        load_dataset(npz(tmp_path / "my.npz", images=PICTURES, factors=FULL))


@pytest.mark.parametrize("write", [npz, h5])
def test_damaged_files_never_crash(tmp_path, write):
    path = tmp_path / ("my.npz" if write is npz else "my.h5")
    write(path, images=PICTURES, factors=FULL)
    original = path.read_bytes()
    for case in range(100):
        chance = random.Random(f"{path.name} {case}")
        damaged = bytearray(original)
        for _ in range(chance.choice([1, 3, 9])):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged[: chance.choice([None, None, chance.randrange(len(damaged))])])
        try:
            dataset = load_dataset(str(path))
        except BenchError:
            continue
        assert dataset.images(torch.arange(len(dataset))).dtype == torch.uint8


def test_what_is_a_path():
    assert all(is_path(name) for name in ("a.npz", "b/c.h5", "./mine", "/x/y", "d.hdf5"))
    assert not any(is_path(name) for name in ("dsprites", "my_module:SOURCE", "shapes3d_rendered"))
