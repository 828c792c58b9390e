"""Tables of codes and factors, checked before any metric sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.data.bins import in_bins
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.metric import Codes, Factors, Values

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import FactorDataset


@dataclass(frozen=True)
class Truth:
    """The factors of some points [points, factors] where some are real-valued: `numbers` and `values`.

    Of a real-valued factor the numbers are those of its bins, and the values what was measured.
    """

    numbers: Factors
    values: Values

    def __getitem__(self, place: Any) -> Truth:
        return Truth(self.numbers[place], self.values[place])

    @property
    def real(self) -> NDArray[np.bool_]:
        """bool [factors]: which factors are real-valued."""
        different: NDArray[np.bool_] = (self.numbers != self.values).any(axis=0)
        return different


def truth_of(dataset: FactorDataset, index: Any) -> Factors | Truth:
    """The factors of these images [points, factors], as metrics are given them."""
    numbers: Factors = dataset.factors(index).cpu().numpy()
    return Truth(numbers, dataset.values(index).cpu().numpy()) if dataset.measured else numbers


def numbers_of(factors: Factors | Truth) -> Factors:
    """int64 [points, factors], of real-valued factors their bins."""
    return factors.numbers if isinstance(factors, Truth) else factors


def values_of(factors: Factors | Truth) -> Factors | Values:
    """[points, factors], of real-valued factors what was measured."""
    return factors.values if isinstance(factors, Truth) else factors


def checked_tables(codes: Any, factors: Any, needed: bool = True) -> tuple[Codes, Factors | Truth]:
    """Codes and those of the factors that vary, as metrics take them; BenchError where there are no such tables.

    Where factors are not `needed`, there are none: [points, 0].
    """
    table = checked_codes(codes)
    truth = checked_factors(factors) if needed else np.empty((len(numbers_of(factors)), 0), np.int64)
    numbers = numbers_of(truth)
    if len(table) != len(numbers):
        raise BenchError(
            f"codes have {len(table)} rows and factors {len(numbers)}: they must describe the same points."
        )
    if not needed:
        return table, truth
    varies = numbers.max(axis=0) > numbers.min(axis=0)
    if not varies.any():
        raise BenchError("every factor has one value only: there is nothing that codes could tell apart.")
    return table, truth[:, varies]


def checked_codes(codes: Any) -> Codes:
    """`codes` as float32 [points, latents]; BenchError unless they are a table of finite numbers that fit into it.

    Latents far from zero are moved to it first where they have more digits than float32 (see `_near_zero`).
    """
    table = as_table(codes, "codes", "latents")
    if table.dtype.kind not in "fiu":
        raise BenchError(f"codes must be numbers, not {table.dtype}.")
    finite = np.isfinite(table)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        count = int((~finite).sum())
        raise BenchError(
            f"codes hold {count} NaN or infinite values, the first in row {row}, latent {column}."
        )
    moved = _near_zero(table)
    largest = np.abs(moved).max(axis=0)
    if (largest > np.finfo(np.float32).max).any():
        raise BenchError(
            f"codes of latent {largest.argmax()} reach {largest.max():.1e}, too large for float32: divide them."
        )
    return np.ascontiguousarray(moved, dtype=np.float32)


def _near_zero(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The table with those latents less their median whose digits float32 would lose to their distance from zero.

    A latent is that far off if it spreads over less than a hundredth of the distance. One that spreads over less
    than a float64's rounding is constant, and stays as it is.
    """
    if table.dtype.kind == "f" and table.dtype.itemsize <= 4:
        return table
    wide = table.astype(np.float64)
    # An element of the column itself, so that the difference of whole numbers is whole.
    centre = np.partition(wide, len(wide) // 2, axis=0)[len(wide) // 2]
    with np.errstate(over="ignore"):
        spread, distance = np.abs(wide - centre).mean(axis=0), np.abs(centre)
    far = (spread < distance / 100) & (spread > 1e-12 * distance)
    moved: np.ndarray[Any, Any] = wide - np.where(far, centre, 0.0)
    return moved


def checked_factors(factors: Any) -> Factors | Truth:
    """`factors` as int64 [points, factors] from 0 on, beside their values where a column is not all whole numbers.

    Such a column is real-valued: its number is that of its bin (`in_bins`). A column of whole numbers that lie further
    apart than it has rows is renumbered by rank; others keep their distances. BenchError for what is no finite number.
    """
    if isinstance(factors, Truth):
        numbers = _numbered(factors.numbers)
        return Truth(numbers, np.where(factors.real, factors.values, numbers))
    table = as_table(factors, "factors", "factors")
    if table.dtype.kind not in "fiub":
        raise BenchError(f"factors must be numbers, not {table.dtype}.")
    if table.dtype.kind != "f":
        return _numbered(table)
    values = table.astype(np.float64)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise BenchError(
            f"factors hold NaN or infinite values, the first in row {row}, factor {column}; drop the row."
        )
    real = (values != np.rint(values)).any(axis=0)
    numbers = _numbered(np.where(real, 0, values))
    if not real.any():
        return numbers
    for column in np.flatnonzero(real):
        numbers[:, column] = in_bins(values[:, column])[0]
    return Truth(numbers, np.where(real, values, numbers))


def _numbered(table: np.ndarray[Any, Any]) -> Factors:
    """Whole numbers [points, factors] from 0 on."""
    whole = table.astype(np.int64)
    for column in whole.T:
        least, largest = int(column.min()), int(column.max())
        if largest - least > len(column):
            column[:] = np.unique(column, return_inverse=True)[1].reshape(-1)
        else:
            column -= least
    return whole


def as_table(values: Any, what: str, columns: str) -> np.ndarray[Any, Any]:
    """Anything that NumPy or torch can read, as a table [points, columns]. Raises BenchError for what is none."""
    try:
        if hasattr(values, "detach"):  # a torch tensor
            values = values.detach().cpu()
            # NumPy has no bfloat16.
            narrow = values.is_floating_point() and values.element_size() < 4
            values = (values.float() if narrow else values).numpy()
        table = np.asarray(values)
    except (AttributeError, TypeError, ValueError) as error:
        raise BenchError(f"{what} cannot be read as a table: {error}") from error
    if table.ndim != 2:
        raise BenchError(f"{what} must have the shape [points, {columns}], not {list(table.shape)}.")
    if table.shape[0] < 2 or table.shape[1] < 1:
        raise BenchError(f"{what} need at least 2 points and 1 column, not the shape {list(table.shape)}.")
    return table


def reduced_tokens(codes: Any) -> tuple[Any, int | None]:
    """Codes [points, latents] of codes [points, tokens, width], and the width; others as they are, and None.

    A token is reduced to its first principal component over these points, turned so that its largest weight is
    positive.
    """
    if getattr(codes, "ndim", 2) != 3:
        return codes, None
    table = np.asarray(codes, dtype=np.float64)
    if not np.isfinite(table).all() or 0 in table.shape or len(table) < 2:
        return table.reshape(len(table), -1), table.shape[2]  # refused with a reason where codes are checked
    centred = table - table.mean(axis=0)
    _, _, axes = np.linalg.svd(np.einsum("ptw,ptv->twv", centred, centred))
    first = axes[:, 0]
    largest = np.take_along_axis(first, np.abs(first).argmax(axis=1)[:, None], axis=1)
    return np.einsum("ptw,tw->pt", centred, first * np.sign(largest)), table.shape[2]
