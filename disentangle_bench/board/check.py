"""What an entry has to pass before it is shown: every problem in words, a line each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.board.definition import Board
from disentangle_bench.board.entries import (
    ABOUT,
    CODES_FILE,
    NAME,
    SCORES,
    TO_FILL_IN,
    CodesAt,
    codes_files,
    entry_names,
    fetched,
    fetched_name,
    read_codes,
    read_entry,
    there,
)
from disentangle_bench.board.scores import Score, Table, computed, current, read_scores
from disentangle_bench.errors import BenchError

TOLERANCE = 1e-6


def check_entries(
    results: Path, board: Board, names: Sequence[str], data_dir: Path | None, fetch: bool = False
) -> list[str]:
    """What is wrong with these entries, or with all where none is named; nothing is written.

    Their codes are held against those of all entries, and their scores computed again. With `fetch`, codes that lie
    elsewhere are downloaded first. Raises BenchError for a name that no entry can have, and where the data set cannot
    be had or is not the board's.
    """
    for name in names:
        there(results, board, name)
    chosen = list(names) or entry_names(results, board)
    problems = [] if names else list(_strays(results / "entries" / board.name))
    tables: list[Table] = []
    for name in chosen:
        found, wrong = _entry(results, board, name, data_dir, fetch)
        tables += found
        problems += wrong
    problems += _duplicates(tables, _others(results, board, chosen, data_dir))
    problems += _scores(results, board, tables, board.factor_table(data_dir))
    return problems


def _strays(folder: Path) -> Iterator[str]:
    """What lies among the entries and is none."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not NAME.fullmatch(path.name) or not path.is_dir():
            yield f"{path} is no entry: a folder is needed, called AuthorYearWord, for instance Kingma2014Vae"


def _entry(
    results: Path, board: Board, name: str, data_dir: Path | None, fetch: bool
) -> tuple[list[Table], list[str]]:
    """The codes of an entry as far as they are such, and what is wrong with its files."""
    problems: list[str] = []
    elsewhere: tuple[CodesAt, ...] = ()
    tables: list[Table] = []
    try:
        path = there(results, board, name)
    except BenchError as error:
        return [], [str(error)]
    for each in sorted(path.iterdir()):
        if each.name not in (ABOUT, SCORES) and not CODES_FILE.fullmatch(each.name):
            problems.append(
                f"{each} is no file of an entry: {ABOUT}, {SCORES}, codes-s<seed>.npz are allowed"
            )
    try:
        about = read_entry(results, board, name).about
        elsewhere = about.codes
        left = [key for key, value in about if isinstance(value, str) and TO_FILL_IN in value]
        problems += [f"{path / ABOUT}: {key} is still {TO_FILL_IN}" for key in left]
        files = codes_files(path, elsewhere, fetched(data_dir))
    except BenchError as error:
        problems += str(error).splitlines()
        files = codes_files(path)
    if fetch:
        problems += _fetched(board, path, elsewhere, fetched(data_dir))
    for seed, file in files.items():
        if file.parent != path and not file.exists():
            if not fetch:
                problems.append(f"{path}: the codes of seed {seed} lie elsewhere: --fetch downloads them")
            continue
        try:
            tables.append(Table(name, seed, read_codes(board, file)))
        except BenchError as error:
            problems.append(str(error))
    if len(files) < board.seeds:
        problems.append(f"{path} has codes of {len(files)} seeds; the board needs at least {board.seeds}")
    return tables, problems + list(_unasked(path, files, [each.name for each in board.metrics]))


def _fetched(board: Board, path: Path, elsewhere: Sequence[CodesAt], folder: Path) -> Iterator[str]:
    """Download the codes that lie elsewhere, and say what cannot be had."""
    from disentangle_bench.data.download import fetch
    from disentangle_bench.data.official import FileFacts

    for each in elsewhere:
        if each.bytes > board.largest_bytes:
            yield f"{path / ABOUT}: {each.url} has {each.bytes} bytes; the board allows {board.largest_bytes}"
            continue
        try:
            facts = FileFacts(fetched_name(each), each.url, hashes={"sha256": each.sha256}, size=each.bytes)
            fetch(facts, folder)
        except BenchError as error:
            yield f"{path / ABOUT}: {error}"


def _others(results: Path, board: Board, chosen: Sequence[str], data_dir: Path | None) -> list[Table]:
    """The codes of the entries that are not checked, as far as they can be read."""
    tables = []
    for name in entry_names(results, board):
        if name not in chosen:
            tables += _entry(results, board, name, data_dir, fetch=False)[0]
    return tables


def _duplicates(tables: Sequence[Table], others: Sequence[Table]) -> Iterator[str]:
    """Codes that are those of another entry, or of another seed."""
    first = {table.digest: table for table in reversed(others)}
    for table in tables:
        same = first.setdefault(table.digest, table)
        if same is not table:
            where = f"seed {same.seed}" if same.entry == table.entry else f"{same.entry}, seed {same.seed}"
            yield f"{table.entry}: the codes of seed {table.seed} are the same as those of {where}"


def _unasked(path: Path, seeds: Collection[int], metrics: Collection[str]) -> Iterator[str]:
    """What is wrong with scores.csv itself: lines of a seed without codes, of a metric that the board does not name."""
    try:
        lines = dict.fromkeys((each.seed, each.metric) for each in read_scores(path))
    except BenchError as error:
        yield str(error)
        return
    for seed, metric in lines:
        if seed not in seeds or metric not in metrics:
            yield f"{path / SCORES} has figures of {metric} for seed {seed}, which nobody asked for"


def _scores(
    results: Path, board: Board, tables: Sequence[Table], factors: NDArray[np.int64]
) -> Iterator[str]:
    """Where the entries' scores.csv do not say what their codes give."""
    metrics = [each.name for each in board.metrics]
    asked = dict.fromkeys(range(len(tables)), metrics)
    for number, scores, failures in computed(board, factors, asked, tables):
        table = tables[number]
        path = results / "entries" / board.name / table.entry
        where = f"{path / SCORES}: seed {table.seed}"
        yield from (f"{where}: {metric} gave no score: {why}" for metric, why in failures.items())
        try:
            said = read_scores(path)
        except BenchError:  # which was told with the entry
            continue
        yield from _differing(where, board, table, said, scores)


def _differing(
    where: str, board: Board, table: Table, said: Sequence[Score], scores: Sequence[Score]
) -> Iterator[str]:
    """Where the lines `said` of a seed are not the `scores` of its codes."""
    fresh = current(board, said)
    for metric in dict.fromkeys(score.metric for score in scores):
        mine = {score.score: score for score in scores if score.metric == metric}
        lines = fresh.get((table.seed, table.digest, metric))
        if lines is None:
            old = [each for each in said if (each.seed, each.metric) == (table.seed, metric)]
            now = next(iter(mine.values())).revision
            if not old:
                why = "has no figures"
            elif old[0].revision != now:
                why = f"has figures of revision {old[0].revision}, and this version is at {now}"
            else:
                why = "has figures of other codes, or of another question"
            yield f"{where}: {metric} {why}: `bench board score {board.name} {table.entry}` writes them"
        for line in lines or ():
            value = mine[line.score].value
            if not _close(line.value, value):
                yield f"{where}: {metric}: {line.score} is {line.value} in the file, and the codes give {value}"


def _close(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and abs(a - b) <= TOLERANCE)
