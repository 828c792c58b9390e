"""scores.csv of an entry: what this package's metrics say of its codes, written by `bench board score` only."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.board.definition import LARGEST_TEXT, Board, refuse_trick
from disentangle_bench.board.entries import SCORES, codes_files, content, fetched, read_codes, read_entry
from disentangle_bench.errors import BenchError
from disentangle_bench.files import read_small, write_text, writing


@dataclass(frozen=True)
class Score:
    """A line of scores.csv: `value` is what the metric's headline `score` is for these codes, None where it failed.

    `codes` and `question` are 16 digits of the codes and of the board's question (`Board.question`).
    """

    seed: int
    codes: str
    question: str
    metric: str
    revision: int
    score: str
    value: float | None


COLUMNS = tuple(field.name for field in fields(Score))


@dataclass(frozen=True)
class Table:
    """The codes [points, latents] of one seed of an entry."""

    entry: str
    seed: int
    codes: NDArray[np.float16]

    @cached_property
    def digest(self) -> str:
        """16 digits of the codes."""
        return content(self.codes)


def read_scores(entry: Path) -> list[Score]:
    """The lines of the entry's scores.csv, none where there is no such file. BenchError names the line that is odd."""
    path = entry / SCORES
    if not path.exists() and not path.is_symlink():
        return []
    refuse_trick(path, LARGEST_TEXT)
    found = []
    try:
        rows = csv.DictReader(io.StringIO(read_small(path).decode(), newline=""), strict=True)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise BenchError(
                f"{path}: its columns must be {','.join(COLUMNS)}: `bench board score` writes it"
            )
        for row in rows:
            if None in row or None in row.values():
                raise BenchError(f"{path}: line {rows.line_num} does not have a value for each column")
            found.append(_score(row))
    except (OSError, ValueError, csv.Error) as error:
        raise BenchError(f"{path} cannot be read: {error}") from error
    return found


def _score(row: Mapping[str, str]) -> Score:
    value = float(row["value"]) if row["value"] else None
    if value is not None and not np.isfinite(value):
        raise ValueError(f"the value {row['value']!r} is no finite number")
    numbers = {"seed": int(row["seed"]), "revision": int(row["revision"]), "value": value}
    return Score(**{**row, **numbers})  # type: ignore[arg-type]


def write_scores(entry: Path, scores: Sequence[Score]) -> None:
    """Write scores.csv whole, where it says something else."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in scores:
        value = "" if each.value is None else f"{each.value:.9g}"
        writer.writerow([*(getattr(each, name) for name in COLUMNS[:-1]), value])
    path = entry / SCORES
    with writing(path):
        if not path.exists() or path.read_bytes() != text.getvalue().encode():
            write_text(path, text.getvalue())


def tables_of(results: Path, board: Board, name: str, data_dir: Path | None) -> list[Table]:
    """The codes of all seeds of an entry. Raises BenchError where they are not such or are not here."""
    found = []
    entry = read_entry(results, board, name)
    for seed, path in codes_files(entry.path, entry.about.codes, fetched(data_dir)).items():
        if not path.exists() and not path.is_symlink():
            raise BenchError(
                f"{name}: the codes of seed {seed} lie elsewhere and are not here yet:"
                f" `bench board check {board.name} {name} --fetch` downloads them"
            )
        found.append(Table(name, seed, read_codes(board, path)))
    return found


def computed(
    board: Board, factors: NDArray[np.int64], asked: Mapping[int, Sequence[str]], tables: Sequence[Table]
) -> Iterator[tuple[int, list[Score], dict[str, str]]]:
    """For each table by its number, as `asked`: the scores of these metrics, and why metrics gave none."""
    metrics = board.named_metrics()
    for chosen in dict.fromkeys(tuple(names) for names in asked.values()):
        numbers = [number for number, names in asked.items() if tuple(names) == chosen]
        codes = [tables[number].codes.astype(np.float32) for number in numbers]
        seeds = [tables[number].seed for number in numbers]
        reports = _reports(board, codes, factors, seeds, chosen)
        for number, report in zip(numbers, reports, strict=True):
            scores = []
            for name in chosen:
                about = (tables[number].seed, tables[number].digest, board.question, name)
                for headline in metrics[name].headlines:
                    value = report["scores"].get(headline)
                    scores.append(Score(*about, metrics[name].revision, headline, value))
            yield number, scores, report["failures"]


def _reports(
    board: Board,
    codes: Sequence[NDArray[np.float32]],
    factors: NDArray[np.int64],
    seeds: Sequence[int],
    metrics: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """What the board's protocol says of each of these tables, in order."""
    from disentangle_bench.evaluation.pool import score_many
    from disentangle_bench.evaluation.protocols import score_by_protocol

    if board.protocol == "default":
        yield from score_many(codes, factors, seeds, metrics)
        return
    for table, seed in zip(codes, seeds, strict=True):
        yield score_by_protocol(board.protocol, table, factors, board.factors, seed, metrics)


def current(board: Board, scores: Sequence[Score]) -> dict[tuple[int, str, str], list[Score]]:
    """Those scores, by seed, codes and metric, that are of this question and of this version's metrics."""
    found: dict[tuple[int, str, str], list[Score]] = {}
    for each in scores:
        found.setdefault((each.seed, each.codes, each.metric), []).append(each)
    metrics = board.named_metrics()
    return {
        key: group
        for key, group in found.items()
        if key[2] in metrics
        and [each.score for each in group] == list(metrics[key[2]].headlines)
        and {(each.question, each.revision) for each in group} == {(board.question, metrics[key[2]].revision)}
    }


def score_entries(
    results: Path,
    board: Board,
    names: Sequence[str],
    data_dir: Path | None,
    everything: bool = False,
    done: Callable[[str, int], None] = lambda entry, seeds: None,
) -> dict[str, str]:
    """Score what these entries lack and what is stale, or `everything`; an entry that is done is written at once.

    `done` hears of each entry when it is, and how many of its seeds have new figures. Says why metrics gave none.
    """
    folder = results / "entries" / board.name
    tables = [table for name in names for table in tables_of(results, board, name, data_dir)]
    kept = {name: {} if everything else current(board, read_scores(folder / name)) for name in names}
    scored, failures = dict.fromkeys(names, 0), dict[str, str]()

    def lacks(table: Table) -> list[str]:
        has = kept[table.entry]
        return [each.name for each in board.metrics if (table.seed, table.digest, each.name) not in has]

    def write_whole(name: str) -> None:
        mine = [table for table in tables if table.entry == name]
        if not any(map(lacks, mine)):
            keys = [(table.seed, table.digest, each.name) for table in mine for each in board.metrics]
            write_scores(folder / name, [score for key in keys for score in kept[name][key]])
            done(name, scored[name])

    asked = {number: lacking for number, table in enumerate(tables) if (lacking := lacks(table))}
    for name in names:
        write_whole(name)  # without the lines of what is no more
    factors = board.factor_table(data_dir) if asked else np.empty((0, 0), np.int64)
    for number, scores, failed in computed(board, factors, asked, tables):
        table = tables[number]
        scored[table.entry] += 1
        for score in scores:
            kept[table.entry].setdefault((table.seed, score.codes, score.metric), []).append(score)
        failures |= {f"{table.entry}, seed {table.seed}, {metric}": why for metric, why in failed.items()}
        write_whole(table.entry)
    return failures
