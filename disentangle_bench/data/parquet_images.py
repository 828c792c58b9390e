"""Images and factors of Parquet files, as the Hugging Face Hub keeps data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.data.encoded_images import EncodedImages, chosen_image
from disentangle_bench.data.strict_npz import DAMAGE, plain_file, refuse_bomb
from disentangle_bench.errors import BenchError

BATCH_ROWS, BATCH_BYTES = 256, 1 << 29
MOST_VALUES = 1 << 27
LONGEST_LABEL = 1000


class ParquetImages(EncodedImages):
    """A `.parquet` file, or a folder of them, whose images are columns of bytes or of (bytes, path).

    Of a folder all files `.parquet` in it, or in its folder `data`, are read, in the order of their names.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = parquet_files(path)
        if not self.files:
            raise BenchError(f"there is no file {path}")
        self.rows = 0
        for file in self.files:
            with open_parquet(file) as source:
                found = image_columns(source.schema_arrow)
                others = [name for name in source.schema_arrow.names if name not in found]
                self.rows += source.metadata.num_rows
            if file is self.files[0]:
                self.names, self.image = others, chosen_image(str(file), found)
            if others != self.names or self.image not in found:
                raise BenchError(
                    f"{file} has the columns {', '.join([*found, *others])}, {self.files[0].name} has"
                    f" {', '.join([self.image, *self.names])}; all files must have the same"
                )
        if self.rows * len(self.names) > MOST_VALUES:
            raise BenchError(
                f"{path}: {self.rows} rows of {len(self.names)} columns are too many; at most {MOST_VALUES} values are"
                " taken"
            )

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Of each column beside the image its values [rows]."""
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in self.names}
        for file in self.files:
            # A text that rows repeat is read once, however long it is.
            with open_parquet(file, texts=self.names) as source:
                for batch in source.iter_batches(columns=self.names, use_threads=False):
                    for name in self.names:
                        parts[name].append(self.plain(name, batch.column(name)))
        return {name: np.concatenate(found) for name, found in parts.items() if found}

    def plain(self, name: str, column: Any) -> NDArray[Any]:
        """The values of a column. Raises BenchError where one is missing, and for lists and the like."""
        if column.null_count:
            raise BenchError(
                f"{self.path}: the column {name!r} has no value in some rows; every image needs one"
            )
        if not hasattr(column, "dictionary"):
            values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
            if values.dtype.kind not in "biuf":
                raise BenchError(
                    f"{self.path}: the column {name!r} holds {column.type}, not numbers or text; leave it out"
                )
            return values
        texts = column.dictionary.to_pylist()
        if not all(isinstance(text, str) and len(text) <= LONGEST_LABEL for text in texts):
            raise BenchError(
                f"{self.path}: the column {name!r} holds {column.type.value_type}, not numbers or text of at most"
                f" {LONGEST_LABEL} characters; leave it out"
            )
        return np.array(texts)[column.indices.to_numpy()]

    def encoded(self) -> Iterator[bytes]:
        """The image of each row, a PNG or JPEG file."""
        row = 0
        for file in self.files:
            with open_parquet(file) as source:
                sizes = column_sizes(source.metadata, self.image)
                # A value that rows repeat may be stored once, so that every row may be as long as the column.
                rows = min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, *sizes)))
                for batch in source.iter_batches(batch_size=rows, columns=[self.image], use_threads=False):
                    column = batch.column(self.image)
                    if hasattr(column, "field"):
                        column = column.flatten()[column.type.get_field_index("bytes")]
                    for value in column:
                        content = value.as_py()
                        if content is None:
                            raise BenchError(f"{file}: row {row} has no image; a path alone is not followed")
                        yield content
                        row += 1


def column_sizes(about: Any, name: str) -> list[int]:
    """How many bytes the column's parts take once they are unpacked, [1 + parts]; the first is 0."""
    groups = [about.row_group(k) for k in range(about.num_row_groups)]
    return [0] + [
        column.total_uncompressed_size
        for group in groups
        for column in map(group.column, range(group.num_columns))
        if column.path_in_schema.split(".")[0] == name
    ]


def image_columns(schema: Any) -> list[str]:
    """The names of the columns that hold files: bytes, or bytes beside a path."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    return [
        field.name
        for field in schema
        if is_bytes(field.type)
        or (
            types.is_struct(field.type)
            and any(part.name == "bytes" and is_bytes(part.type) for part in field.type)
        )
    ]


def parquet_files(path: Path) -> list[Path]:
    """The files that `path` stands for: itself, those of a folder, or those of the folder `data` in it."""
    if path.is_dir():
        return sorted(path.glob("*.parquet")) or sorted((path / "data").glob("*.parquet"))
    return [path] if path.exists() else []


@contextmanager
def open_parquet(path: Path, texts: Sequence[str] = ()) -> Iterator[Any]:
    """The open file, the columns `texts` of which come as dictionaries where they hold text.

    Raises BenchError where it cannot be read, also from within the `with` statement."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise BenchError(
            f"{path}: pyarrow, which reads .parquet, is not installed: pip install 'disentangle_bench[parquet]'"
        ) from error
    try:
        with plain_file(path) as file:
            about = parquet.read_metadata(file)
            stored = os.fstat(file.fileno()).st_size
            for name in {about.schema.column(k).path.split(".")[0] for k in range(about.num_columns)}:
                refuse_bomb(path, name, sum(column_sizes(about, name)), stored)
            flat = {about.schema.column(k).path for k in range(about.num_columns)} & set(texts)
            yield parquet.ParquetFile(file, metadata=about, read_dictionary=sorted(flat))
    except (pyarrow.ArrowException, *DAMAGE) as error:
        raise BenchError(f"{path} cannot be read as .parquet: {error}") from error
