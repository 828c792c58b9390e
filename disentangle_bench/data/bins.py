"""A real-valued factor in bins, which is what metrics of discrete factors see of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 10


def in_bins(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(the number of each value's bin [n], what the bins are called: "0.1 to 0.35") of finite `values` [n].

    Up to ten different values are a bin each. Of more, each goes to that tenth of the images in which the middle of its
    equals' ranks lies: with s smaller values and e equal ones, itself among them, bin floor(10 (s + e / 2) / n). So
    bins hold equally many images, but for equal values, which stay together; tenths that none goes to are left out.
    """
    different, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    bins = np.arange(len(different))
    if len(different) > BINS:
        # In whole numbers, so that no rounding moves a value.
        middles = 2 * (np.cumsum(counts) - counts) + counts
        bins = np.unique(BINS * middles // (2 * len(values)), return_inverse=True)[1].reshape(-1)
    firsts = np.flatnonzero(np.diff(bins, prepend=-1))
    lasts = np.flatnonzero(np.diff(bins, append=len(bins)))
    labels = (_label(different[first], different[last]) for first, last in zip(firsts, lasts, strict=True))
    return bins[where.reshape(-1)].astype(np.int64), tuple(labels)


def _label(first: float, last: float) -> str:
    return f"{first:.4g}" if first == last else f"{first:.4g} to {last:.4g}"
