"""A leaderboard as a LaTeX table for the package booktabs, as a paper prints it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from disentangle_bench.report.papers import NAMES, in_latex
from disentangle_bench.report.render import NO_SETTINGS, Cell, notes, readable
from disentangle_bench.report.words import METRIC_TITLES, TITLES, in_words, latex_text

# Columns that stand above the rows of a data set, or nowhere.
NOT_SHOWN = ("rank", "dataset", "provenance", "setting")


def latex(
    rows: pd.DataFrame, shown: pd.DataFrame, warnings: Sequence[str] = (), digits: int | None = None
) -> str:
    """The table: a heading for each data set, models by the names of papers, controls below a rule, notes in comments.

    What all rows share (steps, precision) is a comment too. `digits` are those behind the point.
    """
    text = readable(rows, shown, digits)
    first = list(shown.columns).index("model") + 1
    settings = [
        name
        for name in shown.columns[first : list(shown.columns).index("n_seeds")]
        if name not in NO_SETTINGS
    ]
    names = [_model(*pair) for pair in zip(shown["model"], in_words(shown[settings]), strict=True)]
    head = [name for name in text.columns if not isinstance(text[name].iloc[0], Cell)]
    head = [name for name in head if name not in (*NOT_SHOWN, "model", *settings)]
    trained = text[~rows["control"].to_numpy(bool)] if not rows["control"].all() else text
    shared = [name for name in head if name != "seeds" and trained[name].nunique() == 1]
    measures = [name for name in text.columns if isinstance(text[name].iloc[0], Cell)]
    columns = [*(name for name in head if name not in shared), *measures]

    titles = [in_latex(_title(name)) for name in columns]
    lines = [" & ".join(["model", *titles]) + r" \\"]
    before = None
    for i, (_, cells) in enumerate(text[columns].iterrows()):
        section = (rows["group"].iloc[i], bool(rows["control"].iloc[i]))
        if before is None or section[0] != before[0]:
            label = latex_text(f"{shown['dataset'].iloc[i]}, {shown['provenance'].iloc[i]}")
            lines += [r"\midrule", rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\textit{{{label}}}}} \\"]
        elif section != before:
            lines.append(r"\midrule")
        before = section
        lines.append(" & ".join([names[i], *map(_cell, cells)]) + r" \\")
    said = [*notes(rows, shown), *warnings]
    if shared:
        said.append(
            "All models: " + ", ".join(f"{name} {trained[name].iloc[0] or '-'}" for name in shared) + "."
        )
    # A line that breaks would go on outside of the comment.
    comments = [f"% {' '.join(each.split())}" for each in said]
    body = [
        rf"\begin{{tabular}}{{{'l' * (len(columns) + 1)}}}",
        r"\toprule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([*comments, *body]) + "\n"


def _title(name: str) -> str:
    """A column's title; an underscore of a measure's name becomes a space."""
    return name if name in TITLES.values() else METRIC_TITLES.get(name) or name.replace("_", " ")


def _model(model: str, settings: str) -> str:
    """A model's name for people, with its settings."""
    name = NAMES.get(model) or latex_text(model)
    return f"{name}, {latex_text(settings.replace('=', ' = '))}" if settings else name


def _cell(cell: object) -> str:
    """A measure with its mark and its interval in small print, or text."""
    if not isinstance(cell, Cell):
        return latex_text(str(cell))
    mean = rf"\textbf{{{cell.mean}}}" if cell.best else cell.mean
    spread = rf" {{\scriptsize{cell.spread}}}" if cell.spread else ""
    return mean + (r"$^{\ast}$" if cell.star else "") + spread
