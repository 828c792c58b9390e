"""A board's tables, made from the entries' scores.csv: a row an entry as CSV, everything as JSON, a page to read.

The same files give the same bytes. Nothing here reads codes or loads data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench.board.definition import Board, read_board
from disentangle_bench.board.entries import Entry, codes_files, entry_names, read_entry
from disentangle_bench.board.page import page
from disentangle_bench.board.scores import Score, current, read_scores
from disentangle_bench.errors import BenchError
from disentangle_bench.files import json_text, write_text, writing
from disentangle_bench.report.statistics import among_the_best, deviation, spreads
from disentangle_bench.report.study import csv_text

FORMAT = 1  # of the JSON file; goes up where a field of it changes its meaning


@dataclass(frozen=True)
class Measure:
    """A column of scores: a headline of a metric."""

    name: str
    metric: str
    revision: int
    lower_is_better: bool
    paper: str


def build(results: Path, name: str) -> Path:
    """Write the board's CSV, JSON and page, and return the page.

    Raises BenchError where an entry lacks scores, or has those of another revision: `bench board score` writes them.
    """
    board = read_board(results, name)
    measures = measures_of(board)
    entries = {entry: read_entry(results, board, entry) for entry in entry_names(results, board)}
    values = {entry: _values(board, entries[entry], measures) for entry in entries}
    rows = _rows(entries, values, measures)
    folder = results / "boards" / board.name
    if folder.is_symlink():
        raise BenchError(f"{folder} is a link to elsewhere, where nothing is written; delete the link")
    table = pd.DataFrame(rows).astype({"rank": "Int64"}) if rows else pd.DataFrame()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder.with_suffix(".csv"), csv_text(table))
        write_text(folder.with_suffix(".json"), json_text(_export(board, entries, values, measures, rows)))
        write_text(folder / "index.html", page(board, entries, measures, rows))
    return folder / "index.html"


def measures_of(board: Board) -> list[Measure]:
    """The columns of scores of the board; entries are ranked by the first."""
    return [
        Measure(headline, name, metric.revision, headline in metric.lower_is_better, metric.paper)
        for name, metric in board.named_metrics().items()
        for headline in metric.headlines
    ]


def _values(board: Board, entry: Entry, measures: list[Measure]) -> dict[int, list[float]]:
    """The scores of each seed of an entry, in the order of the measures; NaN for a metric that failed."""
    fresh = [score for group in current(board, read_scores(entry.path)).values() for score in group]
    by_seed: dict[int, dict[str, Score]] = {}
    for score in fresh:
        by_seed.setdefault(score.seed, {})[score.score] = score
    names = [measure.name for measure in measures]
    whole = all(set(scores) == set(names) for scores in by_seed.values())
    if not whole or not by_seed or set(by_seed) != set(codes_files(entry.path, entry.about.codes)):
        raise BenchError(
            f"{entry.path} lacks scores of a seed, or has those of another revision or question:"
            f" `bench board score {board.name}` writes them"
        )
    return {
        seed: [np.nan if (value := scores[name].value) is None else value for name in names]
        for seed, scores in sorted(by_seed.items())
    }


def _rows(
    entries: dict[str, Entry], values: dict[str, dict[int, list[float]]], measures: list[Measure]
) -> list[dict[str, Any]]:
    """A row an entry, best first, controls last: what it says of itself, and of each measure mean, interval and n."""
    if not entries:
        return []
    means, lows, highs, deviations, counts = (np.empty((len(entries), len(measures))) for _ in range(5))
    for i, seeds in enumerate(values.values()):
        table = np.array(list(seeds.values()))
        mean = spreads(table)["mean"]
        means[i], lows[i], highs[i] = mean.value, mean.low, mean.high
        deviations[i], counts[i] = deviation(table), (~np.isnan(table)).sum(axis=0)
    ranked = np.array([not entry.about.control for entry in entries.values()])
    signs = np.array([-1.0 if measure.lower_is_better else 1.0 for measure in measures])
    gains = np.where(ranked[:, None], means * signs, np.nan)
    ranks = pd.Series(gains[:, 0]).rank(ascending=False, method="min").to_numpy()
    best = [among_the_best(gains[:, j], deviations[:, j], counts[:, j]) for j in range(len(measures))]
    rows = []
    for i, (name, entry) in enumerate(entries.items()):
        about = entry.about
        row: dict[str, Any] = {
            "rank": None if np.isnan(ranks[i]) else int(ranks[i]),
            "entry": name,
            "name": about.name,
            "control": about.control,
            "supervision": about.supervision,
            "tuning": about.tuning,
            "n_seeds": len(values[name]),
        }
        for j, measure in enumerate(measures):
            numbers = {"mean": means[i, j], "ci_low": lows[i, j], "ci_high": highs[i, j]}
            row |= {f"{measure.name}_{key}": float(value) for key, value in numbers.items()}
            row |= {f"{measure.name}_n": int(counts[i, j]), f"best_{measure.name}": bool(best[j][i])}
        rows.append(row)
    # Controls have no rank, and stand last in an order of their own.
    best_first = np.lexsort((np.arange(len(rows)), -(means * signs)[:, 0], ~ranked))
    return [rows[i] for i in best_first]


def _export(
    board: Board,
    entries: dict[str, Entry],
    values: dict[str, dict[int, list[float]]],
    measures: list[Measure],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """The board for other programs; docs/boards.md says what the fields are."""
    listed = []
    for row in rows:
        name = row["entry"]
        scores = {}
        for j, measure in enumerate(measures):
            numbers = {
                key: _number(row[f"{measure.name}_{key}"]) for key in ("mean", "ci_low", "ci_high", "n")
            }
            seeds = {str(seed): _number(line[j]) for seed, line in values[name].items()}
            scores[measure.name] = numbers | {"best": row[f"best_{measure.name}"], "seeds": seeds}
        about = entries[name].about.model_dump(mode="json", exclude={"codes"})
        listed.append({"entry": name, "rank": _number(row["rank"])} | about | {"scores": scores})
    return {
        "format": FORMAT,
        "board": {"name": board.name} | board.model_dump(mode="json", by_alias=True, exclude={"metrics"}),
        "measures": [dict(vars(measure)) for measure in measures],
        "entries": listed,
    }


def _number(value: Any) -> float | int | None:
    """A number as JSON has it: none for what is missing; floats to nine digits."""
    if pd.isna(value):
        return None
    return float(f"{value:.9g}") if isinstance(value, float) else int(value)
