"""The long table of all measures, a line per row of the leaderboard and measure, which the wide ones are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from disentangle_bench.report.derived import DerivedTable
from disentangle_bench.report.statistics import deviation, spreads

if TYPE_CHECKING:
    from disentangle_bench.report.tables import Tables

Numbers = NDArray[np.integer[Any]]

STATISTICS = (
    *("mean", "std", "ci_low", "ci_high", "median", "median_ci_low", "median_ci_high"),
    *("iqm", "iqm_ci_low", "iqm_ci_high", "n"),
)
SHOWN = ("mean", "ci_low", "ci_high", "n", "median")  # those that leaderboard.csv has of each measure
KEPT = (*SHOWN, "std")  # those that this package needs beside each other


def row_statistics(done: pd.DataFrame, row: Numbers, rows: int, measures: Sequence[str]) -> pd.DataFrame:
    """Columns row, measure and STATISTICS; a line for each of `rows` rows and each measure, in this order.

    `done` are finished runs, and `row` [runs] says which row each belongs to. All are computed together.
    """
    place = pd.Series(row).groupby(row).cumcount().to_numpy()
    deepest = int(place.max(initial=-1)) + 1
    values = np.full((max(deepest, 1), rows, len(measures)), np.nan)
    values[place, row] = done[list(measures)].to_numpy(dtype=float)
    flat = values.reshape(len(values), -1)
    found = spreads(flat)
    columns = {"row": np.repeat(np.arange(rows), len(measures)), "measure": list(measures) * rows}
    columns |= {"mean": found["mean"].value, "std": deviation(flat)}
    columns |= {"ci_low": found["mean"].low, "ci_high": found["mean"].high}
    for name in ("median", "iqm"):
        columns[name] = found[name].value
        columns[f"{name}_ci_low"], columns[f"{name}_ci_high"] = found[name].low, found[name].high
    return pd.DataFrame(columns | {"n": (~np.isnan(flat)).sum(axis=0)})


def wide(statistics: pd.DataFrame) -> pd.DataFrame:
    """The same as a line per row: a column `<measure>_<statistic>` for each measure and each of KEPT."""
    measures = list(dict.fromkeys(statistics["measure"]))
    shaped = {name: statistics[name].to_numpy().reshape(-1, len(measures)) for name in KEPT}
    return pd.DataFrame({f"{m}_{name}": shaped[name][:, i] for i, m in enumerate(measures) for name in KEPT})


def measures_table(tables: Tables) -> pd.DataFrame:
    """measures.csv: a line per row of the leaderboard and measure.

    Columns: those that say which row it is (dataset, provenance, model, settings, steps), measure, STATISTICS.
    """
    columns = list(tables.leaderboard.columns)
    about = [*columns[: columns.index("n_seeds")], "steps"]
    table = tables.rows[["row", *about]].merge(tables.statistics, on="row", how="left")
    return table[[*about, "measure", *STATISTICS]]


MEASURES = DerivedTable("measures", measures_table)
