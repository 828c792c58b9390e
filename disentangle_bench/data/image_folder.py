"""A folder of images, with factors in `factors.csv` or without, read as RGB, 64 x 64, a byte a value."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from disentangle_bench.data.factor_table import (
    FactorTable,
    among,
    factor_table,
    text_column,
    without_factors,
)
from disentangle_bench.data.strict_npz import plain_file
from disentangle_bench.data.table_file import short_lines
from disentangle_bench.errors import BenchError

TABLE_NAME = "factors.csv"
# Of the files of a folder without a table, in small letters.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
FOLDER_SIDE = 64
LONGEST_LINE = 1 << 16
LARGEST_TABLE = 1 << 28
Images = NDArray[np.uint8]
# Pillow's modes: those that RGB holds without loss, those of 16 bits, and those whose alpha must be opaque.
PLAIN = ("1", "L", "P", "RGB", "RGBX")
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
ALPHA = ("LA", "PA", "RGBA")
# Formats that Pillow gives the mode "I" for 16 bits.
SIXTEEN_BIT_FORMATS = ("PNG", "PPM")


class ImageFolder:
    """Image files that `factors.csv` lists with their factors; without that file all that the folder holds."""

    # A byte of 1 is next to black in an image file.
    black_and_white = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table_path = path / TABLE_NAME
        self.names: list[str] = []
        self.rows: list[list[str]] = []
        try:
            self.listed = (
                self.all_images() if path.is_dir() and not self.has_table() else self.listed_images()
            )
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise BenchError(f"{self.table_path} cannot be read: {error}") from error
        self.files = [self.file(name) for name in self.listed]
        self.shape = (len(self.files), 3, FOLDER_SIDE, FOLDER_SIDE)
        self.largest_of_16_bits: int | None = None

    def has_table(self) -> bool:
        """Whether there is a `factors.csv`. Raises BenchError for one whose name is written otherwise."""
        names = os.listdir(self.path)
        odd = [name for name in names if name.lower() == TABLE_NAME and name != TABLE_NAME]
        if odd and TABLE_NAME not in names:
            raise BenchError(f"{self.path} has {odd[0]}, which must be called {TABLE_NAME}")
        return TABLE_NAME in names

    def all_images(self) -> list[str]:
        """The names of all image files in the folder and below it, in order. Raises BenchError where there is none."""
        found = []
        for folder, below, files in os.walk(self.path):
            # What systems and archives leave behind begins with a dot.
            below[:] = [name for name in below if not name.startswith((".", "__MACOSX"))]
            shown = [name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
            found += [(Path(folder) / name).relative_to(self.path).as_posix() for name in shown]
        if not found:
            raise BenchError(
                f"{self.path} holds no image file ({', '.join(SUFFIXES)}); files of other names can be listed in"
                f" {TABLE_NAME}"
            )
        return sorted(found)

    def listed_images(self) -> list[str]:
        """The names of the image files that `factors.csv` lists, whose rows it keeps."""
        first, *self.rows = self.read_rows() or [[]]
        self.names = self.header(first)
        for number, row in enumerate(self.rows, start=2):
            if len(row) != len(self.names):
                raise BenchError(
                    f"{self.table_path}: row {number} has {len(row)} entries, the first line has {len(self.names)}"
                )
        return [row[self.names.index("file")] for row in self.rows]

    def read_rows(self) -> list[list[str]]:
        """The lines that hold something. Raises BenchError at the first beyond what a table of the folder has."""
        images = sum(len(files) for _, _, files in os.walk(self.path))
        rows: list[list[str]] = []
        with plain_file(self.table_path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            for row in csv.reader(short_lines(text, self.table_path, LONGEST_LINE, LARGEST_TABLE)):
                if len(rows) > images:
                    raise BenchError(
                        f"{self.table_path} lists more than {images} images, which is how many files the folder holds"
                    )
                rows += [row] if row else []
        return rows

    def header(self, first: list[str]) -> list[str]:
        """The column names of the first line. Raises BenchError unless one of them is `file`."""
        names = [name.strip() for name in first]
        line = ",".join(first)
        for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if "file" in [part.strip(' "') for part in line.split(separator)] and "file" not in names:
                raise BenchError(
                    f"{self.table_path}: the first line is {line!r}: columns are separated by {word} there and must be"
                    " separated by commas"
                )
        if "file" not in names:
            raise BenchError(
                f"{self.table_path} needs a first line of column names, one of them `file`; it is {line!r}"
            )
        return names

    def file(self, name: str) -> Path:
        """The path of an image, which must lie in the folder."""
        path = self.path / name
        where = f"{self.table_path} lists" if self.names else f"{self.path} holds"
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise BenchError(f"{where} {name!r}, which lies outside the folder")
        if not os.path.isfile(path):
            raise BenchError(f"{where} {name!r}, which is {'not there' if self.names else 'no plain file'}")
        return path

    def table(self) -> FactorTable:
        """The factors of all images, of some or of none."""
        if not self.names:
            return without_factors(len(self.files))
        numbered = [
            (number, [entry for entry, name in zip(row, self.names, strict=True) if name != "file"])
            for number, row in enumerate(self.rows)
        ]
        known = [
            (number, entries) for number, entries in numbered if any(map(str.strip, entries))
        ] or numbered
        rows = [f"row {number + 2} ({self.listed[number]})" for number, _ in known]
        names = [name for name in self.names if name != "file"]
        table = factor_table(
            self.table_path,
            tuple(names),
            [
                text_column(self.table_path, name, [entries[k] for _, entries in known], rows)
                for k, name in enumerate(names)
            ],
        )
        return among(table, np.array([number for number, _ in known], np.int64), len(self.files))

    def blocks(self) -> Iterator[Images]:
        """The images [1, 3, 64, 64], one by one."""
        self.largest_of_16_bits = None
        for path in self.files:
            yield self.pixels(path).transpose(2, 0, 1)[None]
        if self.largest_of_16_bits is not None and 0 < self.largest_of_16_bits <= 255:
            raise BenchError(
                f"{self.path}: its images of 16 bits hold no level above {self.largest_of_16_bits}, so that all are"
                " next to black; save them with 8 bits"
            )

    def pixels(self, path: Path) -> Images:
        """An image file as RGB [64, 64, 3]. Raises BenchError where it cannot be read or loses by that."""
        size = (FOLDER_SIDE, FOLDER_SIDE)
        try:
            with Image.open(path) as image:
                # A photograph's second frame is its preview.
                if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                    raise BenchError(f"{path} holds {image.n_frames} images; one a file is needed")  # type: ignore[attr-defined]
                return np.asarray(self.colour(path, image).resize(size, Image.Resampling.BILINEAR))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BenchError(f"{path} cannot be read as an image: {error}") from error

    def colour(self, path: Path, image: Image.Image) -> Image.Image:
        """The image as RGB. Raises BenchError, naming the mode, where levels or transparency would be lost."""
        if image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format in SIXTEEN_BIT_FORMATS):
            return self.eight_bits(image)
        if image.mode in ALPHA or "transparency" in image.info:
            opaque = image.convert("RGBA")
            if opaque.getchannel("A").getextrema() != (255, 255):
                raise BenchError(
                    f"{path} has transparent pixels (mode {image.mode}); lay it over a background and save it as RGB"
                )
            return opaque.convert("RGB")
        if image.mode not in PLAIN:
            raise BenchError(
                f"{path} has the mode {image.mode}, whose levels would be lost or guessed; save it as RGB or grey with"
                " 8 or 16 bits"
            )
        return image.convert("RGB")

    def eight_bits(self, image: Image.Image) -> Image.Image:
        """An image of 16 bits, 0..65535, scaled to 0..255."""
        levels = np.asarray(image).astype(np.int64)
        self.largest_of_16_bits = max(self.largest_of_16_bits or 0, int(levels.max(initial=0)))
        return Image.fromarray(np.rint(levels / 257).astype(np.uint8)).convert("RGB")
