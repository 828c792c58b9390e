"""A board as one page of HTML that opens from a disk, without scripts and without a network."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd
from markupsafe import Markup

if TYPE_CHECKING:
    from disentangle_bench.board.definition import Board
    from disentangle_bench.board.entries import Entry
    from disentangle_bench.board.tables import Measure


def page(board: Board, entries: dict[str, Entry], measures: list[Measure], rows: list[dict[str, Any]]) -> str:
    """The page; `rows` are those of the board's table. Every text of an entry is escaped."""
    style = (
        resources.files("disentangle_bench.report").joinpath("assets/report.css").read_text(encoding="utf-8")
    )
    lines = []
    for row in rows:
        cells = [_cell(row, measure.name) for measure in measures]
        lines.append({"row": row, "about": entries[row["entry"]].about, "cells": cells})
    return _template().render(
        board=board,
        style=Markup(style),  # this package's own
        policy=f"default-src 'none'; style-src '{_digest(style)}'; base-uri 'none'; form-action 'none'",
        measures=measures,
        lines=lines,
        ranked=sum(not row["control"] for row in rows),
    )


def _cell(row: dict[str, Any], name: str) -> dict[str, Any]:
    mean, low, high = (row[f"{name}_{key}"] for key in ("mean", "ci_low", "ci_high"))
    spread = "" if pd.isna(low) else f"[{low:.3f}, {high:.3f}]"
    return {"mean": "-" if pd.isna(mean) else f"{mean:.3f}", "spread": spread, "best": row[f"best_{name}"]}


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("disentangle_bench.board", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("board.html.jinja")
