"""Your own data: arrays in a file, images in a folder, full and partial factor tables."""

import os
import pickle
import random

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from disentangle_bench.data import image_folder, user
from disentangle_bench.data.contact_sheet import captions, sweep
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.subgrid import subgrid
from disentangle_bench.data.user import UserSource
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
    source = UserSource(write(path, images=PICTURES, factors=FULL, factor_names=names))
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


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["1", "2", "", "1"], r"row 4 \(2.png\) has nothing for 'size'"),
        (["red", "  ", "blue", "red"], r"row 3 \(1.png\) has nothing"),
        (["1", "nan", "3", "1"], r"row 3 \(1.png\) has 'nan'"),
        (["red", "blue", "red", "None"], r"row 5 \(3.png\) has 'None'"),
        (["1", "2", "NULL", "1"], "row 4"),
        (["1", "2", "-inf", "1"], "row 4"),
    ],
)
def test_a_missing_label_is_refused_by_its_row(tmp_path, entries, message):
    table = "\n".join(["file,size,kind", *(f"{k}.png,{entry},{k % 2}" for k, entry in enumerate(entries))])
    with pytest.raises(BenchError, match=message):
        load_dataset(folder(tmp_path / "mine", table))


@pytest.mark.parametrize(
    ("first", "row"),
    [
        ("index,file,size", "{k},{k}.png,{s}"),
        ("file,ID,size", "{k}.png,{k},{s}"),
        ("Unnamed: 0,file,size", "{k},{k}.png,{s}"),
        (",file,size", "{k},{k}.png,{s}"),
        ("file,id", "{k}.png,{k}"),
    ],
)
def test_an_index_column_is_refused_by_name(tmp_path, first, row):
    table = "\n".join([first, *(row.format(k=k, s=k % 2) for k in range(4))])
    with pytest.raises(BenchError, match=r"to_csv\(index=False\)"):
        load_dataset(folder(tmp_path / "mine", table))


def test_fractions_that_make_a_grid_are_labels(tmp_path):
    table = "\n".join(
        ["file,scale,turn", *(f"{k}.png,{0.5 + 0.25 * (k % 3)},{k // 3 * 0.1}" for k in range(12))]
    )
    dataset = load_dataset(folder(tmp_path / "mine", table))
    assert (dataset.factor_sizes, dataset.full_grid) == ((3, 4), True)


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_another_separator_is_named(tmp_path, separator, word):
    table = f"file{separator}size\n0.png{separator}1"
    with pytest.raises(BenchError, match=f"separated by {word} there and must be separated by commas"):
        load_dataset(folder(tmp_path / "mine", table, count=1))


def test_numbers_within_text_are_sorted_by_value(tmp_path):
    entries = ["100px", "9px", "small", "10px", "7", "12.5"]
    table = "\n".join(["file,size", *(f"{k}.png,{entry}" for k, entry in enumerate(entries))])
    dataset = load_dataset(folder(tmp_path / "mine", table))
    assert dataset.labels == {"size": ("7", "12.5", "9px", "10px", "100px", "small")}
    assert dataset.images(torch.arange(6))[:, 0, 0, 0].tolist() == [40, 50, 10, 30, 0, 20]


def test_whole_numbers_of_a_table_stay_apart(tmp_path):
    table = "\n".join(["file,id_of_shape,size", *(f"{k}.png,{2**53 + k % 4},{k // 4}" for k in range(12))])
    assert load_dataset(folder(tmp_path / "mine", table)).factor_sizes == (4, 3)


def test_labels_keep_their_names(tmp_path):
    table = "\n".join(
        ["file,shape,size", *(f"{k}.png,{['square', 'heart', 'disc'][k % 3]},{k // 3}" for k in range(12))]
    )
    dataset = load_dataset(folder(tmp_path / "mine", table))
    assert dataset.labels["shape"] == ("disc", "heart", "square")
    assert captions(dataset, sweep(dataset, 0), 0) == ["disc", "heart", "square"]
    assert captions(dataset, sweep(dataset, 1), 1) == ["0", "1", "2", "3"]
    part = subgrid(dataset, {"shape": 2})
    assert part.labels["shape"] == ("disc", "square")
    other = table.replace("disc", "dot")
    assert load_dataset(folder(tmp_path / "other", other)).fingerprint != dataset.fingerprint


def pictures(path, mode_of, suffix="png"):
    """A folder of three grey images, 10, 100 and 200, each made by `mode_of` from its level."""
    path.mkdir()
    for k, level in enumerate((10, 100, 200)):
        mode_of(level).save(path / f"{k}.{suffix}")
    (path / "factors.csv").write_text("\n".join(["file,level", *(f"{k}.{suffix},{k}" for k in range(3))]))
    return str(path)


def plain(level):
    return Image.fromarray(np.full((20, 20), level, np.uint8))


def array(level, dtype, factor=1):
    return Image.fromarray((np.full((20, 20), level) * factor).astype(dtype))


def half_transparent(level):
    image = plain(level).convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.uint8([[0], [255]]), 10, axis=0).repeat(20, axis=1)))
    return image


KEPT = {
    "L": (plain, "png"),
    "P": (lambda level: plain(level).convert("P"), "png"),
    "LA": (lambda level: plain(level).convert("LA"), "png"),
    "RGBA": (lambda level: plain(level).convert("RGBA"), "png"),
    "16 bits": (lambda level: array(level, np.uint16, 257), "png"),
    "16 bits in TIFF": (lambda level: array(level, np.uint16, 257), "tif"),
}


@pytest.mark.parametrize("kind", KEPT)
def test_image_files_keep_their_levels(tmp_path, kind):
    mode_of, suffix = KEPT[kind]
    dataset = load_dataset(pictures(tmp_path / "mine", mode_of, suffix))
    assert dataset.images(torch.arange(3)).float().mean((1, 2, 3)).tolist() == [10, 100, 200]


LOST = {
    "F": (lambda level: array(level, np.float32, 1 / 255), "tif", "mode F"),
    "I": (lambda level: array(level, np.int32, 1000), "tif", "mode I"),
    "CMYK": (lambda level: plain(level).convert("CMYK"), "jpg", "mode CMYK"),
    "alpha": (half_transparent, "png", "transparent pixels"),
    "16 bits of which 8 are used": (lambda level: array(level, np.uint16), "png", "no level above 200"),
}


@pytest.mark.parametrize("kind", LOST)
def test_image_files_that_would_lose_are_refused(tmp_path, kind):
    mode_of, suffix, message = LOST[kind]
    with pytest.raises(BenchError, match=message):
        load_dataset(pictures(tmp_path / "mine", mode_of, suffix))


def test_a_file_of_several_images_is_refused(tmp_path):
    path = pictures(tmp_path / "mine", plain, "gif")
    plain(0).save(f"{path}/1.gif", save_all=True, append_images=[plain(255)])
    with pytest.raises(BenchError, match=r"1\.gif holds 2 images"):
        load_dataset(path)


def test_a_folder_without_a_table_or_an_image_is_refused(tmp_path):
    with pytest.raises(BenchError, match=r"holds no image file .*can be listed in factors\.csv"):
        load_dataset(f"{tmp_path}/")
    for name in ("nowhere", "x" * 300):
        with pytest.raises(BenchError, match=f"there is no folder .*{name}"):
            load_dataset(f"{tmp_path}/{name}/")


@pytest.mark.parametrize("name", ["mine.npy", "mine.pkl", "mine.txt"])
def test_a_file_of_another_kind_is_refused_with_the_kinds_that_are_read(tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"anything")
    monkeypatch.chdir(tmp_path)
    for path in (name, f"{tmp_path}/{name}"):
        with pytest.raises(BenchError, match=r"mine\.\w+ is neither a folder .*\.npz, \.h5"):
            load_dataset(path)


@pytest.mark.parametrize("write", [npz, h5])
@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float32, np.float64])
def test_bytes_in_another_type_are_the_same_bytes(tmp_path, write, dtype):
    path = tmp_path / ("my.npz" if write is npz else "my.h5")
    dataset = load_dataset(write(path, images=PICTURES.astype(dtype), factors=FULL))
    assert np.array_equal(dataset.images(torch.arange(12)).permute(0, 2, 3, 1).numpy(), PICTURES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_from_0_to_1_are_256_levels(tmp_path, dtype):
    dataset = load_dataset(npz(tmp_path / "a.npz", images=(PICTURES / 255).astype(dtype), factors=FULL))
    assert np.array_equal(dataset.images(torch.arange(12)).permute(0, 2, 3, 1).numpy(), PICTURES)
    # They are not taken for black and white, as bytes of 0 and 1 would be.
    dark = UserSource(npz(tmp_path / "b.npz", images=np.full((12, 8, 8), 0.004, dtype), factors=FULL))
    assert dark.load(data_dir=tmp_path).images([0]).unique().tolist() == [1]


@pytest.mark.parametrize("write", [npz, h5])
@pytest.mark.parametrize(("first", "dtype"), [(2**53, np.int64), (2**63, np.uint64), (-(2**63), np.int64)])
def test_large_whole_numbers_stay_apart(tmp_path, write, first, dtype):
    ids = [first + k for k in (3, 2, 1, 0)]
    factors = np.array([[a, b] for a in ids for b in (0, 1, 2)], dtype)
    path = tmp_path / ("my.npz" if write is npz else "my.h5")
    dataset = load_dataset(write(path, images=PICTURES, factors=factors))
    assert (dataset.factor_sizes, dataset.full_grid) == ((4, 3), True)
    # The largest number was listed first.
    assert np.array_equal(dataset.images([9])[0].permute(1, 2, 0).numpy(), PICTURES[0])


def test_arrays_that_are_stored_column_by_column(tmp_path):
    straight = load_dataset(npz(tmp_path / "a.npz", images=PICTURES, factors=FULL))
    turned = {"images": np.asfortranarray(PICTURES), "factors": np.asfortranarray(FULL)}
    assert load_dataset(npz(tmp_path / "b.npz", **turned)).fingerprint == straight.fingerprint


def test_a_table_of_many_attributes_is_no_grid(tmp_path):
    attributes = np.random.default_rng(3).integers(0, 2, (200, 64))
    attributes[17] = attributes[5]
    path = npz(tmp_path / "my.npz", images=np.zeros((200, 8, 8), np.uint8), factors=attributes)
    dataset = load_dataset(path)
    assert (dataset.factor_sizes, dataset.full_grid) == ((2,) * 64, False)
    assert dataset.index(attributes[[3, 17, 199]]).tolist() == [3, 5, 199]
    with pytest.raises(IndexError, match="no image"):
        dataset.index(1 - attributes[[3]])


@pytest.mark.parametrize("factors", [FULL > 0, FULL.astype(">i2"), FULL.astype(np.uint8)])
def test_whole_numbers_of_any_type_are_labels(tmp_path, factors):
    dataset = load_dataset(npz(tmp_path / "my.npz", images=PICTURES, factors=factors))
    everything = dataset.factors(torch.arange(12))
    assert np.array_equal(everything.numpy(), factors.astype(np.int64))


WRONG = {
    "no images": {"images": None},
    "factors by another name": {"factors": None, "factor": FULL},
    "names of no factors": {"factors": None, "factor_names": np.array([b"a", b"b", b"c"])},
    "labelled, but no factors": {"factors": None, "labelled": np.arange(12)},
    "nothing at all": {"images": PICTURES[:0], "factors": None},
    "images that are not there": {"labelled": np.arange(1, 13)},
    "an image below the first": {"labelled": np.arange(-1, 11)},
    "an image twice": {"labelled": np.array([0, *range(11)])},
    "factors of more than are labelled": {"labelled": np.arange(11)},
    "labelled as numbers with a point": {"labelled": np.arange(12.0)},
    "labelled as a table": {"labelled": np.arange(12)[:, None]},
    "labelled, but none": {"factors": FULL[:0], "labelled": np.arange(0)},
    "floating point images beyond 1": {"images": PICTURES / 7},
    "images of 16 bits": {"images": PICTURES.astype(np.uint16) * 257},
    "images below 0": {"images": PICTURES.astype(np.int64) - 1},
    "images with a nan": {"images": np.where(PICTURES > 9, PICTURES / 255, np.nan)},
    "channels that may be either axis": {"images": np.zeros((12, 3, 8, 3), np.uint8)},
    "flat images": {"images": PICTURES.reshape(12, -1)},
    "four channels": {"images": np.zeros((12, 8, 8, 4), np.uint8)},
    "a nan among the factors": {"factors": FULL * np.nan},
    "a column that numbers the images": {"factors": np.c_[np.arange(12) * 7, FULL]},
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


def test_more_factors_than_fit_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "my.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (10**9, 1, 1), np.uint8, chunks=(1000, 1, 1))
        file.create_dataset("factors", (10**9, 2), np.int64, chunks=(1000, 2))
    with pytest.raises(BenchError, match=r"at most 134217728 values|are not unpacked"):
        load_dataset(str(path))


def test_a_table_with_rows_for_images_without_factors_must_fit_too(tmp_path):
    path = tmp_path / "my.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (10**9, 1, 1), np.uint8, chunks=(1000, 1, 1))
        file["factors"], file["labelled"] = np.arange(4).reshape(2, 2), [0, 1]
    with pytest.raises(BenchError, match=r"at most 134217728 values|are not unpacked"):
        load_dataset(str(path))


def test_more_than_fits_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(user, "LARGEST_BYTES", 1000)
    with pytest.raises(BenchError, match="at most 1000"):
        load_dataset(npz(tmp_path / "my.npz", images=PICTURES, factors=FULL))


SOME = {"factors": FULL[:7], "labelled": np.arange(3, 10)}


@pytest.mark.parametrize("factors", [{"factors": FULL}, SOME, {}], ids=["all", "some", "none"])
@pytest.mark.parametrize("write", [npz, h5])
def test_damaged_files_never_crash(tmp_path, write, factors):
    path = tmp_path / ("my.npz" if write is npz else "my.h5")
    write(path, images=PICTURES, **factors)
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


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0.png,0"] * 20, "lists more than 13 images, which is how many files the folder holds"),
        ([""] * 300 + ["0.png," + "9" * 70_000], "has a line of more than 65536 characters"),
        (["", "0.png," + "9" * 500] * 100, "has more than 40000 characters"),
        (["x" * 300 + ".png,0"], "which is not there"),
    ],
)
def test_a_table_of_more_than_the_folder_holds(tmp_path, monkeypatch, lines, message):
    monkeypatch.setattr(image_folder, "LARGEST_TABLE", 40_000 if "40000" in message else 1 << 28)
    path = folder(tmp_path / "mine", "\n".join(["file,level", *lines]))
    if "40000" in message:
        for k in range(100):
            (tmp_path / "mine" / f"more{k}").touch()
    with pytest.raises(BenchError, match=message) as found:
        UserSource(path)
    assert "factors.csv" in str(found.value)


def test_a_table_without_end_is_not_read(tmp_path):
    path = folder(tmp_path / "mine", "")
    (tmp_path / "mine" / "factors.csv").unlink()
    (tmp_path / "mine" / "factors.csv").symlink_to("/dev/zero")
    with pytest.raises(BenchError, match="no plain file"):
        UserSource(path)


@pytest.mark.parametrize("name", ["mine.npz", "mine.h5", "mine/factors.csv"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    (tmp_path / "mine").mkdir()
    os.mkfifo(tmp_path / name)
    with pytest.raises(BenchError, match="is no plain file"):
        UserSource(tmp_path / name.removesuffix("/factors.csv"))
