"""The leaderboard and comparisons as tables for a terminal, as narrow as it is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import pandas as pd
from rich.table import Table
from rich.text import Text

from disentangle_bench.report.render import NO_SETTINGS, TITLES, Cell, measure, notes, readable
from disentangle_bench.report.runs_table import RECONSTRUCTION
from disentangle_bench.report.words import metric_title
from disentangle_bench.shown import printable

FOLDED = 24  # characters of a column that is no measure; what is longer goes on in the next line
WORDS = ("likelihood", "source", "precision")  # what keeps rows apart and needs no name before it


def terminal_tables(
    rows: pd.DataFrame,
    shown: pd.DataFrame,
    study: str,
    width: int,
    sort: str | None = None,
    digits: int | None = None,
) -> list[Table]:
    """The leaderboard for a terminal `width` characters wide, a table a data set: best values bold, controls apart.

    What all rows of a data set share stands above its table, all settings in one column, and an interval below its
    mean. Of the measures there are as many as there is room for, reconstruction and `sort` (by default the first
    metric) in any case; the caption of the last table says what the marks mean, where seeds are few or lack a measure,
    and names the rest. Metrics have people's names.
    """
    text = readable(rows, shown, digits)
    measures = [name for name in text.columns if isinstance(text[name].iloc[0], Cell)]
    head = [name for name in text.columns if name not in measures]
    groups = rows["group"].to_numpy()
    values = text[head].groupby(groups).nunique().max()
    shared = [name for name in head if name not in ("rank", "model") and values[name] == 1]
    own = [name for name in measures if name not in {TITLES.get(m, m) for m in RECONSTRUCTION}]
    second = TITLES.get(sort, sort) if sort else next(iter(own), None)
    if not shown.attrs.get("chosen"):
        measures = list(
            dict.fromkeys([*measures[:1], *(n for n in [second] if n in measures), *own, *measures])
        )
    above = text[[name for name in shared if name != "failed" or (text[name] != "0").any()]]
    text = pd.concat([_head(text, [name for name in head if name not in shared]), text[measures]], axis=1)
    names = {name: metric_title(name) for name in measures}
    text, measures = text.rename(columns=names), [names[name] for name in measures]
    head = [name for name in text.columns if name not in measures]
    fitting = _fitting(text, head, measures, width)
    tables: list[Table] = []
    for group in dict.fromkeys(groups):
        part, control = text[groups == group], rows["control"].to_numpy(bool)[groups == group]
        heading = ", ".join(f"{name}: {above[name][groups == group].iloc[0]}" for name in above)
        # Text, not markup: a label may hold brackets.
        table = Table(title=_plain("\n".join(filter(None, ["" if tables else study, heading]))))
        for name in (*head, *fitting):
            title = _title(name) if name in fitting else name
            table.add_column(_plain(title), overflow="fold", no_wrap=name == "rank" or name in fitting)
        for i, (_, cells) in enumerate(part[[*head, *fitting]].iterrows()):
            if i and control[i] != control[i - 1]:
                table.add_section()
            bold = ["bold" if isinstance(cell, Cell) and cell.best else "" for cell in cells]
            table.add_row(*(_plain(_two_lines(cell), style) for cell, style in zip(cells, bold, strict=True)))
        tables.append(table)
    caption = notes(rows, shown)
    if left_out := measures[len(fitting) :]:
        caption.append(f"No room here for {', '.join(left_out)}: leaderboard.csv has all, --columns chooses.")
    tables[-1].caption = _plain("\n".join(caption))
    tables[-1].caption_justify = "left"
    return tables


def _head(text: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The columns before the measures: rank and model, all settings in one, the seeds with those that failed."""
    kept = ["rank", "model"]
    settings = [name for name in names if name not in (*kept, "seeds", "failed", "steps")]
    found = text[kept].copy()
    if len(settings) == 1:
        found[settings[0]] = text[settings[0]]
    elif settings:
        found["settings"] = ["\n".join(_settings(row, settings)) for _, row in text.iterrows()]
    if "seeds" in names or "failed" in names:
        lost = text["failed"] if "failed" in names else ""
        failed = pd.Series(lost, index=text.index).map(lambda n: "" if n in ("", "0") else f"\n{n} failed")
        found["seeds"] = text["seeds"] + failed
    if "steps" in names:
        found["steps"] = text["steps"]
    return found


def _settings(row: pd.Series, names: Sequence[str]) -> list[str]:
    """The settings that the row has, each in a line."""
    titles = {TITLES.get(name, name) for name in NO_SETTINGS}
    return [
        row[name] if name == "setting" or (name in titles and name in WORDS) else f"{name}={row[name]}"
        for name in names
        if row[name]
    ]


def _plain(text: str, style: str = "") -> Text:
    """The text as it is, neither rich's markup nor anything that a terminal obeys."""
    return Text(printable(text), style=style)


def _fitting(text: pd.DataFrame, head: Sequence[str], measures: list[str], width: int) -> list[str]:
    """The first of the measures, two at least, that fit beside the columns `head` into a table so wide."""

    def wide(name: str) -> int:
        cells = [line for cell in text[name] for line in _two_lines(cell).split("\n")]
        return max(map(len, (*_title(name).split("\n"), *cells))) + len("│  ")

    room = width - len("│") - sum(min(wide(name), FOLDED) for name in head)
    taken = accumulate(map(wide, measures))
    return measures[: max(2, sum(total <= room for total in taken))]


def _title(name: str) -> str:
    """A column's title, a word a line where a measure's is long."""
    return name.replace(" ", "\n")


def _two_lines(cell: object) -> str:
    return str(cell).replace(" ", "\n", 1) if isinstance(cell, Cell) else str(cell)


def comparison_table(table: pd.DataFrame, title: str) -> Table:
    """What `compare` found, for a terminal."""
    shown = Table(
        title=_plain(title),
        caption="Mean [95 % interval over runs], runs (+ failed). Probability that a run of A is better; p of the exact"
        " rank test, and the same with Holm's correction over the measures: significant up to 0.05.",
    )
    for name in ("dataset", "measure", "A", "B", "A better than B", "p-value", "p-value (Holm)"):
        shown.add_column(name, overflow="fold")
    for _, row in table.iterrows():
        sides = []
        for side in "ab":
            columns = {f"x_{s}": row[f"{s}_{side}"] for s in ("mean", "ci_low", "ci_high")}
            failed = f"+{row[f'n_failed_{side}']}" if row[f"n_failed_{side}"] else ""
            sides.append(f"{measure(pd.Series(columns), 'x')} n={row[f'n_{side}']}{failed}")
        probability = {"x_mean": row["probability"], "x_ci_low": row["ci_low"], "x_ci_high": row["ci_high"]}
        p_values = ["-" if pd.isna(row[name]) else f"{row[name]:.3g}" for name in ("p_value", "p_holm")]
        cells = (row["dataset"], row["measure"], *sides, str(measure(pd.Series(probability), "x")), *p_values)
        shown.add_row(*(_plain(str(cell)) for cell in cells))
    return shown
