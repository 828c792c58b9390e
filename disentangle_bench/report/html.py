"""`bench report`: a study as one folder of HTML that opens from a disk, without a network."""

from __future__ import annotations

import base64
import hashlib
import math
import shutil
import tomllib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from disentangle_bench.errors import BenchError
from disentangle_bench.files import read_small, write_text
from disentangle_bench.grid import Grid, expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.leaderboard import COMPARABLE, OF_ONE_LIKELIHOOD, plain, seeds_in_words
from disentangle_bench.report.methods import describe_grid, describe_metrics
from disentangle_bench.report.render import TITLES, marked, measure, notes, ranks_with_ties
from disentangle_bench.report.status import study_status
from disentangle_bench.report.study import Tables, make_tables, pictured_runs, write_csv

SCRIPTS = ("page.js", "leaderboard.js", "tradeoff.js", "models.js")
PICTURES = {
    "reconstructions.png": "Images and their reconstructions",
    "samples.png": "Samples from the prior",
    "traversals.png": "Latent traversals: one latent a row, moved from end to end",
}
MOVING = "traversals.gif"
CURVES = {"reconstruction": "reconstruction (nats)", "kl": "KL (nats)", "tc": "TC estimate (nats)"}
SHARES = ("objective", "hyperparameter", "seed")
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
        write_text(folder / "index.html", waiting_page(study, unread, title, grid_text))
        return folder / "index.html"
    (folder / "tables").mkdir(parents=True)
    write_csv(folder / "tables", tables)
    settings = [_setting(study, folder, row, record) for row, record in pictured_runs(study, tables, 1)]
    write_text(folder / "index.html", page(tables, settings, title, grid_text))
    return folder / "index.html"


def page(tables: Tables, settings: Sequence[Setting], title: str, grid_text: str) -> str:
    """The page itself; `settings` are the runs to show pictures of, `grid_text` the study's grid.toml."""
    style, scripts = _asset("report.css"), [_asset(name) for name in SCRIPTS]
    runs = tables.runs
    return _template("report").render(
        title=title,
        style=style,
        scripts=scripts,
        policy=_policy(style, scripts),
        runs=len(runs),
        failed=int((runs["status"] == "FAILED").sum()),
        warnings=tables.warnings,
        groups=_groups(tables),
        columns=_columns(tables),
        notes=notes(tables.rows, tables.board),
        seeds=seeds_in_words(tables.rows),
        board=_board(tables),
        correlations=_correlations(tables),
        variance=_variance(tables),
        settings=_by_rank(tables, settings),
        metrics=describe_metrics(runs),
        grid=_grid_lines(grid_text),
        grid_text=grid_text,
        origins=runs.attrs["origins"],
        failures=_failures(runs),
        files=list(tables.files()),
        data=_data(tables),
    )


def waiting_page(study: StudyDir, unread: Sequence[str], title: str, grid_text: str) -> str:
    """The page of a study in which no run has ended; `unread` says why runs that are there cannot be read."""
    try:
        asked = expand(read_grid(study.path / "grid.toml", with_data=False, allow=()))
    except BenchError:
        asked = ()  # how many runs a grid has is not known without the models that it names, and these may be anyone's
    found = study_status(study, asked)
    style = _asset("report.css")
    return _template("waiting").render(
        title=title,
        style=style,
        policy=_policy(style, ()),
        asked=len(asked),
        running=found.running,
        unread=unread,
        grid=_grid_lines(grid_text),
        grid_text=grid_text,
    )


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


@dataclass(frozen=True)
class Setting:
    """A run that stands for a row of the leaderboard: its pictures, curves and heat map."""

    row: int
    run: str
    seed: int
    pictures: tuple[tuple[str, str], ...]
    moving: str
    curves: tuple[Mapping[str, Any], ...]
    factors: tuple[str, ...]
    information: tuple[tuple[float, ...], ...]


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


def _by_rank(tables: Tables, settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """The settings in the leaderboard's order, with the words for their row."""
    by_row = {setting.row: setting for setting in settings}
    rows = tables.rows.assign(shown=ranks_with_ties(tables.rows))
    return [
        {
            "group": row["group"],
            "rank": row["shown"],
            "model": row["model"],
            "setting": row["setting"],
            "of": by_row[row["row"]],
        }
        for row in rows.to_dict("records")
        if row["row"] in by_row
    ]


def _groups(tables: Tables) -> list[dict[str, Any]]:
    """A name and the counts of each set of runs that measure the same thing."""
    rows = tables.rows[~tables.rows["control"].astype(bool)]
    same_name = rows.groupby(["dataset", "provenance"])["group"].nunique()
    found = []
    for group, part in rows.groupby("group", sort=True):
        first = part.iloc[0]
        name = f"{first['dataset']} ({first['provenance']})"
        if same_name[first["dataset"], first["provenance"]] > 1:
            name += ": " + ", ".join(plain(first[key]) for key in COMPARABLE[2:] if first[key])
        counts = {"done": int(part["n_seeds"].sum()), "failed": int(part["n_failed"].sum())}
        found.append({"id": int(str(group)), "name": name} | counts)
    return found


def _measures(tables: Tables) -> list[str]:
    """What the page shows; the excess over a perfect picture only where a run has it."""
    excess = ["excess_share"] if tables.rows["excess_share_mean"].notna().any() else []
    return ["reconstruction_nats", *excess, "elbo", *tables.headlines]


def _columns(tables: Tables) -> list[dict[str, Any]]:
    """The leaderboard's columns that can be sorted by, with the order in which the first click puts them."""
    text = [("rank", "rank", True), ("model", "model", True), ("setting", "setting", True)]
    counts = [("n_seeds", "seeds", False), ("n_failed", "failed", False)]
    numbers = [(name, TITLES.get(name, name), name in tables.lower_is_better) for name in _measures(tables)]
    return [
        {
            "key": key,
            "title": title,
            "ascending": up,
            "number": key not in ("model", "setting"),
            "apart": key in OF_ONE_LIKELIHOOD,
        }
        for key, title, up in (*text, *counts, *numbers)
    ]


def _board(tables: Tables) -> list[dict[str, Any]]:
    """A line per row of the leaderboard: what is shown, and what it is sorted by."""
    rows = tables.rows
    ranks = ranks_with_ties(rows)
    marks = {name: marked(rows, name) for name in _measures(tables)}
    models = rows[~rows["control"].astype(bool)]
    mixed = models.groupby("group")["reconstruction_likelihood"].nunique() > 1
    lines = []
    for i, row in enumerate(rows.to_dict("records")):
        cells = []
        for name in _measures(tables):
            cell = measure(pd.Series(row), name, marks[name].iloc[i])
            cells.append({"value": _rounded(row[f"{name}_mean"]), "cell": cell})
        lines.append(
            {
                "group": row["group"],
                "control": bool(row["control"]),
                "likelihood": "" if row["control"] else row["reconstruction_likelihood"],
                "rank": ranks.iloc[i],
                "order": None if pd.isna(row["rank"]) else int(row["rank"]),
                "model": row["model"],
                "setting": _setting_in_words(row, bool(mixed[row["group"]])),
                "seeds": row["n_seeds"],
                "failed": row["n_failed"],
                "cells": cells,
            }
        )
    return lines


def _setting_in_words(row: Mapping[Hashable, Any], mixed: bool) -> str:
    """A row's setting, and its likelihood where the data set's rows have several."""
    likelihood = row["reconstruction_likelihood"] if mixed and not row["control"] else ""
    return "; ".join(filter(None, [row["setting"], likelihood]))


def _correlations(tables: Tables) -> list[dict[str, Any]]:
    """A square of rank correlations per group; `shade` is -10..10."""
    squares = []
    for group, part in tables.correlation.groupby("group", sort=True):
        names = list(dict.fromkeys(part["measure_a"]))
        values = part["spearman"].to_numpy(float).reshape(len(names), len(names))
        lines = [
            {"name": name, "cells": [_shaded(value, 10) for value in line]}
            for name, line in zip(names, values, strict=True)
        ]
        squares.append({"group": group, "names": names, "lines": lines, "runs": int(part["n_runs"].max())})
    return squares


def _shaded(value: float, steps: int) -> dict[str, Any]:
    missing = bool(np.isnan(value))
    shade = 0 if missing else round(value * steps)
    return {"text": "-" if missing else f"{value:.2f}", "shade": f"n{-shade}" if shade < 0 else f"p{shade}"}


def _variance(tables: Tables) -> list[dict[str, Any]]:
    """The bars of variance shares: percent, and where each part begins. A share below 0 has no width."""
    lines = []
    for row in tables.variance.to_dict("records"):
        if row["measure"] in ("excess_nats", "excess_share", "mse", "kl"):
            continue
        whole = sum(max(row[name], 0.0) for name in SHARES)
        parts, start = [], 0.0
        for name in SHARES:
            width = 100 * max(row[name], 0.0) / whole
            text = f"{100 * row[name]:.0f} %"
            parts.append({"name": name, "start": f"{start:.2f}", "width": f"{width:.2f}", "text": text})
            start += width
        counts = {key: row[key] for key in ("n_runs", "n_failed", "n_models", "n_settings")}
        lines.append({"group": row["group"], "measure": row["measure"], "parts": parts} | counts)
    return lines


def _failures(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The reasons why runs failed, the commonest first, with a run of each."""
    failed = runs[runs["status"] == "FAILED"]
    reasons = failed.groupby("failure", sort=False)["run"].agg(["size", "first"])
    reasons = reasons.sort_values("size", ascending=False, kind="stable")
    return [
        {"reason": reason, "runs": row["size"], "first": row["first"]} for reason, row in reasons.iterrows()
    ]


def _data(tables: Tables) -> dict[str, Any]:
    """What the scripts draw: means with intervals, fronts, each seed's numbers, and the tables of models."""
    measures = _measures(tables)
    rows = tables.rows[~tables.rows["control"].astype(bool)]
    told = tables.told
    done = (told["status"] == "DONE").to_numpy()
    numbers = told[measures].to_numpy(float)
    seeds: dict[int, list[list[Any]]] = {}
    for i in np.flatnonzero(done):
        line = [int(told["seed"].iloc[i]), *(_rounded(value) for value in numbers[i])]
        seeds.setdefault(int(tables.row_of_run[i]), []).append(line)
    return {
        "measures": [
            {"key": name, "title": TITLES.get(name, name), "lower": name in tables.lower_is_better}
            for name in measures
        ],
        "metrics": tables.headlines,
        "models": sorted(set(rows["model"])),
        "rows": [
            {
                "group": int(row["group"]),
                "likelihood": row["reconstruction_likelihood"],
                "model": row["model"],
                "setting": row["setting"],
                "failed": int(row["n_failed"]),
                "numbers": [
                    [_rounded(row[f"{name}_{part}"]) for part in ("mean", "ci_low", "ci_high")]
                    for name in measures
                ],
                "front": [bool(row[f"front_{name}"]) for name in tables.headlines],
                "unbeaten": [bool(row[f"pareto_{name}"]) for name in tables.headlines],
                "seeds": seeds.get(row["row"], []),
            }
            for row in rows.to_dict("records")
        ],
        "summary": _lists(tables.models.drop(columns=["dataset", "provenance"])),
        "improvement": _lists(tables.improvement.drop(columns=["dataset", "provenance"])),
    }


def _lists(table: pd.DataFrame) -> dict[str, Any]:
    """A table as its column names and its lines, numbers rounded."""
    lines = [[_rounded(v) if isinstance(v, float) else v for v in line] for line in table.to_numpy().tolist()]
    return {"columns": list(table.columns), "lines": lines}


def _rounded(value: float) -> float | None:
    """Five digits, which is more than a screen shows; None for what is missing."""
    return None if not math.isfinite(value) else float(f"{value:.5g}")


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
