"""Rows of a (codes, factors) table, drawn as the 2019 study draws from its generator of images.

The study draws every factor uniformly and with replacement. On a full factorial table that is a uniform row;
on a random subset of rows a value of the fixed factor is drawn uniformly over the values present, then a row
that has it.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Factors

Rows = NDArray[np.intp]
Numbers = TypeVar("Numbers", bound="np.number[Any]")


def draw_points(
    codes: Codes, factors: NDArray[Numbers], points: int | None, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[Numbers]]:
    """The codes, as float64, and factors of `points` rows drawn uniformly with replacement; all rows for None.

    In float64 the mean of equal float32 values is exact and their variance 0; in float32 neither holds.
    """
    rows = slice(None) if points is None else rng.integers(len(codes), size=points)
    return codes[rows].astype(np.float64), factors[rows]


def draw_distinct(
    codes: Codes, factors: Factors, points: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], Factors]:
    """The codes, as float64, and factors of `points` different rows; all rows where there are no more.

    For estimates from nearest neighbours: a row that is drawn twice is its own neighbour, at no distance.
    """
    rows = slice(None) if points >= len(codes) else rng.choice(len(codes), size=points, replace=False)
    return codes[rows].astype(np.float64), factors[rows]


def parted(
    codes: Codes, factors: Factors, train_share: float, rng: np.random.Generator
) -> tuple[tuple[Codes, Factors], tuple[Codes, Factors]]:
    """The table cut at random into two that share no row; the first, to train on, has `train_share` of the rows."""
    order = rng.permutation(len(codes))
    cut = min(max(round(train_share * len(codes)), 1), len(codes) - 1)
    train, test = order[:cut], order[cut:]
    return (codes[train], factors[train]), (codes[test], factors[test])


def draw_train_and_test(
    codes: Codes,
    factors: Factors,
    train_points: int,
    test_points: int,
    rng: np.random.Generator,
    disjoint: bool,
) -> tuple[tuple[NDArray[np.float64], Factors], tuple[NDArray[np.float64], Factors]]:
    """Codes and factors of rows to train on and of rows to test on, both drawn with replacement.

    Both come from the whole table, as in the study, so that the smaller it is the more rows they share; or, if
    `disjoint`, from two parts of it, which share none.
    """
    train_from = test_from = (codes, factors)
    if disjoint:
        train_from, test_from = parted(codes, factors, train_points / (train_points + test_points), rng)
    return draw_points(*train_from, train_points, rng), draw_points(*test_from, test_points, rng)


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
