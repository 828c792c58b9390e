"""Tables of codes and factors from files that nobody vouches for: `.npz`, `.npy`, `.csv` and `.parquet`.

What a file declares is looked at before memory is taken for it, and nothing is unpickled. In `.csv` and `.parquet`
files a column is a latent, or a factor where it is called `factor:<name>`.
"""

from __future__ import annotations

import csv
import io
import math
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.data.strict_npz import (
    DAMAGE,
    ArrayHeader,
    npy_blocks,
    open_npz,
    plain_file,
    read_npy_header,
    refuse_bomb,
)
from disentangle_bench.errors import BenchError

HOW_TO_SAVE = "np.savez('codes.npz', codes=codes, factors=factors)"
FACTOR = "factor:"
MOST_VALUES = 1 << 27
# Of a `.csv` or `.parquet` file; a number of `.csv` takes up to 25 characters.
LARGEST_BYTES = 1 << 31
LONGEST_LINE = 1 << 20
# From here on floats do not tell all whole numbers apart.
LARGEST_WHOLE = 2**53
# Of a `.parquet` file at a time.
BATCH_ROWS = 1 << 16
# What a column is called that numbers the rows, as pandas saves its index.
INDEX_NAMES = ("index", "__index_level_0__", "unnamed: 0")
Arrays = dict[str, NDArray[Any]]


def read_arrays(path: Path, names: Sequence[str]) -> Arrays:
    """The arrays of these names, "codes" [points, latents] and "factors" [points, factors], from a file.

    The file's suffix says what it is: `.npz` holds both by name, `.npy` the codes, `.csv` and `.parquet` a column for
    each latent and each factor; any other must be an `.npz`. Raises BenchError with the reason for a file that is not
    such, that has no such array, or whose array is no table of at most 2**27 numbers. NaN passes.
    """
    kind = path.suffix.lower()
    reader = READERS.get(kind, _npz)
    try:
        with plain_file(path) as file:
            found = reader(path, file, names)
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {path}") from error
    except DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise BenchError(f"{path} cannot be read as {kind or 'a file of arrays'}: {reason}") from error
    for name in names:
        if name not in found:
            raise BenchError(_missing(path, name, list(found), kind))
    return {name: found[name] for name in names}


def _npz(path: Path, file: BinaryIO, names: Sequence[str]) -> Arrays:
    """The arrays of these names that an `.npz` file has."""
    if not is_zipfile(file):
        raise BenchError(
            f"{path} cannot be read as arrays with names; needed is an .npz ({HOW_TO_SAVE}), .npy, .csv or .parquet"
        )
    with open_npz(path) as source:
        for name in names:
            if not source.has(name):
                raise BenchError(_missing(path, name, source.keys(), ".npz"))
            _refuse_no_table(path, name, source.header(name))
        return {name: _filled(source.header(name), source.blocks(name)) for name in names}


def _npy(path: Path, file: BinaryIO, names: Sequence[str]) -> Arrays:
    """The codes, which are the file's one array."""
    header = read_npy_header(path, "codes", file, os.fstat(file.fileno()).st_size)
    _refuse_no_table(path, "codes", header)
    return {"codes": _filled(header, npy_blocks(path, "codes", header, file))}


def _filled(header: ArrayHeader, blocks: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """The array whose parts along its first axis these are. Raises EOFError where there are fewer."""
    found = np.empty(header.shape, header.dtype)
    done = 0
    for block in blocks:
        found[done : done + len(block)] = block
        done += len(block)
    if done != len(found):
        raise EOFError(f"it declares {len(found)} rows and has {done}")
    return found


def _csv(path: Path, file: BinaryIO, names: Sequence[str]) -> Arrays:
    """The columns of a text table, split by commas; its first line is a header unless it is all numbers."""
    _refuse_large(path, file)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    lines = csv.reader(short_lines(text, path, LONGEST_LINE, LARGEST_BYTES), strict=True)
    header: list[str] = []
    values = array("d")
    try:
        for row in lines:
            if not row:
                continue
            if not header:
                header = _header(path, row)
                if header == row:
                    continue
            if len(row) != len(header):
                raise BenchError(
                    f"{path}: line {lines.line_num} has {len(row)} entries, the first line {len(header)}"
                )
            values.extend(_numbers(path, lines.line_num, header, row))
            if len(values) > MOST_VALUES:
                raise BenchError(_too_many(path, "values", [len(values)]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"{path}: line {lines.line_num + 1} cannot be read: {error}") from error
    if not values:
        raise BenchError(f"{path} holds no line of numbers")
    table = np.frombuffer(values).reshape(-1, len(header))
    found: Arrays = {name: table[:, places] for name, places in _columns(path, header).items()}
    if "factors" in found:
        found["factors"] = _as_whole(path, found["factors"])
    return found


def _header(path: Path, first: Sequence[str]) -> list[str]:
    """The names in a table's first line; numbered ones where the line is all numbers."""
    cells = [cell.strip() for cell in first]
    numbers = [cell for cell in cells if _is_number(cell)]
    if len(numbers) == len(cells):
        return [f"latent {k}" for k in range(len(cells))]
    # A column may be called 0, as pandas calls it, and no column is called 0.25.
    wrong = [cell for cell in numbers if not cell.isdigit()]
    if wrong:
        name = next(cell for cell in cells if not _is_number(cell))
        raise BenchError(
            f"{path}: line 1 has {name!r}, which is no number, beside {wrong[0]!r}, which is no name"
        )
    return list(first)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # Python's own spelling 1_000 is nobody's table.
    return "_" not in text


def _numbers(path: Path, line: int, header: Sequence[str], row: Sequence[str]) -> list[float]:
    """The numbers of a line. Raises BenchError with line and column for what is none."""
    try:
        if not any("_" in cell for cell in row):
            return [float(cell) for cell in row]
    except ValueError:
        pass
    name, cell = next((name, cell) for name, cell in zip(header, row, strict=True) if not _is_number(cell))
    raise BenchError(
        f"{path}: line {line} has {cell!r} for {name!r}: numbers are needed, separated by commas"
    )


def _as_whole(path: Path, factors: NDArray[np.float64]) -> NDArray[Any]:
    """Factors as whole numbers where all are; else as they are, for real-valued ones or a metric's refusal."""
    if not np.isfinite(factors).all() or (factors != np.rint(factors)).any():
        return factors
    if np.abs(factors).max() >= LARGEST_WHOLE:
        raise BenchError(
            f"{path}: factors hold whole numbers beyond 2**53; number each factor's values 0, 1, ..."
        )
    return factors.astype(np.int64)


def short_lines(file: TextIO, path: Path, longest: int, most: int) -> Iterator[str]:
    """The lines of a table. Raises BenchError for one that is too long, before it is in memory, and for too much."""
    read = 0
    while line := file.readline(longest + 1):
        read += len(line)
        if len(line) > longest:
            raise BenchError(f"{path} has a line of more than {longest} characters")
        if read > most:
            raise BenchError(f"{path} has more than {most} characters")
        yield line


def _parquet(path: Path, file: BinaryIO, names: Sequence[str]) -> Arrays:
    """The columns of a Parquet file, after a look at what its metadata declare."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise BenchError(
            f"{path}: pyarrow, which reads .parquet, is not installed: pip install 'disentangle_bench[parquet]'"
        ) from error
    _refuse_large(path, file)
    try:
        source = parquet.ParquetFile(file)
        about, schema = source.metadata, source.schema_arrow
        unpacked = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        refuse_bomb(path, "the table", unpacked, os.fstat(file.fileno()).st_size)
        columns, found = _columns(path, schema.names), {}
        for name, places in columns.items():
            dtype = np.result_type(*(_number_type(path, schema.field(place)) for place in places))
            header = ArrayHeader((about.num_rows, len(places)), dtype)
            _refuse_no_table(path, name, header)
            found[name] = _filled(header, _batches(path, source, places))
    except pyarrow.ArrowException as error:
        raise BenchError(f"{path} cannot be read as .parquet: {error}") from error
    return found


def _batches(path: Path, source: Any, places: Sequence[int]) -> Iterator[NDArray[Any]]:
    """The columns at these places of an open Parquet file, some rows at a time."""
    for batch in source.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
        chosen = [batch.column(place) for place in places]
        if any(column.null_count for column in chosen):
            raise BenchError(f"{path} has no value in some rows of a column; every point needs one")
        yield np.stack([column.to_numpy(zero_copy_only=False) for column in chosen], axis=1)


def _number_type(path: Path, field: Any) -> np.dtype[Any]:
    """What numpy calls the type of a Parquet file's column. Raises BenchError unless it is one of numbers."""
    try:
        found = np.dtype(field.type.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        found = np.dtype(object)
    if found.kind not in "biuf":
        raise BenchError(f"{path}: the column {field.name!r} holds {field.type}, not numbers; leave it out")
    return found


def _columns(path: Path, header: Sequence[str]) -> dict[str, list[int]]:
    """Which columns are codes and which are factors. Raises BenchError where names are missing or number the rows."""
    names = [name.strip() for name in header]
    for place, name in enumerate(names):
        if not name or name.lower() in INDEX_NAMES:
            what = f"is called {name!r}" if name else "has no name"
            raise BenchError(
                f"{path}: column {place + 1} {what}: an index that a table was saved with is no latent (pandas:"
                " index=False leaves it out)"
            )
    if not names:
        raise BenchError(f"{path} has no columns")
    ((name, count),) = Counter(names).most_common(1)
    if count > 1:
        raise BenchError(f"{path}: {count} columns are called {name!r}; each needs a name of its own")
    columns: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        columns.setdefault("factors" if name.startswith(FACTOR) else "codes", []).append(place)
    return columns


def _refuse_large(path: Path, file: BinaryIO) -> None:
    size = os.fstat(file.fileno()).st_size
    if size > LARGEST_BYTES:
        raise BenchError(
            f"{path} has {size} bytes; at most {LARGEST_BYTES} are taken. Save it as {HOW_TO_SAVE}"
        )


def _refuse_no_table(path: Path, name: str, header: ArrayHeader) -> None:
    """Raise BenchError unless the array is a table of numbers of a size that can be scored."""
    columns = "latents" if name == "codes" else "factors"
    if len(header.shape) != 2 or 0 in header.shape or header.dtype.kind not in "biuf":
        raise BenchError(
            f"{path}: {name} are {header.dtype} {list(header.shape)}, not numbers [points, {columns}]"
        )
    if math.prod(header.shape) > MOST_VALUES:
        raise BenchError(_too_many(path, name, header.shape))


def _too_many(path: Path, name: str, shape: Sequence[int]) -> str:
    return f"{path}: {name} {list(shape)} are too many; at most {MOST_VALUES} values are taken"


def _missing(path: Path, name: str, there: Sequence[str], kind: str) -> str:
    """What to say where the file has no array of this name."""
    otherwise = ", or name a data set whose images were encoded with --dataset" if name == "factors" else ""
    if kind in (".csv", ".parquet"):
        how = (
            f"call its columns {FACTOR}<name>" if name == "factors" else f"give it columns without {FACTOR!r}"
        )
    else:
        how = f"save it as {HOW_TO_SAVE}"
    lacks = f"no array `{name}`, only {', '.join(there)}" if there else "no arrays of numpy"
    return f"{path} holds {lacks}; {how}{otherwise}"


READERS: dict[str, Callable[[Path, BinaryIO, Sequence[str]], Arrays]] = {
    ".npy": _npy,
    ".csv": _csv,
    ".parquet": _parquet,
}
