"""All that is derived from run directories: tables and pictures. Delete them and they are rebuilt, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from disentangle_bench.errors import BenchError
from disentangle_bench.files import write_bytes, write_text
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.leaderboard import (
    all_rows,
    lower_is_better,
    public,
    row_of_run,
    tell_apart,
    warnings,
)
from disentangle_bench.report.runs_table import runs_table, seconds_table
from disentangle_bench.report.summaries import (
    correlation_table,
    improvement_table,
    models_table,
    variance_table,
)

# Derived numbers keep ten digits: the last ones depend on the order in which a processor adds.
DIGITS = "%.10g"

FEW_POINTS = 1000  # below it chance is well above its limit: see docs/metrics.md, "Small tables"


@dataclass(frozen=True)
class Tables:
    """A study's tables, or those of several studies together; each is made when it is asked for.

    `runs` is scores.csv, `told` the same with the `group` of each run, and `rows` the
    leaderboard with the columns that this package needs for itself. `seconds` is seconds.csv, where it is known.
    """

    runs: pd.DataFrame
    told: pd.DataFrame
    rows: pd.DataFrame
    warnings: tuple[str, ...]
    seconds: pd.DataFrame | None = None

    @property
    def headlines(self) -> list[str]:
        """The metrics' headline columns."""
        return list(self.runs.attrs["headlines"])

    @property
    def lower_is_better(self) -> frozenset[str]:
        """The measures of which less is better."""
        return lower_is_better(self.runs)

    @cached_property
    def row_of_run(self) -> NDArray[np.integer[Any]]:
        """For each run the `row` of the leaderboard that it belongs to."""
        return row_of_run(self.told)

    @cached_property
    def board(self) -> pd.DataFrame:
        """leaderboard.csv."""
        return public(self.rows, self.runs)

    @cached_property
    def models(self) -> pd.DataFrame:
        """models.csv."""
        return models_table(self.told, self.rows, self.headlines)

    @cached_property
    def improvement(self) -> pd.DataFrame:
        """improvement.csv."""
        return improvement_table(self.told, self.rows, self.headlines)

    @cached_property
    def variance(self) -> pd.DataFrame:
        """variance.csv."""
        return variance_table(self.told, self.headlines)

    @cached_property
    def correlation(self) -> pd.DataFrame:
        """metric_correlation.csv."""
        return correlation_table(self.told, self.headlines)

    def files(self) -> dict[str, str]:
        """Every table by the name of its file, as CSV text."""
        derived = {
            "leaderboard.csv": self.board,
            "models.csv": self.models,
            "improvement.csv": self.improvement,
            "variance.csv": self.variance,
            "metric_correlation.csv": self.correlation,
        }
        told = {"scores.csv": self.runs} | ({} if self.seconds is None else {"seconds.csv": self.seconds})
        return {name: table.to_csv(index=False) for name, table in told.items()} | {
            name: csv_text(table) for name, table in derived.items()
        }


def make_tables(studies: Sequence[StudyDir], sort: str | None = None) -> Tables:
    """The tables of these studies together. A run counts once, however often it was copied or scored.

    Raises BenchError where a path holds no study, no run has finished yet or `sort` is no measure.
    """
    left_out: list[str] = []
    tell = left_out.append
    records = [record for study in studies for record in study.records(curves=False, tell=tell)]
    if left_out and not records:
        raise BenchError("\n".join(left_out))
    runs = runs_table(records)
    controls: dict[tuple[str, str], Mapping[str, Any]] = {}
    for entry in (entry for study in studies for entry in study.controls(tell)):
        controls.setdefault((entry["dataset"], entry["provenance"]), entry)
    tables = tables_of(runs, list(controls.values()), sort)
    return replace(tables, warnings=(*left_out, *tables.warnings), seconds=seconds_table(records, runs))


def tables_of(
    runs: pd.DataFrame,
    controls: Sequence[Mapping[str, Any]] = (),
    sort: str | None = None,
) -> Tables:
    """The tables of a table of runs and of controls."""
    told = tell_apart(runs)
    said = (*_copies(runs), *_few_points(runs, bool(controls)), *warnings(told))
    return Tables(runs, told, all_rows(told, sort, controls), said)


def _copies(runs: pd.DataFrame) -> list[str]:
    """A sentence where a run was there more than once."""
    repeated = runs.attrs["repeated"]
    if not repeated:
        return []
    what = "1 run directory is a copy" if repeated == 1 else f"{repeated} run directories are copies"
    return [
        f"{what} of a run that is there already (the same spec, seed and data, copied or scored again); each run counts"
        " once, as it is found first"
    ]


def _few_points(runs: pd.DataFrame, controls: bool) -> list[str]:
    """A sentence where metrics were scored on so few images that knowing nothing is not far from knowing much."""
    points = runs.attrs["fewest_points"]
    if points is None or points >= FEW_POINTS:
        return []
    chance = "the row `control: random` has" if controls else "`controls = true` in the grid adds"
    return [
        f"metrics were scored on as few as {points} images, where codes that know nothing may score well too;"
        f" {chance} what random codes get"
    ]


def pictured_runs(study: StudyDir, tables: Tables, seeds: int = 3) -> Iterator[tuple[int, RunRecord]]:
    """The first finished runs, by seed, of each row of the leaderboard, with their curves: (row, record), by row."""
    runs = tables.runs
    chosen = pd.DataFrame({"row": tables.row_of_run, "seed": runs["seed"], "run": runs["run"]})
    chosen = chosen[(runs["status"] == "DONE").to_numpy()].sort_values(["row", "seed"])
    for row, run in chosen.groupby("row").head(seeds)[["row", "run"]].itertuples(index=False):
        try:
            yield row, study.load(run)
        except BenchError:
            continue  # its tables could be read, its curves cannot: it has no pictures here


def write_tables(study: StudyDir) -> pd.DataFrame:
    """Write the study's tables, tradeoff.png and curves.png from its runs; returns the leaderboard.

    Raises BenchError where no run has finished yet.
    """
    digest = (
        study.tables.digest()
    )  # before the runs are read: with one that comes meanwhile the tables are old
    tables = make_tables([study])
    files = {name: text.encode() for name, text in tables.files().items()}
    if (tables.runs["status"] == "DONE").any():
        # matplotlib takes a second to import, tables do not need it.
        from disentangle_bench.report import figures

        some = [record for _, record in pictured_runs(study, tables)]
        files["tradeoff.png"] = figures.picture(figures.tradeoff(tables), "png")
        files["curves.png"] = figures.picture(figures.curves(some), "png")
    study.tables.save(files, digest)
    return tables.board


def write_figures(study: StudyDir, folder: Path, styles: Sequence[str] = ()) -> list[Path]:
    """Draw every figure that the study has the numbers for into `folder`, in these formats (all for none).

    Returns the files. Raises BenchError where no run has finished.
    """
    from disentangle_bench.report import figures

    tables = make_tables([study])
    if not (tables.runs["status"] == "DONE").any():
        raise BenchError("no run of this study has finished; there is nothing to draw")
    drawn = figures.all_figures(tables, list(pictured_runs(study, tables)))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in drawn.items():
        for style in styles or figures.FORMATS:
            files.append(folder / f"{name}.{style}")
            write_bytes(files[-1], figures.picture(figure, style))
    return files


def csv_text(table: pd.DataFrame) -> str:
    """A derived table as CSV."""
    return table.to_csv(index=False, float_format=DIGITS)


def write_csv(folder: Path, tables: Tables) -> None:
    """Write every table into `folder`."""
    for name, text in tables.files().items():
        write_text(folder / name, text)
