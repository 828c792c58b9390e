"""What comes in from somebody's own `DataSource` is held against what it says, before anything is trained on it."""

import numpy as np
import pytest
import tiny_data
import torch

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.pixels import unit_floats
from disentangle_bench.data.source import DataSource
from disentangle_bench.errors import BenchError

CPU = torch.device("cpu")


def source(change=lambda images: images, **facts) -> type[DataSource]:
    """The squares as somebody else may give them."""

    def images(self, index):
        return change(tiny_data.SQUARES.images(index))

    return type("Given", (tiny_data.Squares,), {"images": images, **facts})


def load(given: object, monkeypatch: pytest.MonkeyPatch) -> FactorDataset:
    monkeypatch.setattr(tiny_data, "GIVEN", given, raising=False)
    return load_dataset("tiny_data:GIVEN")


def table(rows: int, **columns) -> torch.Tensor:
    whole = [np.arange(rows) % 4, np.arange(rows) // 4 % 4, np.arange(rows) % 3]
    return torch.from_numpy(np.stack([columns.get(name, whole[k]) for k, name in enumerate("abc")], axis=1))


def test_the_squares_pass_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(load(source(), monkeypatch)) == 48
    assert len(load(source(table=table(20)), monkeypatch)) == 20


@pytest.mark.parametrize(
    "change",
    [
        lambda images: images.long(),
        lambda images: images.float(),
        lambda images: images / 255,
        lambda images: images.permute(0, 2, 3, 1),
        lambda images: images[:, 0],
        lambda images: images[:-1],
        lambda images: images.numpy(),
        lambda images: images.expand(-1, 3, -1, -1),
    ],
)
def test_other_images_than_bytes_are_refused(change, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match=r"must be a torch\.uint8 tensor"):
        load(source(change), monkeypatch)


def test_images_of_zeros_and_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="multiply them by 255"):
        load(source(lambda images: images.clamp(max=1)), monkeypatch)


def test_a_store_that_raises_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="data set 'squares': its images cannot be had: RuntimeError"):
        load(source(lambda images: images @ images.float()), monkeypatch)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"table": table(20).double()}, r"is torch\.float64 \(20, 3\), not a tensor torch\.int64"),
        ({"table": table(20)[:, :2]}, r"is torch\.int64 \(20, 2\), not a tensor torch\.int64 \(images, 3\)"),
        ({"table": table(20).numpy(), "fingerprint": ""}, r"is int64 \(20, 3\), not a tensor"),
        ({"table": table(20).tolist()}, r"is list \(\), not a tensor"),
        ({"table": table(20) - 1}, "has values -1 to 2"),
        ({"table": table(20, a=np.arange(20) % 7)}, "not 0 to 3"),
    ],
)
def test_a_wrong_table_is_refused(facts, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match=message):
        load(source(**facts), monkeypatch)


def test_a_label_of_its_own_for_each_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given = source(table=table(30, a=np.arange(30)), factor_sizes=(30, 4, 3))
    with pytest.raises(BenchError, match="'row' has a value of its own for each of the 30 images"):
        load(given, monkeypatch)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"factor_names": (), "factor_sizes": ()},
            r"said by a table \[images, 0\], for instance table = torch",
        ),
        ({"factor_names": ()}, "one for each of factor_names"),
        ({"factor_names": "abc"}, "needs factor_names, a tuple"),
        ({"factor_sizes": 48}, "needs factor_sizes, a tuple"),
        ({"factor_names": ("row", "row", "light")}, "must be different names"),
        ({"factor_names": ("row", "", "light")}, "must be different names"),
        ({"factor_names": ("row", "column")}, "one for each of factor_names"),
        ({"factor_sizes": (4, 4, 0)}, r"factor_sizes are \(4, 4, 0\)"),
        ({"factor_sizes": (4, 4, 3.0)}, "whole numbers from 1"),
        ({"image_shape": (16, 16)}, r"\(channels, height, width\) is \(16, 16\)"),
        ({"images": DataSource.images}, "give its class Given a method images"),
    ],
)
def test_facts_that_do_not_fit_are_refused_before_an_image_is_made(facts, message, monkeypatch) -> None:
    with pytest.raises(BenchError, match=f"data set 'squares'.*{message}"):
        load(source(**facts), monkeypatch)


@pytest.mark.parametrize("fact", ["name", "factor_names", "factor_sizes", "image_shape"])
def test_a_fact_that_is_missing_is_named(fact, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        key: getattr(tiny_data.Squares, key)
        for key in ("name", "factor_names", "factor_sizes", "image_shape")
    }
    del facts[fact]
    given = type("Given", (DataSource,), {"images": tiny_data.Squares.images, **facts})
    with pytest.raises(BenchError, match=f"needs {fact}, a (str|tuple), as an attribute of its class Given"):
        load(given, monkeypatch)


def test_a_class_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    given = source(__init__=lambda self, folder: None)
    with pytest.raises(BenchError, match="data set 'tiny_data:GIVEN' cannot be loaded: TypeError"):
        load(given, monkeypatch)
    with pytest.raises(BenchError, match="is 'int': it must be a DataSource"):
        load(3, monkeypatch)


def test_a_loader_of_ones_own_gives_what_the_facts_say(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="must be a FactorDataset"):
        load(source(load=lambda self, **_: [1, 2]), monkeypatch)
    with pytest.raises(BenchError, match="its source says factor_sizes"):
        load(source(load=lambda self, **_: tiny_data.squares(), factor_sizes=(4, 4, 2)), monkeypatch)


def test_a_fingerprint_that_is_not_given_is_made_of_facts_and_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(*change, **facts) -> str:
        return load(source(*change, fingerprint="", **facts), monkeypatch).fingerprint

    plain = made()
    assert len(plain) == 64
    assert made() == plain
    others = [
        made(lambda images: images // 2),
        made(name="circles"),
        made(factor_names=("row", "column", "dim")),
        made(table=table(20)),
        made(table=table(20, a=np.arange(20) % 3)),
    ]
    assert len({plain, *others}) == 6
    assert load(source(), monkeypatch).fingerprint == "squares-1"


def test_images_of_a_class_that_says_nothing_of_devices_are_made_on_the_cpu() -> None:
    """A class that draws with numpy works on any device: here on one that holds no values, so that a use fails."""
    seen = []

    class Drawn(tiny_data.Squares):
        to = DataSource.to

        def images(self, index):
            seen.append(index.device)
            return torch.from_numpy(super().images(index).numpy())

    dataset = Drawn().load(data_dir=None)
    assert torch.equal(dataset.to("cpu").images([3]), tiny_data.squares().images([3]))
    store = dataset.to("meta").store
    assert store.images(torch.tensor([3, 4])).device.type == "meta"
    assert seen == [CPU, CPU]


SHAPE = (1, 16, 16)
BYTES = tiny_data.squares().images(range(12))


@pytest.mark.parametrize(
    "images",
    [
        BYTES,
        BYTES.long(),
        BYTES.to(torch.int16),
        BYTES.to(torch.uint16),
        BYTES.float(),
        BYTES.double(),
        BYTES / 255,
        BYTES / 255 * (1 + 2e-7),
        BYTES.double() / 255,
        BYTES.numpy(),
        BYTES.numpy().astype(np.uint32),
    ],
)
def test_the_same_images_whatever_their_type(images) -> None:
    found = unit_floats(images, SHAPE, CPU)
    assert found.dtype == torch.float32
    assert float(found.max()) == 1
    assert torch.allclose(found, BYTES / 255, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (BYTES.long() * 257, "from 0 to 65535"),
        (BYTES.long() - 1, "from -1 to 254"),
        (BYTES / 127.5 - 1, "from -1 to 1"),
        (BYTES / 2, "from 0 to 127.5"),
        (torch.full_like(BYTES, torch.nan, dtype=torch.float32), "nan"),
        (BYTES.to(torch.complex64), "complex"),
        (BYTES.permute(0, 2, 3, 1), r"\(12, 16, 16, 1\)"),
        (BYTES[:, 0], r"\(12, 16, 16\)"),
        (BYTES[0], r"\(1, 16, 16\)"),
        (BYTES.expand(-1, 3, -1, -1), r"\(n, 1, 16, 16\)"),
        ("photo.png", "needed as an array"),
        (None, "needed as an array"),
    ],
)
def test_images_that_would_be_guessed_at_are_refused(images, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        unit_floats(images, SHAPE, CPU)
