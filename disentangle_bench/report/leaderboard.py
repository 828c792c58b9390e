"""leaderboard.csv: one row per data set, model and setting, with intervals over seeds, Pareto marks and ranks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.report.agreement import UDR
from disentangle_bench.report.comparison import (
    CONDITIONS,
    compared_by,
    lower_is_better,
    row_keys,
    row_of_run,
    several_likelihoods,
)
from disentangle_bench.report.foreign import TRAINED
from disentangle_bench.report.measures import SHOWN, row_statistics, wide
from disentangle_bench.report.runs_table import RECONSTRUCTION
from disentangle_bench.report.statistics import among_the_best, among_the_front, on_front
from disentangle_bench.report.words import in_words

# Shown where rows of one data set differ in them.
APART = ("data_fingerprint", "precision", "model_source", "scored_on", "revisions")


def all_rows(
    grouped: pd.DataFrame, sort: str | None = None, controls: Sequence[Mapping[str, Any]] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The leaderboard of the runs of `group_runs`, and the long table of all its measures (`row_statistics`).

    Rows are best first within each group, by the mean of `sort`; by default by that of the first metric, and in a
    group that has none of it, such as images without factors, by reconstruction. Their columns are all that keeps rows
    apart (`row_keys`), those of `leaderboard` and what this package needs beside: `row` (its number in the long table
    and for `row_of_run`), `group` (equal for rows whose numbers can be compared), `ranking` (equal for rows that are
    ranked together), `setting` (`beta=4`), `control`, `<measure>_<statistic>` for `measures.KEPT`, `best_<name>` of
    all measures and `front_<metric>`, the front of the means, which a line is drawn along. `controls` (as
    StudyDir.controls gives them) become rows below, whose model reads `control: <name>`, with neither rank nor mark.
    Raises BenchError where no run has finished or failed and when `sort` is no such measure.
    """
    headlines = list(grouped.attrs["headlines"])
    by_default = sort is None
    measures = [*RECONSTRUCTION, *headlines, *[UDR] * (UDR in grouped)]
    sort = sort or (headlines[0] if headlines else "reconstruction_nats")
    if sort not in measures:
        raise unknown_name("measure to sort by", sort, measures)
    if grouped.empty:
        raise BenchError("no run of this study has finished yet; there is nothing to rank")
    row, done = row_of_run(grouped), grouped["status"] == "DONE"
    rows = _described(grouped, row)
    rows["n_seeds"] = np.bincount(row, weights=done).astype(int)
    rows["n_failed"] = np.bincount(row, weights=~done).astype(int)
    statistics = row_statistics(grouped[done], row[done], len(rows), measures)
    rows = pd.concat([rows, wide(statistics)], axis=1)
    lower = lower_is_better(grouped)
    rows = pd.concat([rows, _marks(rows, measures, headlines, lower)], axis=1)
    rows = rows.join(ranks(rows, sort, lower, by_default))
    rows = rows.sort_values(["group", "ranking", "rank"], kind="stable", ignore_index=True)
    for lines, numbers in _control_rows(controls, rows, measures):
        rows = pd.concat([rows, lines], ignore_index=True)
        statistics = pd.concat([statistics, numbers], ignore_index=True)
    rows = rows.sort_values(["group", "control"], kind="stable", ignore_index=True)
    return rows.copy(), statistics  # in one piece: pandas is slow with what was joined from many parts


def leaderboard(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """leaderboard.csv: the columns of `all_rows` that are shown of these runs.

    In this order: dataset, provenance, model; source, where a row was not trained here; each setting that differs
    between rows, and what else keeps rows apart (`APART`, reconstruction_likelihood) where it differs within a data
    set; n_seeds (finished runs), n_failed, steps; for reconstruction_nats, excess_nats, excess_share, mse, kl,
    elbo, each metric headline and udr (where runs have it) `<name>_mean`, `_ci_low`, `_ci_high` (Student's t over
    seeds, 95 %; empty below 3 seeds), `_n`, the runs that have it, and `_median`; `best_<name>` for
    reconstruction_nats and the headlines, true where no other row is significantly better
    (`statistics.among_the_best`); `pareto_<metric>`, true where none significantly beats this one in
    reconstruction_nats and the metric together (`among_the_front`); rank, ties sharing the better one.
    """
    headlines = runs.attrs["headlines"]
    settings = [name for name in runs.attrs["settings"] if rows[name].nunique(dropna=False) > 1]
    models = rows[~rows["control"]]
    by_data = models.groupby("dataset")
    apart = [name for name in APART if (by_data[name].nunique() > 1).any()]
    if any(several_likelihoods(part) for _, part in by_data):
        apart.append("reconstruction_likelihood")
    agreed = [UDR] * (UDR in runs)
    columns = [
        *("dataset", "provenance", "model", *["source"] * bool((models["source"] != TRAINED).any())),
        *(*settings, *apart, "n_seeds", "n_failed", "steps"),
        *(f"{name}_{s}" for name in (*RECONSTRUCTION, *headlines, *agreed) for s in SHOWN),
        *(f"best_{name}" for name in ("reconstruction_nats", *headlines)),
        *(f"pareto_{name}" for name in headlines),
        "rank",
    ]
    return rows[columns]


def with_reconstruction(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that a figure of reconstruction is about: no control, and no foreign row without any."""
    drawn = (rows["source"] == TRAINED) | rows["reconstruction_nats_mean"].notna()
    return rows[drawn & ~rows["control"].astype(bool)]


def _described(grouped: pd.DataFrame, row: Any) -> pd.DataFrame:
    """A line per row, by its number: what its runs have in common."""
    # `first` skips what is missing, and a setting that a model does not have is missing in all of its runs.
    first = grouped.groupby(row, sort=False).first()
    rows = first[[*row_keys(grouped), "group"]]
    rows.insert(0, "row", rows.index)
    # What was not trained here has no steps and no precision, which sets no other row apart.
    trained = rows[rows["source"] == TRAINED]
    conditions = [n for n in CONDITIONS if trained[n].nunique(dropna=False) > 1]
    settings = [n for n in grouped.attrs["settings"] if rows[n].nunique(dropna=False) > 1]
    return rows.assign(setting=in_words(rows[[*settings, *conditions]]), control=False)


def ranks(rows: pd.DataFrame, sort: str, lower: Collection[str], by_default: bool) -> pd.DataFrame:
    """Columns rank and ranking of `all_rows`, for rows that are no controls.

    With `by_default` a group that has none of the measure is ranked by reconstruction.
    """
    measured = rows.groupby("group")[f"{sort}_mean"].transform("count") > 0
    found = []
    for number, part in enumerate((rows[measured | (not by_default)], rows[~measured & by_default])):
        by = "reconstruction_nats" if number else sort
        alike = part.groupby(compared_by(by))
        rank = alike[f"{by}_mean"].rank(method="min", ascending=by in lower).astype("Int64")
        found.append(pd.DataFrame({"rank": rank, "ranking": alike.ngroup() + number * len(rows)}))
    return pd.concat(found)


def _marks(
    rows: pd.DataFrame, measures: Sequence[str], headlines: Sequence[str], lower: Collection[str]
) -> pd.DataFrame:
    """Columns best_, pareto_ and front_ of `all_rows`."""
    marks = {f"best_{name}": _best(rows, name, lower) for name in measures}
    for metric in headlines:
        pareto, front = _fronts(rows, metric, lower)
        marks |= {f"pareto_{metric}": pareto, f"front_{metric}": front}
    return pd.DataFrame(marks, index=rows.index)


def _best(rows: pd.DataFrame, name: str, lower: Collection[str]) -> pd.Series:
    """Whether no other row that can be compared is significantly better."""
    marks = pd.Series(False, index=rows.index)
    for _, part in rows.groupby(compared_by(name)):
        marks[part.index] = among_the_best(*_gains(part, name, lower))
    return marks


def _fronts(rows: pd.DataFrame, metric: str, lower: Collection[str]) -> tuple[pd.Series, pd.Series]:
    """Whether no other row of the likelihood beats it in reconstruction and metric: significantly, and by its means."""
    pareto, front = pd.Series(False, index=rows.index), pd.Series(False, index=rows.index)
    for _, part in rows.groupby(compared_by("reconstruction_nats")):
        costs, gains = _gains(part, "reconstruction_nats", ()), _gains(part, metric, lower)
        pareto[part.index] = among_the_front(costs, gains)
        front[part.index] = on_front(costs[0], gains[0])
    return pareto, front


def _gains(rows: pd.DataFrame, name: str, lower: Collection[str]) -> tuple[Any, Any, Any]:
    """Mean, deviation and number of runs of a measure, each an array [rows]; the mean of what is `lower` negated."""
    mean, std = (rows[f"{name}_{statistic}"].to_numpy(float) for statistic in ("mean", "std"))
    return -mean if name in lower else mean, std, rows[f"{name}_n"].to_numpy(int)


def _control_rows(
    controls: Sequence[Mapping[str, Any]], rows: pd.DataFrame, measures: Sequence[str]
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """For each data set's controls their rows, over the same seeds, in the columns of `rows`; and the long table."""
    found: list[tuple[pd.DataFrame, pd.DataFrame]] = []
    number = len(rows)
    marks = {column: False for column in rows.columns if column.startswith(("best_", "pareto_", "front_"))}
    for entry in controls:
        beside = rows[(rows["dataset"] == entry["dataset"]) & (rows["provenance"] == entry["provenance"])]
        # Images without factors have no controls.
        if beside.empty or not entry["rows"]:
            continue
        table = pd.DataFrame(entry["rows"]).reindex(columns=["control", *measures])
        row = table.groupby("control", sort=False).ngroup().to_numpy()
        names = list(dict.fromkeys(table["control"]))
        statistics = row_statistics(table, row, len(names), measures)
        lines = pd.DataFrame({"model": [f"control: {name}" for name in names]}).assign(
            **marks,
            dataset=entry["dataset"],
            provenance=entry["provenance"],
            row=number + np.arange(len(names)),
            group=beside["group"].iloc[0],
            setting="",
            control=True,
            n_seeds=np.bincount(row),
            n_failed=0,
            steps=0,
        )
        lines = pd.concat([lines, wide(statistics)], axis=1).reindex(columns=rows.columns)
        lines = lines.astype({"rank": "Int64", "steps": "Int64"})
        found.append((lines, statistics.assign(row=statistics["row"] + number)))
        number += len(names)
    return found
