"""A board's tables, made from the entries' scores.csv: a row an entry as CSV, everything as JSON, pages to read.

The same files give the same bytes. Nothing here reads codes or loads data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench.board.definition import Board, read_board
from disentangle_bench.board.entries import About, Entry, codes_files, entry_names, read_entry
from disentangle_bench.board.page import pages
from disentangle_bench.board.scores import current, read_scores
from disentangle_bench.errors import BenchError
from disentangle_bench.files import json_text, write_text, writing
from disentangle_bench.report.statistics import among_the_best, deviation, spreads
from disentangle_bench.report.tables import csv_text

FORMAT = 1  # of the JSON file; goes up where a field of it changes its meaning


@dataclass(frozen=True)
class Measure:
    """A column of scores: a headline of a metric."""

    name: str
    metric: str
    revision: int
    lower_is_better: bool
    paper: str


@dataclass(frozen=True)
class Cell:
    """The mean of a measure over an entry's seeds, its 95 % interval (NaN for none), and how many seeds have it."""

    mean: float
    ci_low: float
    ci_high: float
    n: int
    best: bool


@dataclass(frozen=True)
class Row:
    """An entry on the board; `values` are its scores by seed, and `cells` what is shown, both in order of measures."""

    entry: str
    about: About
    rank: int | None
    values: dict[int, list[float]]
    cells: list[Cell]


def build(results: Path, name: str) -> Path:
    """Write the board's CSV, JSON and pages, and return the board's own page; each entry has another beside it.

    Raises BenchError where an entry lacks scores, or has those of another revision: `bench board score` writes them.
    """
    board = read_board(results, name)
    measures = [
        Measure(headline, metric, about.revision, headline in about.lower_is_better, about.paper)
        for metric, about in board.named_metrics().items()
        for headline in about.headlines
    ]
    entries = [read_entry(results, board, entry) for entry in entry_names(results, board)]
    rows = _rows(entries, [_values(board, entry, measures) for entry in entries], measures)
    folder = results / "boards" / board.name
    if folder.is_symlink():
        raise BenchError(f"{folder} is a link to elsewhere, where nothing is written; delete the link")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder.with_suffix(".csv"), csv_text(_table(rows, measures)))
        write_text(folder.with_suffix(".json"), json_text(_export(board, rows, measures)))
        made = pages(board, rows, measures)
        for path in folder.glob("*.html"):
            if path.name not in made:
                path.unlink()  # of an entry that is no more
        for file, text in made.items():
            write_text(folder / file, text)
    return folder / "index.html"


def _values(board: Board, entry: Entry, measures: list[Measure]) -> dict[int, list[float]]:
    """The scores of each seed of an entry, in the order of the measures; NaN for a metric that failed."""
    by_seed: dict[int, dict[str, float]] = {}
    for group in current(board, read_scores(entry.path)).values():
        for score in group:
            by_seed.setdefault(score.seed, {})[score.score] = math.nan if score.value is None else score.value
    names = [measure.name for measure in measures]
    whole = all(set(scores) == set(names) for scores in by_seed.values())
    if not whole or not by_seed or set(by_seed) != set(codes_files(entry.path, entry.about.codes)):
        raise BenchError(
            f"{entry.path} lacks scores of a seed, or has those of another revision or question:"
            f" `bench board score {board.name}` writes them"
        )
    return {seed: [scores[name] for name in names] for seed, scores in sorted(by_seed.items())}


def _rows(entries: list[Entry], values: list[dict[int, list[float]]], measures: list[Measure]) -> list[Row]:
    """The entries, best first; controls have no rank, and stand last in an order of their own."""
    if not entries:
        return []
    tables = [np.array(list(seeds.values())) for seeds in values]
    means = [spreads(table)["mean"] for table in tables]
    deviations = np.array([deviation(table) for table in tables])
    counts = np.array([(~np.isnan(table)).sum(axis=0) for table in tables])
    gains = np.array([mean.value for mean in means]) * [
        -1 if each.lower_is_better else 1 for each in measures
    ]
    control = np.array([entry.about.control for entry in entries])
    ranked = np.where(control[:, None], np.nan, gains)
    best = [among_the_best(ranked[:, j], deviations[:, j], counts[:, j]) for j in range(len(measures))]
    rows = []
    for i in np.lexsort((-gains[:, 0], control)):
        numbers = zip(means[i].value, means[i].low, means[i].high, counts[i], strict=True)
        cells = [
            Cell(float(mean), float(low), float(high), int(n), bool(best[j][i]))
            for j, (mean, low, high, n) in enumerate(numbers)
        ]
        # Entries of equal means share a rank.
        rank = None if np.isnan(ranked[i, 0]) else 1 + int((ranked[:, 0] > ranked[i, 0]).sum())
        rows.append(Row(entries[i].name, entries[i].about, rank, values[i], cells))
    return rows


def _table(rows: list[Row], measures: list[Measure]) -> pd.DataFrame:
    """A row an entry."""
    lines = []
    for row in rows:
        about = {key: getattr(row.about, key) for key in ("name", "control", "supervision", "tuning")}
        line = {"rank": row.rank, "entry": row.entry, **about, "n_seeds": len(row.values)}
        for measure, cell in zip(measures, row.cells, strict=True):
            line |= {f"{measure.name}_{key}": value for key, value in vars(cell).items()}
        lines.append(line)
    return pd.DataFrame(lines).astype({"rank": "Int64"}) if lines else pd.DataFrame()


def _export(board: Board, rows: list[Row], measures: list[Measure]) -> dict[str, Any]:
    """The board for other programs; docs/boards.md says what the fields are."""
    entries = []
    for row in rows:
        scores = {}
        for j, measure in enumerate(measures):
            seeds = {str(seed): _rounded(values[j]) for seed, values in row.values.items()}
            cell = {key: _rounded(value) for key, value in vars(row.cells[j]).items()}
            scores[measure.name] = cell | {"seeds": seeds}
        about = row.about.model_dump(mode="json", exclude={"codes"})
        entries.append({"entry": row.entry, "rank": row.rank} | about | {"scores": scores})
    return {
        "format": FORMAT,
        "board": {"name": board.name} | board.model_dump(mode="json", by_alias=True, exclude={"metrics"}),
        "measures": [dict(vars(measure)) for measure in measures],
        "entries": entries,
    }


def _rounded(value: float) -> float | None:
    """A float to nine digits, None for one that is missing; anything else as it is."""
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else float(f"{value:.9g}")
