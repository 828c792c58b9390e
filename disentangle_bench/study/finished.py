"""A study in which nothing is to do: its grid and its tables are seen to, without torch and all that trains."""

from __future__ import annotations

from disentangle_bench.files import writing
from disentangle_bench.grid import Grid, expand
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.study.claims import Claims
from disentangle_bench.study.plan import (
    Outcome,
    Plan,
    check_headlines,
    check_same_data,
    missing_controls,
    outcome,
)


def is_finished(todo: Plan, grid: Grid, study: StudyDir, retry_failed: bool = False) -> bool:
    """Whether something was done, and neither a run nor controls are left to train or to score."""
    if todo.train or todo.score or todo.unreadable or not (todo.done or todo.failed):
        return False
    return not missing_controls(grid, study, retry_failed)


def see_to(grid: Grid, study: StudyDir, shard: tuple[int, int] = (1, 1)) -> Outcome:
    """Keep the grid of a study that is finished, rebuild its tables where they are not those of its runs.

    Raises BenchError for another study's directory, and where the disk refuses.
    """
    check_headlines(grid)
    check_same_data(grid, study)
    study.create()
    claims = Claims(study)
    with claims.working():
        study.write_grid(grid)
        rebuild_tables(study, claims)
    return outcome(expand(grid), study, shard)


def rebuild_tables(study: StudyDir, claims: Claims) -> None:
    """Write the study's tables and figures from its runs, after whoever else does so at this moment.

    Those that are there whole and were made of these very runs are left alone.
    """
    with claims.tables(), writing(study.path):
        if study.tables.are_current():
            return
        # pandas, scipy and matplotlib.
        from disentangle_bench.report.study import write_tables

        write_tables(study)
