"""Mirrors of data sets: Parquet files as on the Hugging Face Hub, TFRecord files as of TensorFlow Datasets."""

import random

import numpy as np
import pytest
import tiny_data
import torch
from mirror_files import png, rows_of, write_parquet, write_tfrecord

from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.tfrecord_images import example
from disentangle_bench.data.user import UserSource
from disentangle_bench.errors import BenchError

SQUARES = tiny_data.squares()
# In an order that is not that of the factors.
ORDER = np.random.default_rng(3).permutation(48)
IMAGES, FACTORS = SQUARES.images(ORDER).numpy(), SQUARES.factors(ORDER).numpy()
ROWS = rows_of(IMAGES, FACTORS, SQUARES.factor_names)


def hub(folder, rows=ROWS, **options):
    """A folder of the Hub with two files; its path as a user gives it."""
    half = len(rows) // 2
    write_parquet(folder / "data" / "train-00000-of-00002.parquet", rows[:half], row_group_size=7, **options)
    write_parquet(folder / "data" / "train-00001-of-00002.parquet", rows[half:], **options)
    (folder / "README.md").write_text("a data set")
    return f"{folder}/"


def one_file(folder, rows=ROWS):
    return str(write_parquet(folder / "squares.parquet", rows, image_type="bytes"))


def tfds(folder, rows=ROWS):
    """A folder of TensorFlow Datasets with two files."""
    for k, part in enumerate((rows[:20], rows[20:])):
        write_tfrecord(folder / "1.0.0" / f"squares-train.tfrecord-{k:05}-of-00002", part)
    (folder / "1.0.0" / "features.json").write_text("{}")
    (folder / "1.0.0" / "dataset_info.json").write_text("{}")
    return f"{folder}/1.0.0"


LAYOUTS = [hub, one_file, tfds]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mirror_is_the_data_set_again(tmp_path, layout):
    found = load_dataset(layout(tmp_path / "mirror"))
    names = [found.factor_names.index(name) for name in SQUARES.factor_names]
    assert sorted(found.factor_names) == sorted(SQUARES.factor_names)
    assert found.full_grid
    assert (found.provenance, found.image_shape) == ("user", (1, 16, 16))
    factors = torch.empty(48, 3, dtype=torch.int64)
    factors[:, names] = SQUARES.factors(range(48))
    assert torch.equal(found.images(found.index(factors)), SQUARES.images(range(48)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_black_and_white_are_kept_as_0_and_1_and_colours_as_they_are(tmp_path, layout):
    sprites = (IMAGES > 0).astype(np.uint8)
    found = load_dataset(layout(tmp_path / "mirror", rows_of(sprites, FACTORS, SQUARES.factor_names)))
    assert set(found.images(range(48)).unique().tolist()) == {0, 255}
    colours = np.repeat(IMAGES, 3, 1) // np.array([1, 2, 3], np.uint8)[:, None, None]
    found = load_dataset(layout(tmp_path / "colours", rows_of(colours, FACTORS, ("row", "column", "light"))))
    assert found.image_shape == (3, 16, 16)
    values = np.stack([FACTORS[:, ("row", "column", "light").index(name)] for name in found.factor_names], 1)
    assert np.array_equal(found.images(found.index(values)).numpy(), colours)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_columns_may_be_text_and_a_second_image_is_left_out(tmp_path, layout):
    rows = [
        {
            "image": row["image"],
            "image2": row["image"],
            "size": f"size {row['label_row'] * 5}",
            "hue": row["label_column"],
        }
        for row in ROWS
        if row["label_light"] == 0
    ]
    found = load_dataset(layout(tmp_path / "mirror", rows))
    assert sorted(found.factor_names) == ["hue", "size"]
    assert found.labels["size"] == ("size 0", "size 5", "size 10", "size 15")
    assert found.full_grid


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mirror_may_be_images_alone(tmp_path, layout):
    found = load_dataset(layout(tmp_path / "mirror", [{"image": row["image"]} for row in ROWS]))
    assert (found.factor_names, len(found)) == ((), 48)
    assert np.array_equal(found.images(range(48)).numpy(), IMAGES)


def changed(**values):
    return [{**ROWS[0], **values}, *ROWS[1:]]


WRONG = {
    "another size": (
        changed(image=png(np.zeros((1, 16, 17), np.uint8))),
        "row 1 is an image .* all must have one size",
    ),
    "no images": (
        [{name: value for name, value in row.items() if name != "image"} for row in ROWS],
        "no column of image",
    ),
    "two images": (
        [{"left": row["image"], "right": row["image"], "label_row": row["label_row"]} for row in ROWS],
        "2 columns of image files .*one must be called 'image'",
    ),
    "a broken image": (changed(image=ROWS[0]["image"][:60]), "row 0 cannot be read as an image"),
    "an animation": (changed(image=b"GIF89a" + bytes(60)), "is no PNG or JPEG|no column of image"),
    "numbered rows": ([{**row, "id": k} for k, row in enumerate(ROWS)], "'id' has a value of its own"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_table_is_refused(tmp_path, layout, wrong):
    rows, message = WRONG[wrong]
    with pytest.raises(BenchError, match=message):
        load_dataset(layout(tmp_path / "mirror", rows))


def test_transparent_images_are_refused(tmp_path):
    clear = png(np.zeros((4, 16, 16), np.uint8))
    with pytest.raises(BenchError, match="mode RGBA that may be transparent"):
        load_dataset(one_file(tmp_path, changed(image=clear)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, *range(47)], "no value in some rows"),
        ([[1, 2]] * 48, r"'more' holds list<.*leave it out"),
        ([float("nan"), *np.arange(47) % 3], "has nan for 'more'"),
    ],
)
def test_a_column_that_is_no_factor_is_refused(tmp_path, values, message):
    path = one_file(tmp_path, [{**row, "more": value} for row, value in zip(ROWS, values, strict=True)])
    with pytest.raises(BenchError, match=message):
        load_dataset(path)


def test_files_of_a_folder_must_have_the_same_columns(tmp_path):
    folder = hub(tmp_path / "mirror")
    write_parquet(tmp_path / "mirror" / "data" / "zzz.parquet", [{"image": ROWS[0]["image"], "hue": 1}])
    with pytest.raises(BenchError, match=r"zzz.parquet has the columns image, hue, .*must have the same"):
        load_dataset(folder)


@pytest.mark.parametrize(("declared", "found"), [(47, "more"), (49, "48")])
def test_a_file_that_has_other_rows_than_it_declares_is_refused(tmp_path, declared, found):
    """No image is made of memory that nothing was written to."""
    source = UserSource(one_file(tmp_path))
    source.content.rows = declared
    with pytest.raises(BenchError, match=f"declares {declared} rows and has 48"):
        source.content.table()
    with pytest.raises(BenchError, match=f"declares {declared} images and has {found}"):
        source.load(data_dir=tmp_path)


def test_a_path_in_place_of_an_image_is_not_followed(tmp_path):
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "paths.parquet"
    table = {"image": [{"bytes": None, "path": "/etc/passwd"}] * 4, "hue": [0, 0, 1, 1]}
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    image = pyarrow.array(table["image"], kind)
    parquet.write_table(pyarrow.table({"image": image, "hue": table["hue"]}), path)
    with pytest.raises(BenchError, match="row 0 has no image; a path alone is not followed"):
        load_dataset(str(path))


def test_one_long_value_in_many_rows_takes_no_memory_in_each(tmp_path):
    """A file of some kilobytes that stands for 40 GB."""
    import pyarrow
    from pyarrow import parquet

    long = pyarrow.array([b"\x89PNG" + bytes(20_000_000)])
    image = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2000), long)
    table = pyarrow.table({"image": image, "hue": [k % 2 for k in range(2000)]})
    parquet.write_table(table, tmp_path / "bomb.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "bomb.parquet").stat().st_size < 10_000
    with pytest.raises(BenchError, match="row 0"):
        load_dataset(str(tmp_path / "bomb.parquet"))
    assert pyarrow.default_memory_pool().max_memory() < 2**30


def test_a_record_with_several_values_is_refused(tmp_path):
    with pytest.raises(BenchError, match=r"record 0 is no tf.train.Example: 'box' has 2 values"):
        load_dataset(tfds(tmp_path / "mirror", changed(box=[1, 2])))


def test_numbers_of_records_keep_their_sign_and_size():
    from mirror_files import example_class

    message = example_class()()
    wanted = {"least": -(2**63), "most": 2**63 - 1, "minus": -1, "zero": 0, "half": 0.5, "text": b"a\xff"}
    for name, value in wanted.items():
        kind = {bytes: "bytes_list", float: "float_list"}.get(type(value), "int64_list")
        getattr(message.features.feature[name], kind).value.append(value)
    assert example(message.SerializeToString()) == wanted


def damaged(content, chance):
    """Some bits turned, the end cut off, or a piece replaced."""
    kind = chance.randrange(3)
    if kind == 0:
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 4, 16])):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    first, second = sorted(chance.sample(range(len(content)), 2))
    return (
        content[:first]
        if kind == 1
        else content[:first] + chance.randbytes(chance.randrange(200)) + content[second:]
    )


@pytest.mark.parametrize("layout", [one_file, tfds])
def test_a_damaged_file_is_refused_or_of_the_same_form(tmp_path, layout):
    """TFRecord files have checksums, so that what passes is whole; Parquet files mostly have none."""
    name = layout(tmp_path / "mirror")
    file = max((tmp_path / "mirror").rglob("*.*-of-00002"), default=tmp_path / "mirror" / "squares.parquet")
    content, whole, passed = file.read_bytes(), load_dataset(name), 0
    for case in range(150):
        file.write_bytes(damaged(content, random.Random(f"{layout.__name__} {case}")))
        try:
            found = load_dataset(name)
        except BenchError:
            continue
        passed += 1
        assert found.image_shape == whole.image_shape
        if layout is tfds:
            # A cut between two records leaves a shorter file that is whole.
            rows = [found.index(row[None]) for row in found.factors(range(len(found)))]
            assert len(found) < 48
            assert torch.equal(found.images(torch.cat(rows)), found.images(range(len(found))))
    assert passed < 60
