"""`bench report`: a study as one folder of HTML that opens from a disk, without a network."""

from __future__ import annotations

import base64
import hashlib
import math
import shutil
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from disentangle_bench.errors import BenchError
from disentangle_bench.files import read_small, write_text
from disentangle_bench.grid import Grid, expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.foreign import TRAINED
from disentangle_bench.report.methods import describe_grid, describe_metrics
from disentangle_bench.report.page_data import (
    Setting,
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
from disentangle_bench.report.render import few_seeds, notes
from disentangle_bench.report.status import Status, study_status
from disentangle_bench.report.study import make_tables, pictured_runs, write_csv
from disentangle_bench.report.tables import Tables
from disentangle_bench.report.verdict import verdicts
from disentangle_bench.report.words import CURVES
from disentangle_bench.specs import RunSpec

SCRIPTS = ("page.js", "leaderboard.js", "tradeoff.js", "models.js")
PICTURES = {
    "reconstructions.png": "Images and their reconstructions",
    "samples.png": "Samples from the prior",
    "traversals.png": "Latent traversals: one latent a row, moved from end to end",
}
MOVING = "traversals.gif"
CURVE_POINTS = 60
CURVE_SIZE = (240, 90)


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
    settings = [_setting(study, folder, row, record) for row, record in pictured_runs(study, tables, 1)]
    write_text(folder / "index.html", page(tables, settings, title, grid_text))
    return folder / "index.html"


def page(tables: Tables, settings: Sequence[Setting], title: str, grid_text: str) -> str:
    """The page itself; `settings` are the runs to show pictures of, `grid_text` the study's grid.toml."""
    style, scripts = _asset("report.css"), [_asset(name) for name in SCRIPTS]
    runs = tables.runs[tables.runs["source"] == TRAINED]
    return _template("report").render(
        title=title,
        style=style,
        scripts=scripts,
        policy=_policy(style, scripts),
        runs=len(runs),
        failed=int((runs["status"] == "FAILED").sum()),
        warnings=tables.warnings,
        verdicts=verdicts(tables),
        groups=groups_of(tables),
        columns=columns_of(tables),
        notes=notes(tables.rows, tables.leaderboard),
        seeds=few_seeds(tables.rows),
        leaderboard=leaderboard_lines(tables),
        correlations=correlations(tables),
        variance=variance_bars(tables),
        settings=settings_by_rank(tables, settings),
        metrics=describe_metrics(tables.runs),
        grid=_grid_lines(grid_text),
        grid_text=grid_text,
        origins=tables.runs.attrs["origins"],
        failures=failures(runs),
        more_tables=shown_tables(tables),
        files=list(tables.files()),
        data=data_of_scripts(tables),
    )


def waiting_page(found: Status, unread: Sequence[str], title: str, grid_text: str) -> str:
    """The page of a study in which no run has ended; `unread` says why runs that are there cannot be read."""
    style = _asset("report.css")
    return _template("waiting").render(
        title=title,
        style=style,
        policy=_policy(style, ()),
        asked=found.total,
        running=found.running,
        unread=unread,
        grid=_grid_lines(grid_text),
        grid_text=grid_text,
    )


def _asked(grid: Path) -> Sequence[RunSpec]:
    """The runs that the grid asks for; none where it names models that are not installed."""
    try:
        return expand(read_grid(grid, with_data=False, allow=()))
    except BenchError:
        return ()


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("disentangle_bench.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html.jinja")


def _grid_lines(text: str) -> list[tuple[str, str]]:
    """The grid as the report shows it; one line where it is no grid, or one of a newer version."""
    try:
        document = tomllib.loads(text)
        Grid.model_validate(document)
        return describe_grid(document)
    except (ValueError, RecursionError):
        return [("grid.toml", "this version cannot read it")]


def _setting(study: StudyDir, folder: Path, row: int, record: RunRecord) -> Setting:
    run = record.spec.id
    source = study.runs / run / "pictures"
    there = [name for name in (*PICTURES, MOVING) if _is_own_picture(study.runs / run, source / name)]
    if there:
        (folder / "pictures" / run).mkdir(parents=True)
    for name in there:
        shutil.copyfile(source / name, folder / "pictures" / run / name)
    information = record.scores.get("mutual_information") or ()
    return Setting(
        row=row,
        run=run,
        seed=record.spec.seed,
        pictures=tuple((f"pictures/{run}/{name}", PICTURES[name]) for name in there if name in PICTURES),
        moving=f"pictures/{run}/{MOVING}" if MOVING in there else "",
        curves=tuple(
            _curve(record, name, title) for name, title in CURVES.items() if name in record.curves[0]
        ),
        factors=tuple(record.provenance["data"].get("factors", {})),
        information=tuple(tuple(line) for line in information),
    )


def _is_own_picture(run: Path, path: Path) -> bool:
    """Whether the picture is there and lies in the run: a link could show any file of this machine's."""
    return path.is_file() and path.resolve().is_relative_to(run.resolve())


def _curve(record: RunRecord, name: str, title: str) -> dict[str, Any]:
    """A curve as the points of an SVG line, thinned out, with its ends in words."""
    kept = np.unique(np.linspace(0, len(record.curves) - 1, CURVE_POINTS).astype(int))
    steps = np.array([record.curves[i]["step"] for i in kept])
    values = np.array([record.curves[i].get(name, math.nan) for i in kept])
    has = np.isfinite(values)
    if not has.any():
        return {"title": title, "points": "", "words": "no finite value"}
    steps, values = steps[has], values[has]
    width, height = CURVE_SIZE
    x = (steps - steps[0]) / max(float(np.ptp(steps)), 1.0) * width
    y = height - (values - values.min()) / max(float(np.ptp(values)), 1e-12) * height
    points = " ".join(f"{a:.0f},{b:.0f}" for a, b in zip(x, y, strict=True))
    words = f"{values[0]:.4g} at step {steps[0]:.0f}, {values[-1]:.4g} at step {steps[-1]:.0f}"
    return {"title": title, "points": points, "words": words}


def _asset(name: str) -> Markup:
    """A file of this package, as it stands; it is ours and needs no escaping."""
    return Markup((Path(__file__).parent / "assets" / name).read_text(encoding="utf-8"))


def _policy(style: str, scripts: Sequence[str]) -> str:
    """A Content-Security-Policy for this style, these scripts and pictures beside the page, and for nothing else."""
    allowed = " ".join(f"'{_digest(script)}'" for script in scripts) or "'none'"
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src {allowed}; img-src 'self' file:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
