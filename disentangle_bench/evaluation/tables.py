"""Tables of codes and factors, checked before any metric sees them."""

from __future__ import annotations

from typing import Any

import numpy as np

from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.metric import Codes, Factors


def checked_tables(codes: Any, factors: Any, needed: bool = True) -> tuple[Codes, Factors]:
    """Codes and those of the factors that vary, as metrics take them; BenchError where there are no such tables.

    Where factors are not `needed`, there are none: [points, 0].
    """
    table = checked_codes(codes)
    truth = checked_factors(factors) if needed else np.empty((len(factors), 0), np.int64)
    if len(table) != len(truth):
        raise BenchError(
            f"codes have {len(table)} rows and factors {len(truth)}: they must describe the same points."
        )
    if not needed:
        return table, truth
    varies = truth.max(axis=0) > truth.min(axis=0)
    if not varies.any():
        raise BenchError("every factor has one value only: there is nothing that codes could tell apart.")
    return table, truth[:, varies]


def checked_codes(codes: Any) -> Codes:
    """`codes` as float32 [points, latents]; BenchError unless they are a table of finite real numbers.

    Latents far from zero are moved to it first where they have more digits than float32 (see `_near_zero`).
    """
    table = as_table(codes, "codes", "latents")
    if table.dtype.kind not in "fiu":
        raise BenchError(f"codes must be numbers, not {table.dtype}.")
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = np.ascontiguousarray(_near_zero(table), dtype=np.float32)
    finite = np.isfinite(narrow)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        count = int((~finite).sum())
        raise BenchError(
            f"codes hold {count} NaN or infinite values, the first in row {row}, latent {column}."
        )
    return narrow


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
    spread, distance = np.abs(wide - centre).mean(axis=0), np.abs(centre)
    far = (spread < distance / 100) & (spread > 1e-12 * distance)
    moved: np.ndarray[Any, Any] = wide - np.where(far, centre, 0.0)
    return moved


def checked_factors(factors: Any) -> Factors:
    """`factors` as int64 [points, factors] from 0 on; BenchError unless they are whole numbers.

    A column whose values lie further apart than it has rows is renumbered by rank; others keep their
    distances.
    """
    table = as_table(factors, "factors", "factors")
    if table.dtype.kind not in "fiub":
        raise BenchError(f"factors must be whole numbers, not {table.dtype}.")
    if table.dtype.kind == "f" and not (np.isfinite(table).all() and (table == np.floor(table)).all()):
        raise BenchError("factors must be whole numbers: give the class of each value, not the value itself.")
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
