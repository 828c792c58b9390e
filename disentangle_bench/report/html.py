"""`bench report`: a study as one folder of HTML that opens from a disk, without a network."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

from disentangle_bench.errors import BenchError
from disentangle_bench.files import read_small, write_text
from disentangle_bench.grid import Grid, expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.foreign import TRAINED
from disentangle_bench.report.methods import describe_grid, describe_metrics
from disentangle_bench.report.page_data import (
    columns_of,
    correlations,
    data_of_scripts,
    failures,
    groups_of,
    leaderboard_lines,
    settings_by_rank,
    shown_tables,
    variance_bars,
)
from disentangle_bench.report.pictured import Setting, setting_of
from disentangle_bench.report.render import few_seeds, notes
from disentangle_bench.report.status import Status, study_status
from disentangle_bench.report.study import make_tables, pictured_runs, write_csv
from disentangle_bench.report.styles import styles_of
from disentangle_bench.report.tables import Tables
from disentangle_bench.report.verdict import verdicts
from disentangle_bench.report.webpage import rendered
from disentangle_bench.report.words import measure_title, metric_title
from disentangle_bench.specs import RunSpec

SCRIPTS = ("page.js", "leaderboard.js", "tradeoff.js", "models.js")


def write_report(study: StudyDir) -> Path:
    """Write the study's report into <study>/report, in place of an earlier one, and return its index.html.

    The folder holds everything that it shows: the page, the tables and the pictures of a run of each setting. The same
    run directories give the same bytes. Where no run has finished or failed yet, the page says what is asked for and
    what is running. Raises BenchError where there is no study.
    """
    unread: list[str] = []
    empty = next(study.records(curves=False, tell=unread.append), None) is None
    tables = None if empty else make_tables([study])
    folder = study.path / "report"
    if folder.is_symlink():
        raise BenchError(f"{folder} is a link to elsewhere, where nothing is written; delete the link")
    for part in ("tables", "pictures"):
        if (folder / part).exists():
            shutil.rmtree(folder / part)
    grid_text = read_small(study.path / "grid.toml").decode(errors="backslashreplace")
    title = study.path.resolve().name
    if tables is None:
        folder.mkdir(exist_ok=True)
        found = study_status(study, _asked(study.path / "grid.toml"))
        write_text(folder / "index.html", waiting_page(found, unread, title, grid_text))
        return folder / "index.html"
    (folder / "tables").mkdir(parents=True)
    write_csv(folder / "tables", tables)
    settings = [setting_of(study, folder, row, record) for row, record in pictured_runs(study, tables, 1)]
    write_text(folder / "index.html", page(tables, settings, title, grid_text))
    return folder / "index.html"


def page(tables: Tables, settings: Sequence[Setting], title: str, grid_text: str) -> str:
    """The page itself; `settings` are the runs to show pictures of, `grid_text` the study's grid.toml."""
    runs = tables.runs[tables.runs["source"] == TRAINED]
    shown = {
        "title": title,
        "kind": "disentanglement report",
        "runs": len(runs),
        "failed": int((runs["status"] == "FAILED").sum()),
        "warnings": tables.warnings,
        "verdicts": verdicts(tables),
        "groups": groups_of(tables),
        "columns": columns_of(tables),
        "notes": notes(tables.rows, tables.leaderboard, measure_title),
        "seeds": few_seeds(tables.rows),
        "styles": styles_of(tables),
        "leaderboard": leaderboard_lines(tables),
        "correlations": correlations(tables),
        "variance": variance_bars(tables),
        "settings": settings_by_rank(tables, settings),
        "metrics": describe_metrics(tables.runs),
        "metric_title": metric_title,
        "grid": _grid_lines(grid_text),
        "grid_text": grid_text,
        "origins": tables.runs.attrs["origins"],
        "failures": failures(runs),
        "more_tables": shown_tables(tables),
        "files": list(tables.files()),
        "data": data_of_scripts(tables),
    }
    return rendered("report", shown, SCRIPTS)


def waiting_page(found: Status, unread: Sequence[str], title: str, grid_text: str) -> str:
    """The page of a study in which no run has ended; `unread` says why runs that are there cannot be read."""
    shown = {
        "title": title,
        "kind": "disentanglement report",
        "asked": found.total,
        "running": found.running,
        "unread": unread,
        "grid": _grid_lines(grid_text),
        "grid_text": grid_text,
    }
    return rendered("waiting", shown)


def _asked(grid: Path) -> Sequence[RunSpec]:
    """The runs that the grid asks for; none where it names models that are not installed."""
    try:
        return expand(read_grid(grid, with_data=False, allow=()))
    except BenchError:
        return ()


def _grid_lines(text: str) -> list[tuple[str, str]]:
    """The grid as the report shows it; one line where it is no grid, or one of a newer version."""
    try:
        document = tomllib.loads(text)
        Grid.model_validate(document)
        return describe_grid(document)
    except (ValueError, RecursionError):
        return [("grid.toml", "this version cannot read it")]
