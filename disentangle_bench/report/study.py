"""All that is derived from study directories: tables and figures. Delete them and they are rebuilt, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from disentangle_bench.errors import BenchError
from disentangle_bench.files import write_bytes, write_text
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.foreign import TRAINED, ForeignRow, row_of
from disentangle_bench.report.runs_table import runs_table, seconds_table
from disentangle_bench.report.tables import Tables, tables_of


def load_scores(study: str | Path) -> pd.DataFrame:
    """The runs of a study as a table.

    Parameters
    ----------
    study
        A study directory.

    Returns
    -------
    DataFrame
        The content of scores.csv, one row per run or per evaluation that was added to the study (`runs_table` lists
        the columns). `attrs["headlines"]` lists the metrics' headline columns, `attrs["settings"]` the
        hyper-parameters and settings.

    Raises
    ------
    BenchError
        If there is no study, or a run of it cannot be read.

    Examples
    --------
    >>> import disentangle_bench
    >>> grid = {
    ...     "name": "example",
    ...     "metrics": ["mig"],
    ...     "datasets": [{"name": "tiny_data:SQUARES"}],
    ...     "models": [{"name": "pca"}],
    ...     "network": {"latents": 3},
    ... }
    >>> outcome = disentangle_bench.run(grid, device="cpu", jobs=1)
    >>> disentangle_bench.load_scores(outcome.path)[["model", "seed", "status"]].to_dict("records")
    [{'model': 'pca', 'seed': 0, 'status': 'DONE'}]
    """
    directory = StudyDir(Path(study))
    return runs_table(chain(directory.records(curves=False), map(row_of, directory.entries())))


def load_leaderboard(study: str | Path, *, sort: str | None = None) -> pd.DataFrame:
    """The leaderboard of a study, best first within each data set.

    Parameters
    ----------
    study
        A study directory.
    sort
        The measure to rank by. The default is the first metric.

    Returns
    -------
    DataFrame
        The content of leaderboard.csv, one row per setting: means over seeds with their intervals, marks and ranks.

    Raises
    ------
    BenchError
        If there is no study, no run has finished, or `sort` is not a measure.

    Examples
    --------
    >>> import disentangle_bench
    >>> grid = {
    ...     "name": "example",
    ...     "metrics": ["mig"],
    ...     "datasets": [{"name": "tiny_data:SQUARES"}],
    ...     "models": [{"name": "pca"}],
    ...     "network": {"latents": 3},
    ... }
    >>> outcome = disentangle_bench.run(grid, device="cpu", jobs=1)
    >>> disentangle_bench.load_leaderboard(outcome.path)["n_seeds"].tolist()
    [1]
    """
    return make_tables([StudyDir(Path(study))], sort).leaderboard


def make_tables(
    studies: Sequence[StudyDir], sort: str | None = None, foreign: Iterable[ForeignRow] = ()
) -> Tables:
    """The tables of these studies together, with what was evaluated into them, and of these further rows.

    A run counts once, however often it was copied or scored. Raises BenchError where a path holds no study, no run has
    finished yet or `sort` is no measure.
    """
    left_out: list[str] = []
    spent: dict[str, Mapping[str, float]] = {}
    homes: dict[str, StudyDir] = {}

    def records() -> Iterator[RunRecord]:
        for study in studies:
            for record in study.records(curves=False, tell=left_out.append):
                spent.setdefault(record.spec.id, record.provenance.get("seconds", {}))
                homes.setdefault(record.spec.id, study)
                yield record

    entries = [row_of(record) for study in studies for record in study.entries(left_out.append)]
    runs = runs_table(chain(records(), entries, foreign))
    if left_out and runs.empty:
        raise BenchError("\n".join(left_out))
    controls: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entry in (entry for study in studies for entry in study.controls(left_out.append)):
        controls.setdefault((entry["dataset"], entry["provenance"]), entry)
    tables = tables_of(
        runs, list(controls.values()), sort, lambda run: homes[run].sample(run) if run in homes else None
    )
    return replace(tables, warnings=(*left_out, *tables.warnings), seconds=seconds_table(spent, runs))


def pictured_runs(study: StudyDir, tables: Tables, seeds: int = 3) -> Iterator[tuple[int, RunRecord]]:
    """The first finished runs, by seed, of each row of the leaderboard, with their curves: (row, record), by row."""
    runs = tables.runs
    chosen = pd.DataFrame({"row": tables.row_of_run, "seed": runs["seed"], "run": runs["run"]})
    chosen = chosen[_trained(runs).to_numpy()].sort_values(["row", "seed"])
    for row, run in chosen.groupby("row").head(seeds)[["row", "run"]].itertuples(index=False):
        try:
            yield row, study.load(run)
        except BenchError:
            continue  # its tables could be read, its curves cannot: it has no pictures here


def _trained(runs: pd.DataFrame) -> pd.Series:
    """Which of the runs were trained here, and have finished."""
    return (runs["status"] == "DONE") & (runs["source"] == TRAINED)


def write_tables(study: StudyDir) -> pd.DataFrame:
    """Write the study's tables, curves.png and, with a metric, tradeoff.png from its runs; returns the leaderboard.

    Raises BenchError where no run has finished yet.
    """
    digest = (
        study.tables.digest()
    )  # before the runs are read: with one that comes meanwhile the tables are old
    tables = make_tables([study])
    files = {name: text.encode() for name, text in tables.files().items()}
    if _trained(tables.runs).any():
        # matplotlib takes a second to import, tables do not need it.
        from disentangle_bench.report import figures

        some = [record for _, record in pictured_runs(study, tables)]
        if tables.headlines:
            files["tradeoff.png"] = figures.picture(figures.tradeoff(tables), "png")
        files["curves.png"] = figures.picture(figures.curves(tables, some), "png")
    study.tables.save(files, digest)
    return tables.leaderboard


def write_figures(
    study: StudyDir, folder: Path, styles: Sequence[str] = (), width: str = "text"
) -> list[Path]:
    """Draw every figure that the study has the numbers for into `folder`, in these formats (all for none).

    `width` is one of `figures.WIDTHS`: as wide as a page's text, or as one of its two columns.

    Returns the files. Raises BenchError where no run has finished.
    """
    from disentangle_bench.report import figures

    tables = make_tables([study])
    if not _trained(tables.runs).any():
        raise BenchError("no run of this study has finished; there is nothing to draw")
    drawn = figures.all_figures(tables, list(pictured_runs(study, tables)), figures.WIDTHS[width])
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in drawn.items():
        for style in styles or figures.FORMATS:
            files.append(folder / f"{name}.{style}")
            write_bytes(files[-1], figures.picture(figure, style))
    return files


def write_csv(folder: Path, tables: Tables) -> None:
    """Write every table into `folder`."""
    for name, text in tables.files().items():
        write_text(folder / name, text)
