"""Columns with mean 0 and variance 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def standardised(table: NDArray["np.number[Any]"], by: Array | None = None) -> Array:
    """`table` [points, columns] less the mean and over the standard deviation of `by`, by default its own.

    Columns that are constant in `by` come out as 0.
    """
    reference = np.asarray(table if by is None else by, dtype=np.float64)
    spread = reference.std(axis=0)
    centred = table - reference.mean(axis=0)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
