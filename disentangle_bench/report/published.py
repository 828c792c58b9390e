"""Figures that papers have published."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def load_published() -> pd.DataFrame:
    """Figures of papers, one per row, and how they were measured. Two papers rarely measure the same.

    Returns
    -------
    DataFrame
        Columns dataset, model (this package's name, if it has one), hyper, metric, value, spread (what the paper
        prints after the value), steps, protocol and source.

    Examples
    --------
    >>> import disentangle_bench
    >>> published = disentangle_bench.load_published()
    >>> sorted(published.columns)[:3]
    ['dataset', 'hyper', 'metric']
    """
    installed = Path(__file__).parent / "assets" / "published.csv"
    # In a checkout the file lies where people look for results.
    path = installed if installed.is_file() else Path(__file__).parents[2] / "results" / "published.csv"
    return pd.read_csv(path)
