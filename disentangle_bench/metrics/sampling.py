"""Rows of a (codes, factors) table, drawn as the 2019 study draws from its generator of images.

The study draws every factor uniformly and with replacement. On a full factorial table that is a uniform row;
on a random subset of rows a value of the fixed factor is drawn uniformly over the values present, then a row
that has it.
"""

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Factors

Rows = NDArray[np.intp]


def draw_points(
    codes: Codes, factors: Factors, points: int | None, rng: np.random.Generator
) -> tuple[NDArray[np.float64], Factors]:
    """The codes, as float64, and factors of `points` rows drawn uniformly with replacement; all rows for None.

    In float64 the mean of equal float32 values is exact and their variance 0; in float32 neither holds.
    """
    rows = slice(None) if points is None else rng.integers(len(codes), size=points)
    return codes[rows].astype(np.float64), factors[rows]


class RowsByValue:
    """The rows of a table grouped by the value of one factor, for draws that hold this factor fixed."""

    def __init__(self, factor: NDArray[np.int64]) -> None:
        # A stable sort of 16-bit integers is a radix sort, several times faster than a comparison sort.
        narrow = factor.astype(np.int16) if factor.max() <= np.iinfo(np.int16).max else factor
        self._rows = np.argsort(narrow, kind="stable")
        counts = np.bincount(factor)
        self._counts = counts[counts > 0]
        self._starts = np.cumsum(self._counts) - self._counts

    def draw_values(self, size: int | tuple[int, ...], rng: np.random.Generator) -> Rows:
        """Values of the factor, uniform over those present, as positions 0..present-1."""
        return rng.integers(len(self._counts), size=size)

    def draw_rows(self, values: Rows, rng: np.random.Generator) -> Rows:
        """One row for each of `values`, uniform over the rows that have the value; the shape of `values`."""
        offset = (rng.random(values.shape) * self._counts[values]).astype(np.intp)
        return self._rows[self._starts[values] + offset]
