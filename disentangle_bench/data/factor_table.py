"""Each image's factors as numbers 0, 1, ...: made of the labels that somebody's own data have, and held against them.

Labels are compared as they are written, whole numbers of any size among them. A measured quantity keeps its values
beside the bins that they fall into. What is no factor is refused by name: a label that is missing, a column that
numbers the rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle_bench.data.bins import in_bins
from disentangle_bench.errors import BenchError, unknown_name

MISSING = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "nat"})
INDEX_NAMES = frozenset({"index", "idx", "id", "row", "image_id", "rowid", "row_id"})
# Below so many images a column whose every value occurs once may be chance.
FEW_IMAGES = 10
# A factor's value in a table, of an image whose factors are not known.
UNKNOWN = -1
Label = tuple[int, Any]  # what a label is sorted by: numbers by value before text


@dataclass(frozen=True)
class FactorTable:
    """Each image's factors [n, factors], numbered from 0, with their names and sizes.

    `place` [n] says where each image goes in a full grid; None where the images are no full grid. `labels` holds what
    the values of a factor are called, in order, for factors whose values have names. Images whose factors are not known
    have -1 in `values`.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    values: NDArray[np.int64]
    place: NDArray[np.int64] | None
    labels: dict[str, tuple[str, ...]]
    measured: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Column:
    """One factor: each image's value [n], numbered from 0 in order; `fractional` where labels are no whole numbers.

    `measured` holds the values themselves [n] where all are numbers and some are not whole; the factor is `real` where
    these are kept.
    """

    values: NDArray[np.int64]
    size: int
    fractional: bool = False
    labels: tuple[str, ...] = ()
    measured: NDArray[np.float64] | None = None
    real: bool = False


def factor_table(path: Path, names: tuple[str, ...], columns: Sequence[Column]) -> FactorTable:
    """The table of these columns. Raises BenchError where names are missing or a column is no factor."""
    if not columns or not len(columns[0].values):
        raise BenchError(f"{path} names no factor or no image")
    if not all(names):
        raise BenchError(
            f"{path}: column {names.index('') + 1} of the factors has no name; an index that a table was saved with"
            " (pandas: to_csv(index=False) leaves it out) is no factor"
        )
    if len(set(names)) != len(columns):
        raise BenchError(
            f"{path}: {len(columns)} factors need as many different names, not {', '.join(names)}"
        )
    images = len(columns[0].values)
    place = grid_place(*_numbers(columns))
    continuous = [_is_continuous(column, images, place is not None) for column in columns]
    # Bins that happen to occur in every combination are no grid: values differ within them.
    place = None if any(continuous) else place
    columns = [
        _binned(column) if is_continuous else _with_steps(column)
        for column, is_continuous in zip(columns, continuous, strict=True)
    ]
    values, sizes = _numbers(columns)
    named = dict(zip(names, columns, strict=True))
    for name, column in named.items():
        if not column.real:
            check_factor(str(path), name, column.size, images, place is not None, column.fractional)
    labels = {name: column.labels for name, column in named.items() if column.labels}
    measured = {
        name: column.measured for name, column in named.items() if column.real and column.measured is not None
    }
    return FactorTable(names, sizes, values, place, labels, measured)


def _numbers(columns: Sequence[Column]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """The table [n, factors] of these columns, and their sizes."""
    values = np.stack([column.values for column in columns], axis=1).astype(np.int64)
    return values, tuple(column.size for column in columns)


def _is_continuous(column: Column, images: int, full_grid: bool) -> bool:
    """Whether the numbers of a column go into bins: neither the steps of a full grid nor those of a text's scale."""
    if column.measured is None:
        return False
    if full_grid:
        return images >= FEW_IMAGES and column.size == images
    return column.real or _has_too_many(column.size, images)


def _binned(column: Column) -> Column:
    assert column.measured is not None
    bins, labels = in_bins(column.measured)
    return replace(column, values=bins, size=len(labels), labels=labels, real=True)


def _with_steps(column: Column) -> Column:
    """The column, with its values as labels where they are kept."""
    if not column.real or column.measured is None:
        return column
    return replace(column, labels=tuple(f"{value:.6g}" for value in np.unique(column.measured)))


def _has_too_many(size: int, images: int) -> bool:
    """Whether so many different fractional numbers are no steps of a scale."""
    return size == images > 2 or (images >= FEW_IMAGES and size > images // 2)


def without_factors(images: int) -> FactorTable:
    """The table of so many images that have no factors."""
    return FactorTable((), (), np.empty((images, 0), np.int64), None, {}, {})


def among(table: FactorTable, labelled: NDArray[np.int64], images: int) -> FactorTable:
    """The table of so many images, of which those at the positions `labelled` have its factors, row for row."""
    values = np.full((images, len(table.sizes)), UNKNOWN, np.int64)
    values[labelled] = table.values
    place = None
    if table.place is not None and len(labelled) == images:
        place = np.empty(images, np.int64)
        place[labelled] = table.place
    measured = {}
    for name, known in table.measured.items():
        measured[name] = np.full(images, np.nan)
        measured[name][labelled] = known
    return replace(table, values=values, place=place, measured=measured)


def grid_place(values: NDArray[np.int64], sizes: tuple[int, ...]) -> NDArray[np.int64] | None:
    """int64 [n]: where each image stands in a full grid; None where not every combination is there exactly once."""
    # A table may have more combinations than any integer counts; a grid has one image for each.
    if math.prod(sizes) != len(values):
        return None
    place = np.ravel_multi_index(tuple(values.T), sizes).astype(np.int64)
    return place if len(np.unique(place)) == len(place) else None


def check_factor(
    where: str, name: str, size: int, images: int, full_grid: bool, fractional: bool = False
) -> None:
    """Raise BenchError where this column of so many different values is no factor of these images."""
    if size == images > 1 and (name.lower() in INDEX_NAMES or name.lower().startswith("unnamed:")):
        raise BenchError(
            f"{where}: {name!r} has a value of its own for each of the {images} images, so that it numbers them and is"
            " no factor; leave it out (pandas: to_csv(index=False)), or give it another name if it is one"
        )
    many = images >= FEW_IMAGES
    if full_grid:
        refused = fractional and many and size == images
    elif fractional:
        refused = _has_too_many(size, images)
    else:
        refused = many and size > 0.9 * images
    if refused:
        how = "a value of its own for each of the" if size == images else f"{size} different values for"
        raise BenchError(
            f"{where}: {name!r} has {how} {images} images, of which no metric can learn anything; put a measured"
            " quantity of whole numbers into bins (pandas.qcut), number the steps of a scale 0, 1, ..., or leave the"
            " column out"
        )


def check_table_shape(name: str, sizes: Sequence[int], table: Any) -> None:
    """Raise BenchError unless `table` is a torch tensor int64 [images, factors]."""
    dtype, shape = getattr(table, "dtype", type(table).__name__), tuple(getattr(table, "shape", ()))
    if not isinstance(table, Tensor) or dtype != torch.int64 or shape[1:] != (len(sizes),):
        raise BenchError(
            f"{name}: the factor table is {dtype} {shape}, not a tensor torch.int64 (images, {len(sizes)}):"
            " number each factor's values 0, 1, ..., and give those of a real-valued factor as `measured`"
        )


def check_measured(
    name: str, names: Sequence[str], measured: Mapping[str, Any], images: int, table: Tensor | None
) -> None:
    """Raise BenchError unless each of these factors has values float64 [images], finite where the table has factors."""
    known = torch.ones(images, dtype=torch.bool) if table is None else (table != UNKNOWN).any(dim=1)
    for factor, values in measured.items():
        if factor not in names:
            raise unknown_name(f"factor of {name}", factor, names)
        dtype, shape = (
            getattr(values, "dtype", type(values).__name__),
            tuple(getattr(values, "shape", ())),
        )
        if not isinstance(values, Tensor) or dtype != torch.float64 or shape != (images,):
            raise BenchError(
                f"{name}: the measured values of {factor!r} are {dtype} {shape}, not a tensor torch.float64"
                f" ({images},), a number for each image"
            )
        if not bool(values.isfinite()[known].all()):
            row = int((~values.isfinite() & known).nonzero()[0])
            raise BenchError(
                f"{name}: image {row} has {float(values[row])} for {factor!r}; every image needs a value"
            )


def check_table(name: str, names: Sequence[str], sizes: Sequence[int], table: Tensor) -> None:
    """Raise BenchError unless `table` is int64 [images, factors] with values 0..size-1 that make factors.

    Rows of -1 are images whose factors are not known; there must be two others.
    """
    check_table_shape(name, sizes, table)
    if not names:
        return
    images, table = len(table), table[(table != UNKNOWN).any(dim=1)]
    if len(table) < min(2, images):
        raise BenchError(
            f"{name}: {len(table)} of its {images} images have factors, of which nothing can be measured; give factors"
            " of more, or of none"
        )
    for factor, size, column in zip(names, sizes, table.unbind(1), strict=True):
        if len(column) and not 0 <= int(column.min()) <= int(column.max()) < size:
            raise BenchError(
                f"{name}: {factor!r} has values {int(column.min())} to {int(column.max())} in the factor table,"
                f" not 0 to {size - 1}"
            )
        check_factor(name, factor, len(column.unique()), len(table), full_grid=False)


def number_column(numbers: NDArray[Any]) -> Column:
    """The column of whole numbers [n], whatever their size."""
    found, values = np.unique(numbers, return_inverse=True)
    return Column(values.reshape(-1).astype(np.int64), len(found))


def real_column(path: Path, name: str, numbers: NDArray[Any]) -> Column:
    """The column of floats [n]: an ordinary one where all are whole. Raises BenchError for a nan or an infinity."""
    measured = numbers.astype(np.float64)
    odd = np.flatnonzero(~np.isfinite(measured))
    if len(odd):
        raise BenchError(
            f"{path}: row {odd[0]} of factors (counted from 0) has {measured[odd[0]]} for {name!r}: every image needs a"
            " value; drop the row"
        )
    column = number_column(measured)
    if (measured == np.rint(measured)).all():
        return column
    return replace(column, fractional=True, measured=measured, real=True)


def text_column(path: Path, name: str, entries: Sequence[str], rows: Sequence[str]) -> Column:
    """The column of a text table, its labels sorted: numbers by value, text by the numbers within and the rest.

    `rows` [n] is what messages call each row. Raises BenchError for a label that is missing or not finite.
    """
    labels: dict[Label, str] = {}
    keys = []
    for entry, row in zip(entries, rows, strict=True):
        text = entry.strip()
        number = _number(text)
        if text.lower() in MISSING or (number is not None and not number.is_finite()):
            found = repr(text) if text else "nothing"
            raise BenchError(
                f"{path}: {row} has {found} for {name!r}: every image needs a value;"
                " drop the row, or give what is meant a name of its own"
            )
        key: Label = (0, number) if number is not None else (1, _natural(text))
        labels.setdefault(key, text)
        keys.append(key)
    order = {key: place for place, key in enumerate(sorted(labels))}
    fractional = any(kind == 0 and value != value.to_integral_value() for kind, value in order)
    values = np.array([order[key] for key in keys], np.int64)
    numbers = fractional and all(kind == 0 for kind, _ in order)
    measured = np.array([float(value) for _, value in keys]) if numbers else None
    return Column(values, len(order), fractional, tuple(labels[key] for key in order), measured)


def _number(text: str) -> Decimal | None:
    """The number that this is, exactly; None for text."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _natural(text: str) -> tuple[Any, ...]:
    """What text is sorted by: numbers within it by value, so that "size 9" comes before "size 10"."""
    parts = re.split(r"([0-9]+)", text)
    # The text itself keeps "a1" and "a01" apart.
    return tuple(Decimal(part) if k % 2 else part for k, part in enumerate(parts)), text
