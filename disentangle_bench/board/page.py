"""A board as one page of HTML that opens from a disk, without scripts and without a network."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

if TYPE_CHECKING:
    from disentangle_bench.board.definition import Board
    from disentangle_bench.board.tables import Measure, Row


def page(board: Board, rows: list[Row], measures: list[Measure]) -> str:
    """The page. Every text of an entry is escaped."""
    style = (
        resources.files("disentangle_bench.report").joinpath("assets/report.css").read_text(encoding="utf-8")
    )
    ranked = [row for row in rows if row.rank is not None]
    shown = {
        "board": board,
        "rows": rows,
        "measures": measures,
        "style": Markup(style),  # this package's own
        "policy": f"default-src 'none'; style-src '{_digest(style)}'; base-uri 'none'; form-action 'none'",
        "ranked": len(ranked),
        # As in a study's tables: where nothing is told apart, nothing is bold.
        "bold": [any(not row.cells[j].best for row in ranked) for j in range(len(measures))],
    }
    return _template().render(shown)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


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
    environment.filters["number"] = _number
    return environment.get_template("board.html.jinja")
