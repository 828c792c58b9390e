"""Codes from a stranger's archive: what it declares is looked at before any of it is unpacked."""

import io
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from disentangle_bench.data.table_file import read_arrays
from disentangle_bench.data.user import UserSource
from disentangle_bench.errors import BenchError

FACTORS = np.tile(np.arange(4), 24)[:, None]
CODES = FACTORS.astype(np.float32)
MEMORY = 8 << 30  # of addresses; torch alone takes a few GiB of them


def good(path: Path) -> bytes:
    np.savez(path, codes=CODES, factors=FACTORS)
    return path.read_bytes()


def member(path: Path, header: dict[str, object], body: bytes, packing: int = zipfile.ZIP_STORED) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, header)
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("codes.npy", content.getvalue() + body)
        archive.writestr("factors.npy", content.getvalue() + body)


def array(descr: str, *shape: int) -> dict[str, object]:
    return {"descr": descr, "fortran_order": False, "shape": shape}


def changed(path: Path, edit: Callable[[bytearray, int], None]) -> None:
    content = bytearray(good(path))
    edit(content, content.find(b"PK\1\2"))
    path.write_bytes(content)


def encrypted(content: bytearray, entry: int) -> None:
    content[entry + 8] |= 1
    content[6] |= 1


def unknown_packing(content: bytearray, entry: int) -> None:
    content[entry + 10] = content[8] = 99


def no_header(path: Path) -> None:
    text = b"{'descr': '<f4', 'shape': (2,3)"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("codes.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text)
        archive.writestr("factors.npy", b"")


HOSTILE: dict[str, Callable[[Path], None]] = {
    "terabytes": lambda path: member(path, array("<f4", 1 << 38, 1), b"\0" * 99),
    "negative": lambda path: member(path, array("<f4", -1, -4), b"\0" * 16),
    "beyond 64 bits": lambda path: member(path, array("<f4", 1 << 40, 1 << 40), b"\0" * 16),
    "one number": lambda path: member(path, array("<f4"), b"\0" * 4),
    "cube": lambda path: member(path, array("<f4", 2, 2, 2), b"\0" * 32),
    "no rows": lambda path: member(path, array("<f4", 0, 4), b""),
    "complex": lambda path: member(path, array("<c8", 2, 2), b"\0" * 32),
    "text": lambda path: member(path, array("<U8", 2, 2), b"\0" * 128),
    "objects": lambda path: member(path, array("|O", 2, 2), b"\x80\x04."),
    "encrypted": lambda path: changed(path, encrypted),
    "unknown packing": lambda path: changed(path, unknown_packing),
    "no header": no_header,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_of_codes_is_a_message(tmp_path: Path, name: str) -> None:
    path = tmp_path / "codes.npz"
    HOSTILE[name](path)
    with pytest.raises(BenchError, match=r"codes\.npz"):
        read_arrays(path, ("codes", "factors"))


def test_good_codes_are_scored(tmp_path: Path) -> None:
    good(tmp_path / "codes.npz")
    found = read_arrays(tmp_path / "codes.npz", ("codes", "factors"))
    assert np.array_equal(found["codes"], CODES)
    assert np.array_equal(found["factors"], FACTORS)


def test_three_megabytes_that_are_three_gigabytes_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "codes.npz"
    rows = 3 << 20
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, array("<f4", rows, 256))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("codes.npy", "w", force_zip64=True) as file:
            file.write(content.getvalue())
            for _ in range(rows // (1 << 14)):
                file.write(bytes(256 * 4 << 14))
        with archive.open("factors.npy", "w") as file:
            np.save(file, np.zeros((rows, 1), np.int8))
    assert path.stat().st_size < 10 << 20
    code = "import sys; from disentangle_bench.cli import main; main(['score', '--codes', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )
    assert done.returncode == 2, done.stderr
    assert "are too many" in done.stderr or "are not unpacked" in done.stderr


def test_an_h5_file_that_declares_far_more_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "big.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("images", (10**9, 1, 1), "u1", chunks=(10**6, 1, 1))
        file.create_dataset("factors", (10**9, 1), "i8", chunks=(10**6, 1))
    with pytest.raises(BenchError, match="are not unpacked"):
        UserSource(path).outline({})
