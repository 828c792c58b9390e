"""Tables of codes and factors from `.npz`, `.npy`, `.csv` and `.parquet` files, whole, wrong and hostile."""

import io
import os
import random
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disentangle_bench.data import table_file
from disentangle_bench.data.table_file import read_arrays
from disentangle_bench.errors import BenchError

CODES = np.array([[0.1, -2.0, 3e8], [np.nan, 0.25, np.inf], [1.0, 2.0, 3.0], [7.0, 1e-30, 5.0]])
FACTORS = np.array([[0, 5], [1, 5], [0, 9], [1, 9]])
BOTH = ("codes", "factors")
KINDS = ("npz", "npy", "csv", "parquet")


def parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def columns_of(codes: np.ndarray, factors: np.ndarray) -> dict[str, np.ndarray]:
    columns = {f"z{k}": column for k, column in enumerate(codes.T)}
    return columns | {f"factor:f{k}": column for k, column in enumerate(factors.T)}


def written(folder: Path, kind: str) -> Path:
    """CODES and, where the kind holds them, FACTORS in a file of this kind."""
    path = folder / f"codes.{kind}"
    if kind == "npz":
        np.savez(path, codes=CODES, factors=FACTORS)
    elif kind == "npy":
        np.save(path, CODES)
    elif kind == "csv":
        lines = ["z0,factor:f0,z1,z2,factor:f1"]
        lines += [
            f"{a!r},{f},{b!r},{c!r},{g}" for (a, b, c), (f, g) in zip(CODES.tolist(), FACTORS, strict=True)
        ]
        path.write_text("\n".join(lines) + "\n")
    else:
        parquet(path, columns_of(CODES, FACTORS), row_group_size=3)
    return path


def text(folder: Path, content: str | bytes) -> Path:
    path = folder / "codes.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_factors_are_what_was_saved(tmp_path, kind) -> None:
    path = written(tmp_path, kind)
    assert np.array_equal(read_arrays(path, ("codes",))["codes"], CODES, equal_nan=True)
    assert read_arrays(path, ("codes",)).keys() == {"codes"}
    if kind == "npy":
        with pytest.raises(
            BenchError, match=r"no array `factors`, only codes; save it as np\.savez.*--dataset"
        ):
            read_arrays(path, BOTH)
        return
    found = read_arrays(path, BOTH)
    assert found.keys() == set(BOTH)
    assert np.array_equal(found["factors"], FACTORS)
    assert found["factors"].dtype == np.int64


def test_types_and_layouts_are_kept(tmp_path) -> None:
    for dtype in (np.float32, np.float16, np.int8, np.uint64, bool):
        np.save(tmp_path / "codes.npy", (FACTORS > 3).astype(dtype))
        assert read_arrays(tmp_path / "codes.npy", ("codes",))["codes"].dtype == dtype
        path = parquet(tmp_path / "codes.parquet", columns_of((FACTORS > 3).astype(dtype), FACTORS))
        assert read_arrays(path, ("codes",))["codes"].dtype == dtype
    np.save(tmp_path / "codes.npy", np.asfortranarray(CODES))
    assert np.array_equal(read_arrays(tmp_path / "codes.npy", ("codes",))["codes"], CODES, equal_nan=True)


def test_large_whole_numbers_stay_apart(tmp_path) -> None:
    factors = np.array([[2**60], [2**60 + 1]])
    path = parquet(tmp_path / "codes.parquet", columns_of(CODES[:2], factors))
    assert np.array_equal(read_arrays(path, BOTH)["factors"], factors)
    with pytest.raises(BenchError, match=r"beyond 2\*\*53"):
        read_arrays(text(tmp_path, f"z0,factor:a\n1,{2**60}\n2,{2**60 + 1}"), BOTH)


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("1,2\r\n\r\n3,4", [[1, 2], [3, 4]]),
        ("\ufeffa,b\n1, 2\n 3e0,+4.\n", [[1, 2], [3, 4]]),
        ('"a","b"\n"1","2"\n', [[1, 2]]),
        ("0,1\n0.5,0.25\n", [[0, 1], [0.5, 0.25]]),
        ("0,b\n0.5,0.25\n", [[0.5, 0.25]]),
        ("nan,inf\n0.5,-inf\n", [[np.nan, np.inf], [0.5, -np.inf]]),
        ("z\n1\n2\n", [[1], [2]]),
        ("factor:a,z\n1,2\n3,4\n", [[2], [4]]),
    ],
)
def test_a_text_table_with_and_without_a_header(tmp_path, content, codes) -> None:
    found = read_arrays(text(tmp_path, content), ("codes",))["codes"]
    assert np.array_equal(found, np.array(codes, float), equal_nan=True)


def test_factors_that_are_no_whole_numbers_are_left_to_the_metrics(tmp_path) -> None:
    found = read_arrays(text(tmp_path, "z,factor:a\n1,0.5\n2,nan\n"), BOTH)["factors"]
    assert np.array_equal(found, [[0.5], [np.nan]], equal_nan=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no line of numbers"),
        ("a,b\n", "holds no line of numbers"),
        ("1,2\n3\n", "line 2 has 1 entries, the first line 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 entries"),
        ("a,b\n1,2\n\n3,red\n", "line 4 has 'red' for 'b'"),
        ("1,2\n3,\n", "line 2 has '' for 'latent 1'"),
        ("1,2\n3,1_000\n", "line 2 has '1_000'"),
        ("1;2\n3;4\n", "line 2 has '3;4' for '1;2': numbers are needed, separated by commas"),
        ("0.5,x\n1,2\n", "line 1 has 'x', which is no number, beside '0.5'"),
        (",a\n0,1\n", "column 1 has no name: an index"),
        ("index,a\n0,1\n", "column 1 is called 'index'"),
        ("Unnamed: 0,a\n0,1\n", "column 1 is called 'Unnamed: 0'"),
        ("a,a\n0,1\n", "2 columns are called 'a'"),
        ("factor:a\n1\n", r"no array `codes`, only factors; give it columns without 'factor:'"),
        ("a\n1\n", r"no array `factors`, only codes; call its columns factor:<name>.*--dataset"),
        ('a,b\n1,"2\n', "line [23] cannot be read"),
        (b"a,b\n1,\xff\n", "cannot be read"),
        ("a\0,b\n1,\0\n", "line"),
    ],
)
def test_a_wrong_text_table_is_refused(tmp_path, content, message) -> None:
    with pytest.raises(BenchError, match=rf"codes\.csv.*{message}"):
        read_arrays(text(tmp_path, content), BOTH)


def test_a_text_table_beyond_the_limits_is_refused(tmp_path, monkeypatch) -> None:
    with pytest.raises(BenchError, match="a line of more than 1048576 characters"):
        read_arrays(text(tmp_path, "1," * (1 << 20)), ("codes",))
    monkeypatch.setattr(table_file, "MOST_VALUES", 5)
    with pytest.raises(BenchError, match=r"values \[6\] are too many; at most 5"):
        read_arrays(text(tmp_path, "1,2\n3,4\n5,6\n"), ("codes",))
    monkeypatch.setattr(table_file, "LARGEST_BYTES", 5)
    with pytest.raises(BenchError, match="has 12 bytes; at most 5"):
        read_arrays(text(tmp_path, "1,2\n3,4\n5,6\n"), ("codes",))


def test_many_columns_of_one_name_take_no_time(tmp_path) -> None:
    content = ",".join(["a"] * 300_000)
    with pytest.raises(BenchError, match="300000 columns are called 'a'"):
        read_arrays(text(tmp_path, f"{content}\n{content.replace('a', '1')}\n"), ("codes",))


def npy(shape: Any, descr: str, content: bytes, order: bool = False) -> bytes:
    """An `.npy` file that says what it likes."""
    header = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content


HOSTILE = {
    "terabytes": npy((1 << 38, 1), "<f4", b"\0" * 99),
    "terabytes, by columns": npy((1 << 38, 4), "<f4", b"\0" * 99, True),
    "negative": npy((-1, -4), "<f4", b"\0" * 16),
    "beyond 64 bits": npy((1 << 40, 1 << 40), "<f4", b"\0" * 16),
    "one number": npy((), "<f4", b"\0" * 4),
    "one axis": npy((4,), "<f4", b"\0" * 16),
    "cube": npy((2, 2, 2), "<f4", b"\0" * 32),
    "no rows": npy((0, 4), "<f4", b""),
    "complex": npy((2, 2), "<c8", b"\0" * 32),
    "text": npy((2, 2), "<U8", b"\0" * 128),
    "objects": npy((2, 2), "|O", b"\x80\x04."),
    "cut": npy((2, 2), "<f4", b"\0" * 15),
    "too long": npy((2, 2), "<f4", b"\0" * 17),
    "code for a shape": npy("__import__('os')", "<f4", b"\0" * 16),
    "an unknown version": b"\x93NUMPY\7\0" + b"\0" * 99,
    "nothing": b"",
    "no such file": b"codes, codes, codes",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_array_is_refused(tmp_path, case) -> None:
    path = tmp_path / "codes.npy"
    path.write_bytes(HOSTILE[case])
    with pytest.raises(BenchError, match=r"codes\.npy"):
        read_arrays(path, ("codes",))
    archive = tmp_path / "codes.npz"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("codes.npy", HOSTILE[case])
    with pytest.raises(BenchError, match=r"codes\.npz"):
        read_arrays(archive, ("codes",))


def test_a_pickle_is_never_opened(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "opened"),)

    np.save(tmp_path / "codes.npy", np.array([[Trap()]], object))
    np.savez(tmp_path / "codes.npz", codes=np.array([[Trap()]], object))
    for name in ("codes.npy", "codes.npz"):
        with pytest.raises(BenchError, match="pickled Python objects, which are never opened"):
            read_arrays(tmp_path / name, ("codes",))
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_more_values_than_a_table_has_are_refused(tmp_path, kind, monkeypatch) -> None:
    path = written(tmp_path, kind)
    monkeypatch.setattr(table_file, "MOST_VALUES", 11)
    with pytest.raises(BenchError, match="are too many; at most 11 values"):
        read_arrays(path, ("codes",))


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_a_message_or_harmless(tmp_path, kind) -> None:
    """Cut and changed files: none raises anything but a BenchError, and no cut binary file is taken."""
    path = written(tmp_path, kind)
    whole = path.read_bytes()
    for case in range(150):
        chance = random.Random(f"{kind} {case}")
        broken = bytearray(whole)
        if case % 2:
            del broken[chance.randrange(len(whole)) :]
        else:
            for _ in range(3):
                broken[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(bytes(broken))
        try:
            read_arrays(path, ("codes",))
        except BenchError:
            continue
        assert kind == "csv" or case % 2 == 0


def test_only_plain_files_are_read(tmp_path) -> None:
    with pytest.raises(BenchError, match="there is no file"):
        read_arrays(tmp_path / "codes.csv", ("codes",))
    for kind in (*KINDS, "dat"):
        pipe = tmp_path / f"pipe.{kind}"
        os.mkfifo(pipe)
        (tmp_path / f"zero.{kind}").symlink_to("/dev/zero")
        (tmp_path / f"folder.{kind}").mkdir()
        for name in ("pipe", "zero", "folder"):
            with pytest.raises(BenchError, match="is no plain file"):
                read_arrays(tmp_path / f"{name}.{kind}", ("codes",))


def test_a_file_of_another_kind_is_told_what_is_taken(tmp_path) -> None:
    (tmp_path / "codes.txt").write_text("1 2 3")
    with pytest.raises(BenchError, match=r"needed is an \.npz .*\.npy, \.csv or \.parquet"):
        read_arrays(tmp_path / "codes.txt", ("codes",))
    written(tmp_path, "npz").rename(tmp_path / "codes.dat")
    assert read_arrays(tmp_path / "codes.dat", BOTH).keys() == set(BOTH)
    np.savez(tmp_path / "other.npz", latents=CODES)
    with pytest.raises(BenchError, match="no array `codes`, only latents"):
        read_arrays(tmp_path / "other.npz", BOTH)


def test_three_gigabytes_that_are_declared_take_no_memory(tmp_path) -> None:
    rows = 3 << 20
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f4", "fortran_order": False, "shape": (rows, 256)}
    )
    with (tmp_path / "codes.npy").open("wb") as file:
        file.write(content.getvalue())
        file.truncate(len(content.getvalue()) + rows * 256 * 4)  # a hole, which takes no disk
    code = (
        "import sys, pathlib; from disentangle_bench.data.table_file import read_arrays;"
        "read_arrays(pathlib.Path(sys.argv[1]), ['codes'])"
    )
    memory = 2 << 30
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "codes.npy"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
    )
    assert "are too many" in done.stderr


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"z0": ["a", "b"]}, "the column 'z0' holds string, not numbers"),
        ({"z0": [1.0, 2.0], "factor:a": ["x", "y"]}, "the column 'factor:a' holds string"),
        ({"z0": [[1.0], [2.0]]}, "the column 'z0' holds list"),
        ({"z0": [1.0, None]}, "no value in some rows"),
        ({"z0": []}, "holds null, not numbers"),
        ({"z0": np.zeros(0)}, r"codes are float64 \[0, 1\], not numbers"),
        ({}, "has no columns"),
        ({"z0": np.zeros(2, "M8[s]")}, "not numbers"),
        ({"__index_level_0__": [0, 1], "z": [0, 1]}, "an index that a table was saved with"),
        ({"factor:a": [0, 1]}, "no array `codes`, only factors"),
    ],
)
def test_a_wrong_parquet_table_is_refused(tmp_path, columns, message) -> None:
    path = parquet(tmp_path / "codes.parquet", columns)
    with pytest.raises(BenchError, match=rf"codes\.parquet.*{message}"):
        read_arrays(path, ("codes",))


def test_a_parquet_file_that_unpacks_to_far_more_than_it_holds_is_refused(tmp_path, monkeypatch) -> None:
    path = parquet(
        tmp_path / "codes.parquet", {"z0": np.zeros(1 << 22)}, use_dictionary=False, compression="zstd"
    )
    assert len(read_arrays(path, ("codes",))["codes"]) == 1 << 22
    monkeypatch.setattr("disentangle_bench.data.strict_npz.SMALL_BYTES", 1 << 20)
    with pytest.raises(BenchError, match="are not unpacked"):
        read_arrays(path, ("codes",))


def test_without_pyarrow_a_parquet_file_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "codes.parquet").write_bytes(b"PAR1")
    with pytest.raises(BenchError, match=r"pip install 'disentangle_bench\[parquet\]'"):
        read_arrays(tmp_path / "codes.parquet", ("codes",))
