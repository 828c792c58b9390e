"""Rows of results/runs.csv as the package's own tables: leaderboard, agreement of metrics, shares of variance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench import registry
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.report.statistics import spreads
from disentangle_bench.report.tables import Tables, tables_of
from disentangle_bench.specs import RunSpec

ROOT = Path(__file__).parent.parent
SCORES_FROM = "reconstruction_nats"  # the first column of runs.csv that is a score
SCORES_TO = "active_units"


def read_runs() -> pd.DataFrame:
    """results/runs.csv; a text that is not there is empty, a number NaN, and controls have 0 steps."""
    empty = {"setting": "", "precision": "", "likelihood": "", "architecture": "", "steps": 0}
    return pd.read_csv(ROOT / "results" / "runs.csv").fillna(empty).astype({"steps": int})


def table(lines: Iterable[Mapping[str, object]]) -> str:
    """A Markdown table, a column a key."""
    lines = list(lines)

    def row(cells: Iterable[object]) -> str:
        return "| " + " | ".join(map(str, cells)) + " |\n"

    return row(lines[0]) + row(["---"] * len(lines[0])) + "".join(row(line.values()) for line in lines)


def mean_and_interval(values: pd.Series, digits: int) -> str:
    """`mean [low, high]`, the package's interval of a mean; the mean alone where it gives none."""
    if values.isna().any():
        return "-"
    found = spreads(values.to_numpy(float)[:, None])["mean"]
    mean, low, high = (f"{ends[0]:.{digits}f}" for ends in (found.value, found.low, found.high))
    return mean if np.isnan(found.low[0]) else f"{mean} [{low}, {high}]"


def setting_of(spec: RunSpec) -> str:
    """The hyper-parameters as runs.csv has them."""
    return ", ".join(f"{name}={value:g}" for name, value in sorted(spec.hypers.items()))


def published_tables(
    runs: pd.DataFrame, experiment: str, grid: str, dataset: str, seeds: int | None = None
) -> Tables:
    """The tables of an experiment's runs on one data set (its label), which `grid` describes, with their controls.

    `seeds` is how many there are, where the grid says otherwise.
    """
    rows = runs[(runs["experiment"] == experiment) & (runs["dataset"] == dataset)]
    control = rows["model"].str.startswith("control: ")
    specs = {
        (spec.model, setting_of(spec), spec.seed): spec
        for spec in expand(read_grid(ROOT / "grids" / grid, seeds=seeds))
        if spec.dataset.label == dataset
    }
    records = [
        record_of(row, specs[row["model"], row["setting"], row["seed"]])
        for _, row in rows[~control].iterrows()
    ]
    return tables_of(runs_table(records), [controls_of(rows[control])] if control.any() else [])


def record_of(row: pd.Series, spec: RunSpec) -> RunRecord:
    """The run of a row, with what the tables want to know of it."""
    data = {"provenance": row["provenance"], "fingerprint": row["data_fingerprint"]}
    scores = {
        "scores": scores_of(row),
        "metrics": dict(metrics_of(row)),
        "points": int(row["points"]),
        "scoring": {"points": int(row["points"]), "reconstruction_points": ""},
        "reconstruction": {name: row[name] for name in ("likelihood", "floor_nats", "constant_nats")},
    }
    about = {
        "data": data,
        "device": row["device"],
        "precision": row["precision"],
        "threads": int(row["threads"]),
    }
    return RunRecord(spec, about, scores)


def scores_of(row: pd.Series) -> dict[str, float]:
    own = row.loc[SCORES_FROM:SCORES_TO]
    return {str(name): float(value) for name, value in own.items() if pd.notna(value)}


def metrics_of(row: pd.Series) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What the row's metrics are, by name: those of the package whose scores it has."""
    for name, revision in (part.split("=") for part in row["metric_revisions"].split()):
        metric = registry.resolve("metric", name)
        headlines = [headline for headline in metric.headlines if pd.notna(row.get(headline))]
        yield (
            name,
            {
                "headlines": headlines,
                "revision": int(revision),
                "paper": metric.paper,
                "lower_is_better": list(metric.lower_is_better),
            },
        )


def controls_of(rows: pd.DataFrame) -> dict[str, Any]:
    """The controls as a study keeps them."""
    first = rows.iloc[0]
    lines = [
        {"control": row["model"].removeprefix("control: "), "seed": int(row["seed"]), **scores_of(row)}
        for _, row in rows.iterrows()
    ]
    return {"dataset": first["dataset"], "provenance": first["provenance"], "rows": lines}
