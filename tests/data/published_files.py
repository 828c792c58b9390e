"""Files in the layouts of further published sets, with few images or full of holes, and random pixels."""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from disentangle_bench.data.cache import npy_header
from disentangle_bench.data.official import FILES
from disentangle_bench.data.registered import MPI3D


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def small_mpi3d() -> MPI3D:
    """MPI3D with 48 images: two values of some factors, one of the others."""
    source = MPI3D("mpi3d_real_complex", ("yellow", "green"), ("coffee-cup",))
    source.factor_sizes = (2, 1, 2, 2, 1, 2, 3)
    source.labels = {"object_color": ("yellow", "green")}
    return source


def sparse_npz(path: Path, images: int) -> int:
    """Write an `.npz` file as numpy does, of so many black images that take no room; give the place of the first.

    Numpy's own header of a member and the zip64 records of a file beyond 4 GiB, the checksum apart.
    """
    header = npy_header((images, 64, 64, 3), np.uint8)
    size = len(header) + images * 64 * 64 * 3
    name, extra = b"images.npy", struct.pack("<HHQQ", 1, 16, size, size)
    fixed = struct.pack("<HHHHHIIIHH", 45, 0, 0, 0, 0x21, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra))
    local = b"PK\x03\x04" + fixed + name + extra
    start = len(local) + size
    central = (
        b"PK\x01\x02" + struct.pack("<H", 45) + fixed + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name + extra
    )
    end64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1, 1, len(central), start)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, start + len(central), 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), 0xFFFFFFFF, 0)
    with path.open("wb") as file:
        file.write(local + header)
        file.seek(start)
        file.write(central + end64 + locator + end)
    return len(local) + len(header)


def packed_npz(path: Path, images: np.ndarray, kind: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("images.npy", npy_header(images.shape, np.uint8) + images.tobytes())


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def mat_file(compress: bool = True, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    savemat(file, arrays, do_compression=compress)
    return file.getvalue()


def cars(number: int) -> dict[str, np.ndarray]:
    """`im` of so many cars by name, as random as makes every view another, and easily packed."""
    chance = np.random.default_rng(3)
    found = {}
    for k in range(number):
        coarse = chance.integers(0, 256, (8, 8, 3, 24, 4), dtype=np.uint8)
        found[f"car_{k + 1:03}_mesh"] = coarse.repeat(16, axis=0).repeat(16, axis=1)
    return found


def cars_archive(path: Path, members: dict[str, bytes]) -> None:
    """The archive of these files of `data/cars/`, beside others that it has."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        add(archive, "data/shapes48.mat", b"something else")
        for name, content in members.items():
            add(archive, f"data/cars/{name}", content)


def cars_members(number: int) -> dict[str, bytes]:
    """What an archive of so many cars holds; the list does not name them in the order of their names."""
    images = cars(number)
    files = {f"{name}.mat": mat_file(im=im, mask=im[:, :, 0]) for name, im in images.items()}
    return {"list.txt": "".join(f"{name}\n" for name in reversed(images)).encode()} | files


# Of SmallNORB's 5, 10, 9, 18 and 6 values; every part has one of the two instances.
FEW_TOYS = (2, 2, 2, 3, 2)


def norb_matrix(path: Path, array: np.ndarray) -> None:
    """Write an array as SmallNORB's files are: packed, after a magic number and at least three sizes."""
    magic = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54, "float32": 0x1E3D4C51}[str(array.dtype)]
    sizes = [*array.shape, 1, 1][: max(3, array.ndim)]
    header = struct.pack(f"<{2 + len(sizes)}i", magic, array.ndim, *sizes)
    path.write_bytes(gzip.compress(header + array.tobytes(), 1, mtime=0))


def norb_arrays() -> tuple[np.ndarray, np.ndarray]:
    """(pairs uint8 [48, 2, 96, 96], factors int32 [48, 5]) in an order of their own."""
    factors = np.stack(np.unravel_index(np.arange(48), FEW_TOYS), axis=1).astype(np.int32)
    order = np.random.default_rng(2).permutation(48)
    return random_images(48, 2, 96, 96), factors[order]


def norb_files(folder: Path, pairs: np.ndarray, factors: np.ndarray) -> list[Path]:
    """SmallNORB's six files: the training part has instance 1 of each category, the test part instance 0."""
    paths = [folder / facts.name for facts in FILES["smallnorb"]]
    stored = factors * np.array([1, 1, 1, 2, 1], np.int32)
    for part, instance in enumerate((1, 0)):
        chosen = factors[:, 1] == instance
        for path, array in zip(
            paths[3 * part :], (pairs[chosen], stored[chosen, 0], stored[chosen, 1:]), strict=False
        ):
            norb_matrix(path, array)
    return paths


def idx_file(path: Path, images: np.ndarray) -> None:
    """Write images as MNIST's files are: packed, after zeros, the type, the number of dimensions and their sizes."""
    header = struct.pack(f">HBB{images.ndim}I", 0, 8, images.ndim, *images.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + images.tobytes(), 1, mtime=0))


def face(number: int) -> bytes:
    """A JPEG file of CelebA's size, smooth and of a colour of its own."""
    across, down = np.meshgrid(np.linspace(0, 200, 178), np.linspace(0, 200, 218))
    pixels = np.stack([across, down, np.full_like(down, 20 * number)], axis=2)
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, format="JPEG")
    return file.getvalue()


def faces_archive(path: Path, number: int) -> None:
    """CelebA's archive of so many images, not in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("img_align_celeba")
        for k in reversed(range(number)):
            archive.writestr(f"img_align_celeba/{k + 1:06}.jpg", face(k))


# Of Isaac3D's 3, 8, 5, 4, 4, 4, 6, 4 and 4 values.
FEW_ROBOTS = (2, 3, 1, 1, 2, 1, 1, 1, 1)


def isaac_arrays() -> tuple[np.ndarray, np.ndarray]:
    """(images uint8 [12, 128, 128, 3], classes int64 [12, 9]) in an order of their own."""
    classes = np.stack(np.unravel_index(np.arange(12), FEW_ROBOTS), axis=1)
    return random_images(12, 128, 128, 3), classes[np.random.default_rng(4).permutation(12)]


def isaac_folder(folder: Path, images: np.ndarray, classes: np.ndarray) -> Path:
    """Isaac3D's folder; labels lie in 0..1, as far apart as the values of their factor are many. Gives their path."""
    path = folder / "Isaac3D_down128" / "labels.npy"
    (path.parent / "images").mkdir(parents=True)
    np.save(path, classes / np.maximum(np.array(FEW_ROBOTS) - 1, 1))
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(path.parent / "images" / f"{number:06}.png", compress_level=1)
    return path
