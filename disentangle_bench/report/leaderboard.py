"""leaderboard.csv: one row per data set, model and setting, with intervals over seeds, Pareto marks and ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.report.runs_table import RECONSTRUCTION

CONFIDENCE = 0.95
RESAMPLES = 5000
LOWER_IS_BETTER = ("reconstruction_nats", "mse", "kl")
SUFFIXES = ("mean", "std", "ci_low", "ci_high")


def leaderboard(
    runs: pd.DataFrame, sort: str | None = None, controls: Sequence[Mapping[str, Any]] = ()
) -> pd.DataFrame:
    """The leaderboard of a table of runs (`load_scores`), best first within each data set.

    Columns in this order: dataset, provenance, model; each setting that differs between rows; n_seeds (finished runs),
    n_failed, steps; for reconstruction_nats, mse, kl, elbo and each metric headline `<name>_mean`, `_std` (ddof 1),
    `_ci_low`, `_ci_high` (percentile bootstrap of the mean over seeds, 95 %, fixed seed; empty below 2 seeds);
    `pareto_<metric>`, true where no other row of the data set is better in one of reconstruction_nats and the metric
    and at least as good in the other; rank within the data set by the mean of `sort` (by default the first metric),
    ties sharing the better rank. `controls` (as StudyDir.controls gives them) become rows below, whose model reads
    `control: <name>`, with neither rank nor Pareto mark. Raises BenchError when `sort` is no such measure.
    """
    headlines = list(runs.attrs["headlines"])
    measures = [*RECONSTRUCTION, *headlines]
    sort = sort or (headlines[0] if headlines else "reconstruction_nats")
    if sort not in measures:
        raise unknown_name("measure to sort by", sort, measures)
    if runs.empty:
        raise BenchError("no run of this study has finished yet; there is nothing to rank")
    keys = ["dataset", "provenance", "model", *runs.attrs["settings"], "steps", "data_fingerprint"]
    rows = [
        dict(zip(keys, key, strict=True)) | _summary(group, measures)
        for key, group in runs.groupby(keys, sort=False, dropna=False)
    ]
    board = pd.DataFrame(rows)
    for metric in headlines:
        board[f"pareto_{metric}"] = pareto(board, "reconstruction_nats_mean", f"{metric}_mean")
    board["rank"] = _ranks(board, sort)
    if controls:
        board = pd.concat([board, _control_rows(controls, board, measures)], ignore_index=True)
    order = dict.fromkeys(board["dataset"])
    board = board.sort_values(
        ["dataset", "rank"], key=lambda c: c.map({d: i for i, d in enumerate(order)}) if c.name == "dataset" else c,
        kind="stable", ignore_index=True,
    )  # fmt: skip
    return board[_columns(board, runs.attrs["settings"], measures, headlines)]


def pareto(board: pd.DataFrame, cost: str, gain: str) -> pd.Series:
    """Whether no other row of its data set beats a row on low `cost` and high `gain`; a row must have both."""
    marks = np.zeros(len(board), dtype=bool)
    for dataset in board["dataset"].unique():
        rows = np.flatnonzero((board["dataset"] == dataset) & board[cost].notna() & board[gain].notna())
        costs, gains = board[cost].to_numpy()[rows], board[gain].to_numpy()[rows]
        at_least = (costs[None] <= costs[:, None]) & (gains[None] >= gains[:, None])
        better = (costs[None] < costs[:, None]) | (gains[None] > gains[:, None])
        marks[rows] = ~(at_least & better).any(axis=1)
    return pd.Series(marks, index=board.index)


def interval(values: np.ndarray[Any, Any]) -> tuple[float, float]:
    """Percentile bootstrap interval (95 %) of the mean of `values` [n], the same at every call; NaN below 2 values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    result = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=0
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _summary(group: pd.DataFrame, measures: list[str]) -> dict[str, Any]:
    done = group[group["status"] == "DONE"]
    row: dict[str, Any] = {"n_seeds": len(done), "n_failed": len(group) - len(done)}
    for name in measures:
        values = done[name].dropna().to_numpy(dtype=float)
        low, high = interval(values)
        row[f"{name}_mean"] = values.mean() if len(values) else float("nan")
        row[f"{name}_std"] = values.std(ddof=1) if len(values) > 1 else float("nan")
        row[f"{name}_ci_low"], row[f"{name}_ci_high"] = low, high
    return row


def _control_rows(
    controls: Sequence[Mapping[str, Any]], board: pd.DataFrame, measures: list[str]
) -> pd.DataFrame:
    """A row for each control on each data set, over the same seeds, in the columns of `board`."""
    rows = []
    for entry in controls:
        table = pd.DataFrame(entry["rows"]).reindex(columns=["control", *measures]).assign(status="DONE")
        for name, group in table.groupby("control", sort=False):
            about = {"dataset": entry["dataset"], "provenance": entry["provenance"], "steps": 0}
            rows.append(about | {"model": f"control: {name}"} | _summary(group, measures))
    marks = {column: False for column in board.columns if column.startswith("pareto_")}
    return pd.DataFrame(rows).assign(**marks).reindex(columns=board.columns).astype({"rank": "Int64"})


def _ranks(board: pd.DataFrame, sort: str) -> pd.Series:
    means = board.groupby("dataset", sort=False)[f"{sort}_mean"]
    return means.rank(method="min", ascending=sort in LOWER_IS_BETTER).astype("Int64")


def _columns(
    board: pd.DataFrame, settings: list[str], measures: list[str], headlines: list[str]
) -> list[str]:
    varied = [name for name in settings if board[name].nunique(dropna=False) > 1]
    # Runs on other pixels are other rows; the column shows where that is so.
    if (board.groupby("dataset")["data_fingerprint"].nunique() > 1).any():
        varied.append("data_fingerprint")
    numbers = [f"{name}_{suffix}" for name in measures for suffix in SUFFIXES]
    return [
        *("dataset", "provenance", "model", *varied, "n_seeds", "n_failed", "steps"),
        *numbers,
        *(f"pareto_{name}" for name in headlines),
        "rank",
    ]
