"""Cars3D: archives of its layout are read in the order of their list, and refused where they differ."""

import hashlib
import io
import struct
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image
from published_files import add, cars, cars_archive, cars_members, mat_file

from disentangle_bench.data.cars3d import LARGEST_MEMBER, read
from disentangle_bench.data.checks import check_dataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.official import FileFacts
from disentangle_bench.data.registered import CARS3D, CARS3D_128, Cars3D
from disentangle_bench.errors import BenchError

NUMBER = 2
NAME = "nips2015-analogy-data.tar.gz"


@pytest.fixture(scope="module")
def members():
    return cars_members(NUMBER)


@pytest.fixture(scope="module")
def archive(members, tmp_path_factory):
    path = tmp_path_factory.mktemp("cars") / NAME
    cars_archive(path, members)
    return path


def source(name: str, side: int, path) -> Cars3D:
    found = Cars3D(name, side)
    found.factor_sizes = (4, 24, NUMBER)
    found.files = [FileFacts(NAME, "", hashes={"md5": hashlib.md5(path.read_bytes()).hexdigest()})]
    return found


def test_images_and_factors_are_the_files(archive) -> None:
    dataset = source("cars3d_128", 128, archive).load(data_dir=archive.parent)
    found = dataset.images(range(len(dataset))).permute(0, 2, 3, 1).numpy()
    images = cars(NUMBER)
    # The list names the second car first.
    for index in (0, 1, 2, 47, 48, 100, 191):
        elevation, azimuth, number = dataset.factors([index])[0].tolist()
        assert index == (elevation * 24 + azimuth) * NUMBER + number
        wanted = images[("car_002_mesh", "car_001_mesh")[number]][..., azimuth, elevation]
        assert np.array_equal(found[index], wanted)
    assert dataset.provenance == "official"
    check_dataset(dataset)


def test_the_smaller_images_are_pillows_lanczos_of_the_larger(archive) -> None:
    large = source("cars3d_128", 128, archive).load(data_dir=archive.parent)
    small = source("cars3d", 64, archive).load(data_dir=archive.parent)
    assert small.image_shape == (3, 64, 64)
    assert small.fingerprint != large.fingerprint
    for index in (0, 77, 191):
        image = Image.fromarray(large.images([index])[0].permute(1, 2, 0).numpy())
        # The 2019 study calls `thumbnail`, which leaves the image alone where it is no larger.
        image.thumbnail((64, 64), Image.Resampling.LANCZOS)
        assert np.array_equal(small.images([index])[0].permute(1, 2, 0).numpy(), np.asarray(image))
    check_dataset(small)


def test_a_later_start_needs_no_file(archive, tmp_path) -> None:
    path = tmp_path / NAME
    path.write_bytes(archive.read_bytes())
    first = source("cars3d", 64, path)
    fingerprint = first.load(data_dir=tmp_path).fingerprint
    path.unlink()
    assert first.load(data_dir=tmp_path).fingerprint == fingerprint


def test_the_facts_of_the_published_file() -> None:
    assert len(CARS3D.outline({})) == len(CARS3D_128.outline({})) == 17_568
    assert CARS3D.outline({}).image_shape == (3, 64, 64)
    assert CARS3D_128.outline({}, 64).image_shape == (3, 64, 64)


def test_without_the_file_the_error_says_what_to_do(tmp_path) -> None:
    for name in ("cars3d", "cars3d_128"):
        with pytest.raises(BenchError, match=f"`bench data get {name}` downloads them.*{NAME}"):
            load_dataset(name, data_dir=tmp_path)


def refused(path, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        list(read(path, NUMBER, 64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"list.txt": None}, "has no data/cars/list.txt"),
        ({"list.txt": b"car_001_mesh\n"}, "must name 2 different files"),
        ({"list.txt": b"car_001_mesh\ncar_001_mesh\n"}, "must name 2 different files"),
        ({"list.txt": b"car_001_mesh\n../../etc/passwd\n"}, "must name 2 different files"),
        ({"list.txt": b"car_001_mesh\ncar_003_mesh\n"}, r"has no data/cars/car_003_mesh\.mat"),
        ({"list.txt": b"\xff\xfe"}, "cannot be read"),
        ({"list.txt": bytes(1 << 17)}, "must be a plain file of at most 65536 bytes"),
        ({"car_001_mesh.mat": None}, r"has no data/cars/car_001_mesh\.mat"),
        ({"car_001_mesh.mat": b""}, "is no MATLAB 5 file"),
        ({"car_001_mesh.mat": b"\x89HDF\r\n\x1a\n" + bytes(500)}, "is no MATLAB 5 file"),
        ({"car_001_mesh.mat": bytes(LARGEST_MEMBER + 1)}, "must be a plain file of at most"),
        (
            {"car_001_mesh.mat": mat_file(im=np.zeros((128, 128, 3, 4, 24), np.uint8))},
            "must be uint8 of shape",
        ),
        (
            {"car_001_mesh.mat": mat_file(im=np.zeros((128, 128, 3, 24, 4), np.int8))},
            "must be uint8 of shape",
        ),
        ({"car_001_mesh.mat": mat_file(mask=np.zeros(3))}, "must be uint8 of shape"),
    ],
)
def test_other_content_is_refused(tmp_path, members, change, message) -> None:
    content = {name: data for name, data in (members | change).items() if data is not None}
    cars_archive(tmp_path / NAME, content)
    refused(tmp_path / NAME, message)


def test_an_uncompressed_file_of_a_car_is_read_too(tmp_path, members) -> None:
    plain = mat_file(compress=False, im=cars(NUMBER)["car_001_mesh"])
    cars_archive(tmp_path / NAME, members | {"car_001_mesh.mat": plain})
    assert len(np.concatenate(list(read(tmp_path / NAME, NUMBER, 128)))) == 96 * NUMBER


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_other_things_under_a_cars_name_are_refused(tmp_path, kind) -> None:
    path = tmp_path / NAME
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("data/cars/car_001_mesh.mat")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    refused(path, "must be a plain file")


def test_a_name_twice_is_refused(tmp_path, members) -> None:
    path = tmp_path / NAME
    with tarfile.open(path, "w:gz") as archive:
        for _ in range(2):
            add(archive, "data/cars/list.txt", members["list.txt"])
    refused(path, "and there once")


def test_names_that_lead_elsewhere_are_passed_over(tmp_path, members) -> None:
    path = tmp_path / NAME
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name in ("../data/cars/car_009_mesh.mat", "/data/cars/car_009_mesh.mat", "data/cars/../x.mat"):
            add(archive, name, b"not looked at")
        for name, content in members.items():
            add(archive, f"./data/cars/{name}", content)
    assert len(list(read(path, NUMBER, 64))) == 96
    assert [entry.name for entry in tmp_path.iterdir()] == [NAME]


def test_a_bomb_is_not_unpacked(tmp_path, members) -> None:
    """An element of a MATLAB file that unpacks to a thousand times its size."""
    packed = zlib.compress(bytes(1 << 27))
    bomb = members["car_001_mesh.mat"][:128] + struct.pack("<II", 15, len(packed)) + packed
    cars_archive(tmp_path / NAME, members | {"car_001_mesh.mat": bomb})
    refused(tmp_path / NAME, f"holds more than {LARGEST_MEMBER} bytes")


def test_what_is_no_archive(tmp_path) -> None:
    path = tmp_path / NAME
    refused(path, "there is no file")
    for rubbish in (b"", b"rubbish", b"\x1f\x8b" + bytes(100), io.BytesIO(b"PK\x03\x04").getvalue()):
        path.write_bytes(rubbish)
        refused(path, NAME)
