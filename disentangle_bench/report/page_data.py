"""What the report's page shows of a study's tables: lines and cells for its template, numbers for its scripts."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench.report.comparison import COMPARABLE, several_likelihoods
from disentangle_bench.report.leaderboard import ranks, with_reconstruction
from disentangle_bench.report.pictured import Setting
from disentangle_bench.report.render import Cell, marked, measure, ranks_with_ties
from disentangle_bench.report.runs_table import of_one_likelihood
from disentangle_bench.report.styles import styles_of
from disentangle_bench.report.summaries import IDENTITY
from disentangle_bench.report.tables import Tables
from disentangle_bench.report.words import measure_title, metric_title, plain

SHARES = ("objective", "hyperparameter", "seed")
LINES_SHOWN = 1000  # of a derived table, over all its metrics; its file has all


def settings_by_rank(tables: Tables, settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """The settings in the leaderboard's order, with the words for their row."""
    by_row = {setting.row: setting for setting in settings}
    rows = tables.rows.assign(shown=ranks_with_ties(tables.rows))
    return [
        {
            "group": row["group"],
            "rank": row["shown"],
            "model": row["model"],
            "setting": row["setting"],
            "of": by_row[row["row"]],
        }
        for row in rows.to_dict("records")
        if row["row"] in by_row
    ]


def groups_of(tables: Tables) -> list[dict[str, Any]]:
    """A name and the counts of each set of runs that measure the same thing."""
    rows = tables.rows[~tables.rows["control"].astype(bool)]
    same_name = rows.groupby(["dataset", "provenance"])["group"].nunique()
    found = []
    for group, part in rows.groupby("group", sort=True):
        first = part.iloc[0]
        name = f"{first['dataset']} ({first['provenance']})"
        if same_name[first["dataset"], first["provenance"]] > 1:
            name += ": " + ", ".join(plain(first[key]) for key in COMPARABLE[2:] if first[key])
        counts = {"done": int(part["n_seeds"].sum()), "failed": int(part["n_failed"].sum())}
        found.append({"id": int(str(group)), "name": name} | counts)
    return found


def _reconstruction(tables: Tables) -> list[str]:
    """What the page shows of it; the excess over a perfect picture only where a run has it."""
    excess = ["excess_share"] if tables.rows["excess_share_mean"].notna().any() else []
    return ["reconstruction_nats", *excess, "elbo"]


def _measures(tables: Tables) -> list[str]:
    return [*_reconstruction(tables), *tables.headlines]


def columns_of(tables: Tables) -> list[dict[str, Any]]:
    """The leaderboard's columns, which can be sorted by, with the order in which the first click puts them.

    What a row is comes first, then reconstruction, then how many runs it has, then the metrics. The source has a column
    where a row was not trained here.
    """
    several = ["source"] if "source" in tables.leaderboard else []
    keys = ["rank", "model", *several, *_reconstruction(tables), "n_seeds", "n_failed", *tables.headlines]
    lower = {"rank", "model", "source", *tables.lower_is_better}
    return [
        {
            "key": key,
            "title": measure_title(key),
            "ascending": key in lower,
            "number": key not in ("model", "source"),
            "apart": of_one_likelihood(key),
        }
        for key in keys
    ]


def leaderboard_lines(tables: Tables) -> list[dict[str, Any]]:
    """A line per row of the leaderboard: what each column shows, and what it is sorted by.

    A metric's cell has the row's rank by this metric too.
    """
    rows = tables.rows
    ranked = {name: _ranks_by(tables, name) for name in tables.headlines}
    marks = {name: marked(rows, name) for name in _measures(tables)}
    models = rows[~rows["control"].astype(bool)]
    mixed = {group for group, part in models.groupby("group") if several_likelihoods(part)}
    shown = ranks_with_ties(rows)
    lines = []
    for i, row in enumerate(rows.to_dict("records")):
        cells = {
            "rank": _cell(shown.iloc[i], None if pd.isna(row["rank"]) else int(row["rank"])),
            "source": _cell(plain(row["source"])),
            **{name: _cell(row[name], row[name]) for name in ("n_seeds", "n_failed")},
        }
        for name in _measures(tables):
            cell = measure(pd.Series(row), name, marks[name].iloc[i])
            rank = ranked[name].iloc[i] if name in ranked else ""
            cells[name] = _cell(cell.mean, _rounded(row[f"{name}_mean"]), cell, rank)
        about = {
            "group": row["group"],
            "control": bool(row["control"]),
            "likelihood": "" if row["control"] else row["reconstruction_likelihood"],
            "model": row["model"],
            "setting": _setting_in_words(row, row["group"] in mixed),
        }
        lines.append(about | {"cells": cells})
    return lines


def _cell(
    text: object, value: float | None = None, mean: Cell | None = None, rank: str = ""
) -> dict[str, Any]:
    """What a cell shows and is sorted by; of a measure also its interval and marks, and the row's rank by it."""
    return {"text": text, "value": value, "mean": mean, "rank": rank}


def _ranks_by(tables: Tables, name: str) -> pd.Series:
    """Each row's rank by this metric as text; by reconstruction in a group that has none of it."""
    rows = tables.rows
    found = ranks(rows[~rows["control"].astype(bool)], name, tables.lower_is_better, by_default=True)
    return ranks_with_ties(rows.drop(columns=["rank", "ranking"]).join(found))


def _setting_in_words(row: Mapping[Hashable, Any], mixed: bool) -> str:
    """A row's setting, and its likelihood where the data set's rows have several."""
    likelihood = row["reconstruction_likelihood"] if mixed and not row["control"] else ""
    return "; ".join(filter(None, [row["setting"], likelihood]))


def correlations(tables: Tables) -> list[dict[str, Any]]:
    """A square of rank correlations per group; `shade` is -10..10."""
    squares = []
    for group, part in tables.table("metric_correlation").groupby("group", sort=True):
        names = list(dict.fromkeys(part["measure_a"]))
        values = part["spearman"].to_numpy(float).reshape(len(names), len(names))
        lines = [
            {"name": measure_title(name), "cells": [_shaded(value, 10) for value in line]}
            for name, line in zip(names, values, strict=True)
        ]
        titles = [measure_title(name) for name in names]
        squares.append({"group": group, "names": titles, "lines": lines, "runs": int(part["n_runs"].max())})
    return squares


def _shaded(value: float, steps: int) -> dict[str, Any]:
    missing = bool(np.isnan(value))
    shade = 0 if missing else round(value * steps)
    return {"text": "-" if missing else f"{value:.2f}", "shade": f"n{-shade}" if shade < 0 else f"p{shade}"}


def variance_bars(tables: Tables) -> list[dict[str, Any]]:
    """The bars of variance shares: percent, and where each part begins. A share below 0 has no width."""
    lines = []
    for row in tables.table("variance").to_dict("records"):
        if row["measure"] in ("excess_nats", "excess_share", "mse", "kl"):
            continue
        whole = sum(max(row[name], 0.0) for name in SHARES)
        parts, start = [], 0.0
        for name in SHARES:
            width = 100 * max(row[name], 0.0) / whole
            text = f"{round(100 * row[name])} %"
            parts.append({"name": name, "start": f"{start:.2f}", "width": f"{width:.2f}", "text": text})
            start += width
        counts = {key: row[key] for key in ("n_runs", "n_failed", "n_models", "n_settings")}
        lines.append(
            {"group": row["group"], "measure": measure_title(row["measure"]), "parts": parts} | counts
        )
    return lines


def shown_tables(tables: Tables) -> list[dict[str, Any]]:
    """The derived tables that have a heading and a row, as texts: a line a row, numbers with five digits.

    A line has the group and the metric that it is about, where the table has such columns, and is shown with these.
    """
    found = []
    known = {"group": set(map(str, tables.rows["group"])), "metric": set(tables.headlines)}
    for table, made in tables.derived():
        if not table.heading or made.empty:
            continue
        # A column of an installed package's table may mean something else.
        chosen_by = [
            name for name, values in known.items() if name in made and set(map(str, made[name])) <= values
        ]
        # The group's name is that of the chosen data set.
        said = [name for name in IDENTITY if name in made and "group" in chosen_by]
        kept = made.drop(columns=said)
        numbers = [pd.api.types.is_numeric_dtype(kept.dtypes.iloc[i]) for i in range(kept.shape[1])]
        lines = []
        for record, line in zip(
            made.to_dict("records"), kept.itertuples(index=False, name=None), strict=True
        ):
            named = zip(kept.columns, line, strict=True)
            cells = [
                metric_title(cell) if name == "metric" and name in chosen_by else _plain(cell)
                for name, cell in named
            ]
            about = {name: record[name] if name in chosen_by else None for name in known}
            lines.append(about | {"cells": cells})
        words = {"name": table.name, "heading": table.heading, "text": table.text}
        titles = [str(name).replace("_", " ") for name in kept.columns]
        found.append(
            words | {"numbers": numbers, "columns": titles, "lines": lines[:LINES_SHOWN], "all": len(made)}
        )
    return found


def _plain(cell: object) -> str:
    return plain(_rounded(cell) if isinstance(cell, float) else cell)


def failures(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The reasons why runs failed, the commonest first, with a run of each."""
    failed = runs[runs["status"] == "FAILED"]
    reasons = failed.groupby("failure", sort=False)["run"].agg(["size", "first"])
    reasons = reasons.sort_values("size", ascending=False, kind="stable")
    return [
        {"reason": reason, "runs": row["size"], "first": row["first"]} for reason, row in reasons.iterrows()
    ]


def data_of_scripts(tables: Tables) -> dict[str, Any]:
    """What the scripts draw: means with intervals, fronts, each seed's numbers, and the tables of models."""
    measures = _measures(tables)
    runs = tables.runs
    done = (runs["status"] == "DONE").to_numpy()
    numbers = runs[measures].to_numpy(float)
    seeds: dict[int, list[list[Any]]] = {}
    for i in np.flatnonzero(done):
        line = [int(runs["seed"].iloc[i]), *(_rounded(value) for value in numbers[i])]
        seeds.setdefault(int(tables.row_of_run[i]), []).append(line)
    return {
        "measures": [
            {"key": name, "title": measure_title(name), "lower": name in tables.lower_is_better}
            for name in measures
        ],
        "metrics": tables.headlines,
        "styles": styles_of(tables),
        "rows": [
            {
                "group": int(row["group"]),
                "likelihood": row["reconstruction_likelihood"],
                "model": row["model"],
                "setting": row["setting"],
                "failed": int(row["n_failed"]),
                "numbers": [
                    [_rounded(row[f"{name}_{part}"]) for part in ("mean", "ci_low", "ci_high")]
                    for name in measures
                ],
                "front": [bool(row[f"front_{name}"]) for name in tables.headlines],
                "unbeaten": [bool(row[f"pareto_{name}"]) for name in tables.headlines],
                "seeds": seeds.get(row["row"], []),
            }
            for row in with_reconstruction(tables.rows).to_dict("records")
        ],
        "summary": _lists(tables.table("models").drop(columns=["dataset", "provenance"])),
        "improvement": _lists(tables.table("improvement").drop(columns=["dataset", "provenance"])),
    }


def _lists(table: pd.DataFrame) -> dict[str, Any]:
    """A table as its column names and its lines, numbers rounded."""
    lines = [[_rounded(v) if isinstance(v, float) else v for v in line] for line in table.to_numpy().tolist()]
    return {"columns": list(table.columns), "lines": lines}


def _rounded(value: float) -> float | None:
    """Five digits, which is more than a screen shows; None for what is missing."""
    return None if not math.isfinite(value) else float(f"{value:.5g}")
