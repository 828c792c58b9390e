"""Files in the layouts of further published sets, with few images or full of holes, and random pixels."""

import struct
import zipfile
from pathlib import Path

import numpy as np

from disentangle_bench.data.cache import npy_header
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
