"""A board and its entries as pages of HTML that open from a disk or any web server, without scripts or requests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from disentangle_bench.report.statistics import deviation, differences, significant_pairs
from disentangle_bench.report.webpage import rendered
from disentangle_bench.report.words import metric_title

if TYPE_CHECKING:
    from disentangle_bench.board.definition import Board
    from disentangle_bench.board.tables import Measure, Row

PACKAGE = "disentangle_bench.board"


@dataclass(frozen=True)
class Standing:
    """An entry among the ranked ones by one measure: its place, and how many of the `others` it significantly beats.

    A control, and an entry without a number, has no place.
    """

    place: int | None
    beaten: int
    others: int

    @property
    def words(self) -> str:
        """What the entry is significantly better than."""
        if self.others == 1:
            return "the other entry" if self.beaten else "no other entry"
        return f"{self.beaten} of {self.others} other entries"


def pages(board: Board, rows: list[Row], measures: list[Measure]) -> dict[str, str]:
    """The pages by the names of their files: the board's index.html and one for each entry. Every text is escaped."""
    found = standings(rows, measures)
    ranked = [row for row in rows if row.rank is not None]
    shared = {
        "board": board,
        "rows": rows,
        "measures": measures,
        "names": [metric_title(measure.name) for measure in measures],
        "ranked": len(ranked),
        # As in a study's tables: a column that distinguishes no entries has no bold.
        "bold": [any(not row.cells[j].best for row in ranked) for j in range(len(measures))],
        "number": _number,
    }
    best = ranked[0] if ranked else None
    first = _best(board, best, measures[0], found[0][0]) if best else ""
    about: dict[str, Any] = {
        "title": board.name,
        "kind": "a leaderboard of disentanglement",
        "sentence": first,
    }
    made = {"index.html": rendered("board", shared | about, package=PACKAGE)}
    for row, own in zip(rows, found, strict=True):
        about = {"title": row.about.name, "kind": f"an entry of the board {board.name}"}
        about |= {"sentence": _entry(board, row, measures[0], own[0]), "row": row, "standings": own}
        made[f"{row.entry}.html"] = rendered("entry", shared | about, package=PACKAGE)
    return made


def standings(rows: list[Row], measures: list[Measure]) -> list[list[Standing]]:
    """Where each row stands by each measure: [rows][measures].

    Every two entries are compared by Welch's t test, with Holm's correction over all pairs of a measure. Controls take
    no part.
    """
    if not rows:
        return []
    tables = [np.array(list(row.values.values())) for row in rows]
    control = np.array([row.about.control for row in rows])
    deviations = np.array([deviation(table) for table in tables])
    counts = np.array([(~np.isnan(table)).sum(axis=0) for table in tables])
    found: list[list[Standing]] = [[] for _ in rows]
    for j, measure in enumerate(measures):
        means = np.array([row.cells[j].mean for row in rows])
        gains = np.where(control, np.nan, -means if measure.lower_is_better else means)
        (differ,) = significant_pairs(differences(gains, deviations[:, j], counts[:, j]))
        others = int((~np.isnan(gains)).sum()) - 1
        for i, gain in enumerate(gains):
            place = None if np.isnan(gain) else 1 + int((gains > gain).sum())
            found[i].append(Standing(place, int((differ[i] & (gain > gains)).sum()), others))
    return found


def _best(board: Board, row: Row, measure: Measure, standing: Standing) -> str:
    """The board's sentence: which entry is best by the metric that ranks, how sure that is, and how it was made."""
    metric, score = metric_title(measure.name), _score(row)
    if not standing.others:
        finding = f"The only entry is {row.about.name}, with {metric} {score}"
    elif standing.beaten:
        finding = (
            f"Best by {metric} is {row.about.name}: {score}, after correction significantly better than"
            f" {standing.words}"
        )
    else:
        finding = (
            f"By {metric} no entry is distinguished from the best mean, that of {row.about.name}: {score}"
        )
    return f"{finding}; {_made(board, row)}."


def _entry(board: Board, row: Row, measure: Measure, standing: Standing) -> str:
    """The entry's sentence: its rank, its score, how sure that is, and how it was made."""
    metric, score = metric_title(measure.name), _score(row)
    if row.about.control:
        return f"This control has no rank and has {metric} {score}; {_made(board, row)}."
    finding = f"Rank {row.rank} of {standing.others + 1} by {metric}: {score}"
    if standing.others:
        finding += f", after correction significantly better than {standing.words}"
    return f"{finding}; {_made(board, row)}."


def _score(row: Row) -> str:
    """The mean of the measure that ranks, with its interval and its seeds."""
    cell = row.cells[0]
    interval = "" if math.isnan(cell.ci_low) else f" [{_number(cell.ci_low)}, {_number(cell.ci_high)}]"
    return f"{_number(cell.mean)}{interval} over {cell.n} seed{'s' * (cell.n != 1)}"


def _made(board: Board, row: Row) -> str:
    budget = f"its budget was {row.about.budget}" if row.about.budget != "none" else "it was not trained"
    return f"{budget}; it is scored on {board.drawn.number:,} {board.provenance} images ({board.dataset})"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
