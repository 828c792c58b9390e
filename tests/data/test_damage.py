"""Hundreds of damaged and hostile files: each is refused with a reason, none is executed, none fills the memory.

Two lines of defence are tried one by one: the hash, which sees every change, and behind it the reader. That may let
pass what does not touch the content (a time stamp in a zip archive, say) and, since HDF5 keeps no checksum, another
pixel value.
"""

import contextlib
import hashlib
import io
import os
import pickle
import random
import struct
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image
from published_files import (
    FEW_ROBOTS,
    cars_archive,
    cars_members,
    face,
    faces_archive,
    idx_file,
    isaac_arrays,
    norb_matrix,
    packed_npz,
    random_images,
)
from small_files import LAYOUTS, arrays_of, facts_of, write

from disentangle_bench.data.cars3d import read as read_cars
from disentangle_bench.data.celeba import image as jpeg_image
from disentangle_bench.data.celeba import read as read_faces
from disentangle_bench.data.isaac3d import image as png_image
from disentangle_bench.data.isaac3d import image_order
from disentangle_bench.data.layouts import read
from disentangle_bench.data.mnist import read as read_digits
from disentangle_bench.data.mpi3d import mapped
from disentangle_bench.data.official import FileFacts, check
from disentangle_bench.data.smallnorb import matrix
from disentangle_bench.errors import BenchError

CASES = 60


def content(path, layout):
    return np.concatenate(list(read(path, layout)))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    return {name: write(folder / name, arrays_of(layout)) for name, layout in LAYOUTS.items()}


def flipped(original: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(original)
    for _ in range(chance.choice([1, 1, 4, 16])):
        # Headers are where damage is dangerous: half of it goes there.
        edge = chance.choice([400, len(damaged)])
        place = chance.randrange(edge) * chance.choice([1, -1]) % len(damaged)
        damaged[place] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def cut(original: bytes, chance: random.Random) -> bytes:
    return original[: chance.randrange(len(original))]


def spliced(original: bytes, chance: random.Random) -> bytes:
    first, second = sorted(chance.sample(range(len(original)), 2))
    return original[:first] + chance.randbytes(chance.randrange(200)) + original[second:]


@pytest.mark.parametrize("damage", [flipped, cut, spliced])
@pytest.mark.parametrize("name", LAYOUTS)
def test_damage_is_refused(tmp_path, good, name, damage):
    original, layout, facts = good[name].read_bytes(), LAYOUTS[name], facts_of(good[name])
    images = arrays_of(layout)[layout.image_key]
    path = tmp_path / name
    for case in range(CASES):
        broken = damage(original, random.Random(f"{name} {damage.__name__} {case}"))
        if broken == original:
            continue
        path.write_bytes(broken)
        with pytest.raises(BenchError):
            check(path, facts)
        with contextlib.suppress(BenchError):
            passed = content(path, layout)
            assert damage is not cut
            assert passed.shape == images.shape
            if path.suffix == ".npz":
                assert np.array_equal(passed, images)


def mpi3d_images(path):
    return np.array(mapped(path, (8, 64, 64, 3)))


def cars_images(path):
    return np.concatenate(list(read_cars(path, 1, 128)))


def norb_images(path):
    return np.concatenate(list(matrix(path, (8, 2, 96, 96), np.uint8)))


def write_png(path):
    Image.fromarray(random_images(128, 128, 3)).save(path, format="PNG")


# Further layouts: what writes a whole file of each, and what reads it.
FURTHER = {
    "mpi3d.npz": (lambda path: packed_npz(path, random_images(8, 64, 64, 3)), mpi3d_images),
    "cars.tar.gz": (lambda path: cars_archive(path, cars_members(1)), cars_images),
    "norb.mat.gz": (lambda path: norb_matrix(path, random_images(8, 2, 96, 96)), norb_images),
    "isaac.png": (write_png, png_image),
    "labels.npy": (
        lambda path: np.save(path, isaac_arrays()[1] / 8),
        lambda path: image_order(path, FEW_ROBOTS),
    ),
    "digits.gz": (
        lambda path: idx_file(path, random_images(9, 28, 28)),
        lambda path: np.concatenate(list(read_digits(path, 9))),
    ),
    "faces.zip": (
        lambda path: faces_archive(path, 3),
        lambda path: np.concatenate(list(read_faces(path, 3))),
    ),
    "face.jpg": (
        lambda path: path.write_bytes(face(3)),
        lambda path: jpeg_image(path.name, path.read_bytes()),
    ),
}

WITHOUT_CHECKSUM = ("mpi3d.npz", "face.jpg")


@pytest.mark.parametrize("damage", [flipped, cut, spliced])
@pytest.mark.parametrize("name", FURTHER)
def test_damage_to_further_layouts_is_refused(tmp_path, name, damage):
    path, (write_whole, content_of) = tmp_path / name, FURTHER[name]
    write_whole(path)
    original, images = path.read_bytes(), content_of(path)
    facts = FileFacts(name, "", hashes={"md5": hashlib.md5(original).hexdigest()})
    check(path, facts)
    refused = 0
    for case in range(CASES):
        broken = damage(original, random.Random(f"{name} {damage.__name__} {case}"))
        if broken == original:
            continue
        path.write_bytes(broken)
        with pytest.raises(BenchError):
            check(path, facts)
        try:
            passed = content_of(path)
        except BenchError:
            refused += 1
        else:
            assert damage is not cut
            assert passed.shape == images.shape
            if name not in WITHOUT_CHECKSUM:
                assert np.array_equal(passed, images)
    assert refused


def changed(layout, **changes):
    """The arrays of a whole file with some replaced, or left out if None."""
    arrays = arrays_of(layout)
    keys = {"images": layout.image_key, "values": layout.value_key, "classes": layout.class_key}
    for name, change in changes.items():
        array = change(arrays.pop(keys[name]))
        if array is not None:
            arrays[keys[name]] = array
    return arrays


def swap(array):
    array = array.copy()
    array[[3, 4]] = array[[4, 3]]
    return array


FOREIGN = {
    "no images": {"images": lambda a: None},
    "no values": {"values": lambda a: None},
    "too few images": {"images": lambda a: a[:-1]},
    "too many images": {"images": lambda a: np.concatenate([a, a[:1]])},
    "another size": {"images": lambda a: a[:, :32]},
    "another type": {"images": lambda a: a.astype(np.int64)},
    "signed": {"images": lambda a: a.view(np.int8)},
    "fewer values": {"values": lambda a: a[:-1]},
    "values of another type": {"values": lambda a: a.astype(np.float32)},
    "another order of values": {"values": swap},
    "another order of columns": {"values": lambda a: a[:, ::-1].copy()},
    "other values": {"values": lambda a: a + 0.01},
    "values that are not numbers": {"values": lambda a: a * np.nan},
    "a single number": {"images": lambda a: np.uint8(3)},
    "nothing": {"images": lambda a: a[:0]},
}


@pytest.mark.parametrize("reason", FOREIGN)
@pytest.mark.parametrize("name", LAYOUTS)
def test_foreign_content_is_refused(tmp_path, name, reason):
    path = tmp_path / name
    arrays = changed(LAYOUTS[name], **FOREIGN[reason])
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file[key] = array
    with pytest.raises(BenchError, match=name):
        content(path, LAYOUTS[name])


@pytest.mark.parametrize("name", ["small.npz", "small.hdf5"])
def test_more_of_dsprites_is_checked(tmp_path, name):
    for change in ({"classes": swap}, {"classes": lambda a: None}, {"images": lambda a: a * 255}):
        path = write(tmp_path / name, changed(LAYOUTS[name], **change))
        with pytest.raises(BenchError, match=name):
            content(path, LAYOUTS[name])


class Bomb:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_pickles_are_never_opened(tmp_path):
    layout, boom = LAYOUTS["small.npz"], tmp_path / "boom"
    path = tmp_path / "small.npz"
    for key in ("imgs", "latents_values", "latents_classes"):
        arrays = arrays_of(layout)
        arrays[key] = np.array([Bomb(boom)] * len(arrays[key]), dtype=object)
        np.savez(path, **arrays)
        with pytest.raises(BenchError, match="pickled"):
            content(path, layout)
    path.write_bytes(pickle.dumps(Bomb(boom)))
    with pytest.raises(BenchError, match="cannot be read"):
        content(path, layout)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("imgs.npy", pickle.dumps(Bomb(boom)))
    with pytest.raises(BenchError, match="cannot be read"):
        content(path, layout)
    assert not boom.exists()


def test_the_pickled_metadata_of_the_real_file_is_left_alone(tmp_path):
    layout, boom = LAYOUTS["small.npz"], tmp_path / "boom"
    path = tmp_path / "small.npz"
    np.savez(path, metadata=np.array(Bomb(boom), dtype=object), **arrays_of(layout))
    assert np.array_equal(content(path, layout), arrays_of(layout)["imgs"])
    assert not boom.exists()


def npy(shape, body, dtype="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + body


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ((144, 64, 64), bytes(144 * 4096 + 1000)),
        ((144, 64, 64), bytes(1 << 28)),
        ((144, 64, 64), bytes(10)),
        ((1 << 40, 64, 64), bytes(10)),
        ((-144, 64, 64), bytes(10)),
        ((1 << 62, 1 << 62), bytes(10)),
    ],
)
def test_a_bomb_is_seen_before_it_is_unpacked(tmp_path, shape, body):
    layout, path = LAYOUTS["small.npz"], tmp_path / "small.npz"
    arrays = arrays_of(layout)
    del arrays["imgs"]
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imgs.npy", npy(shape, body))
    with pytest.raises(BenchError, match=r"imgs|cannot be read"):
        content(path, layout)


def test_a_zip_that_lies_about_sizes_is_refused(tmp_path, good):
    """The directory declares the right size, the compressed stream holds far more."""
    layout, path = LAYOUTS["small.npz"], tmp_path / "small.npz"
    arrays = arrays_of(layout)
    honest = len(npy(arrays["imgs"].shape, arrays["imgs"].tobytes()))
    del arrays["imgs"]
    np.savez(path, **arrays)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imgs.npy", npy((144, 64, 64), bytes(1 << 26)))
        real = archive.getinfo("imgs.npy").file_size
    raw = path.read_bytes().replace(struct.pack("<I", real), struct.pack("<I", honest))
    path.write_bytes(raw)
    with pytest.raises(BenchError):
        content(path, layout)


def test_links_out_of_an_h5_file_are_not_followed(tmp_path, good):
    layout, path = LAYOUTS["small.h5"], tmp_path / "small.h5"
    arrays = arrays_of(layout)
    for link in (
        h5py.ExternalLink(str(good["small.h5"]), "/images"),
        h5py.SoftLink("/labels"),
        "external",
        "virtual",
    ):
        with h5py.File(path, "w") as file:
            file["labels"] = arrays["labels"]
            if link == "external":
                file.create_dataset(
                    "images", arrays["images"].shape, "u1", external=[("/etc/passwd", 0, 1 << 30)]
                )
            elif link == "virtual":
                source = h5py.VirtualSource(str(good["small.h5"]), "images", arrays["images"].shape)
                virtual = h5py.VirtualLayout(arrays["images"].shape, "u1")
                virtual[:] = source
                file.create_virtual_dataset("images", virtual)
            else:
                file["images"] = link
        with pytest.raises(BenchError, match=r"not followed|not opened"):
            content(path, layout)


def test_what_is_no_file_at_all(tmp_path):
    for name, layout in LAYOUTS.items():
        path = tmp_path / name
        with pytest.raises(BenchError):
            content(path, layout)
        path.mkdir()
        with pytest.raises(BenchError):
            content(path, layout)
        path.rmdir()
        for rubbish in (b"", b"rubbish", b"PK\x03\x04" + bytes(50), b"\x89HDF\r\n\x1a\n" + bytes(500)):
            path.write_bytes(rubbish)
            with pytest.raises(BenchError):
                content(path, layout)
