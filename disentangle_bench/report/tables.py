"""A study's tables, made of its runs' table and its controls alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from disentangle_bench.report.agreement import UDR, Sample, agreement
from disentangle_bench.report.comparison import group_runs, lower_is_better, row_of_run, warnings
from disentangle_bench.report.derived import DerivedTable, installed_tables, made_by_package, own_tables
from disentangle_bench.report.leaderboard import all_rows, leaderboard
from disentangle_bench.report.measures import Numbers

# Derived numbers keep ten digits: the last ones depend on the order in which a processor adds.
DIGITS = "%.10g"
FEW_POINTS = 1000  # below it chance is well above its limit: see docs/metrics.md, "Small tables"


@dataclass(frozen=True)
class Tables:
    """A study's tables, or those of several studies together; each is made when it is asked for.

    `runs` is scores.csv (`runs_table`), `grouped_runs` the same with the `group` of each run (`group_runs`), `rows` the
    leaderboard with the columns that this package needs for itself and `statistics` its measures in a long table
    (`all_rows`). `seconds` is seconds.csv, where it is known, `installed` the tables of installed packages.
    """

    runs: pd.DataFrame
    grouped_runs: pd.DataFrame
    rows: pd.DataFrame
    statistics: pd.DataFrame
    warnings: tuple[str, ...] = ()
    seconds: pd.DataFrame | None = None
    installed: tuple[tuple[DerivedTable, pd.DataFrame], ...] = ()
    _made: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    @property
    def headlines(self) -> list[str]:
        """The metrics' headline columns."""
        return list(self.runs.attrs["headlines"])

    @property
    def lower_is_better(self) -> frozenset[str]:
        """The measures of which less is better."""
        return lower_is_better(self.runs)

    @cached_property
    def row_of_run(self) -> Numbers:
        """For each run the `row` of the leaderboard that it belongs to."""
        return row_of_run(self.grouped_runs)

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """leaderboard.csv."""
        return leaderboard(self.rows, self.runs)

    def table(self, name: str) -> pd.DataFrame:
        """The derived table of the tree that is called so (`derived.DERIVED`)."""
        if name not in self._made:
            self._made[name] = own_tables()[name].make(self)
        return self._made[name]

    def derived(self) -> list[tuple[DerivedTable, pd.DataFrame]]:
        """Every derived table: the tree's, then those of installed packages."""
        own = [(table, self.table(table.name)) for table in own_tables().values()]
        return [*own, *self.installed]

    def files(self) -> dict[str, str]:
        """Every table by the name of its file, as CSV text."""
        basic = {"scores.csv": self.runs} | ({} if self.seconds is None else {"seconds.csv": self.seconds})
        derived = {"leaderboard.csv": self.leaderboard}
        derived |= {f"{table.name}.csv": made for table, made in self.derived()}
        return {name: table.to_csv(index=False) for name, table in basic.items()} | {
            name: csv_text(table) for name, table in derived.items()
        }

    def copy(self) -> Tables:
        """Tables whose frames can be changed without changing these."""
        return replace(
            self,
            runs=self.runs.copy(),
            grouped_runs=self.grouped_runs.copy(),
            rows=self.rows.copy(),
            statistics=self.statistics.copy(),
        )


def tables_of(
    runs: pd.DataFrame,
    controls: Sequence[Mapping[str, Any]] = (),
    sort: str | None = None,
    sample_of: Callable[[str], Sample | None] | None = None,
) -> Tables:
    """The tables of a table of runs (`runs_table`) and of controls; rows are ranked by `sort`, or the first metric.

    `sample_of` gives the codes that are kept with a run, from which the runs get a UDR. Raises BenchError where there
    is no run and when `sort` is no measure.
    """
    grouped = group_runs(runs)
    if sample_of is not None and not runs.empty:
        found = agreement(runs, row_of_run(grouped), sample_of)
        if found.notna().any():
            for table in (runs, grouped):
                table.insert(list(table.columns).index("status"), UDR, found)
    rows, statistics = all_rows(grouped, sort, controls)
    notes = [*_copies(runs), *runs.attrs["words"], *_few_points(runs, bool(controls)), *warnings(grouped)]
    tables = Tables(runs, grouped, rows, statistics)
    installed = [(table, made_by_package(table, tables.copy(), notes)) for table in installed_tables(notes)]
    kept = tuple((table, made) for table, made in installed if made is not None)
    return replace(tables, warnings=tuple(notes), installed=kept)


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


def csv_text(table: pd.DataFrame) -> str:
    """A derived table as CSV."""
    return table.to_csv(index=False, float_format=DIGITS)
