"""A leaderboard for people: rounded, with intervals and the best values marked, and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from disentangle_bench.errors import unknown_name
from disentangle_bench.report.comparison import compared_by
from disentangle_bench.report.leaderboard import APART
from disentangle_bench.report.statistics import FEWEST
from disentangle_bench.report.words import TITLES, in_words, plain

HIDDEN = ("excess_nats", "mse", "kl", "elbo")
NO_SETTINGS = (
    "source",
    *APART,
    "reconstruction_likelihood",
)  # columns between the model and the numbers of seeds
FEW = 10  # runs a row: with fewer a table says that its intervals lean on the normal distribution
MANY_SETTINGS = 4  # columns; from so many on, one column of words is easier to read
CAPTION = (
    "Mean [95 % interval over seeds]. Bold: no other row is significantly better. *: none significantly beats it in"
    " reconstruction and this measure together. A column without bold: no row is significantly better than another."
    " 2=: a shared rank."
)


@dataclass(frozen=True)
class Cell:
    """A rounded measure: its mean, its interval with the number of seeds where some lack it, and its marks.

    The star stands for the Pareto front, `best` for bold.
    """

    mean: str
    star: bool = False
    spread: str = ""
    best: bool = False

    def __str__(self) -> str:
        return f"{self.mean}{'*' if self.star else ''}{self.spread}"


def readable(rows: pd.DataFrame, shown: pd.DataFrame, digits: int | None = None) -> pd.DataFrame:
    """The leaderboard with rounded cells, a line a row: text, and a Cell for each measure.

    `rows` are those of `leaderboard.all_rows`, `shown` is what `leaderboard.leaderboard` shows of them. Marks are shown
    where some of the rows that can be compared have them and others do not. Where models have many different settings,
    one column has each row's own in words. `digits` are those behind the point, by default as `measure` says.
    """
    columns = list(shown.columns)
    first = columns.index("model") + 1
    settings = [name for name in columns[first : columns.index("n_seeds")] if name not in NO_SETTINGS]
    if len(settings) >= MANY_SETTINGS:
        words = in_words(shown[settings])
        shown = shown.drop(columns=settings)
        shown.insert(first, "setting", words)
    head = list(shown.columns[: list(shown.columns).index("steps") + 1])
    measures = shown_measures(rows, shown)
    marks = {name: marked(rows, name) for name in measures}
    ranks = ranks_with_ties(rows)
    lines = []
    for i, (_, row) in enumerate(shown.iterrows()):
        cells: dict[str, object] = {"rank": ranks.iloc[i]}
        cells |= {TITLES.get(name, name): plain(row[name]) for name in head}
        cells |= {
            TITLES.get(name, name): measure(row, name, marks[name].iloc[i], digits) for name in measures
        }
        lines.append(cells)
    return pd.DataFrame(lines)


def measures_of(shown: pd.DataFrame) -> list[str]:
    """The measures that the leaderboard has columns of."""
    own = shown.columns[list(shown.columns).index("steps") + 1 :]
    return [name.removesuffix("_mean") for name in own if name.endswith("_mean")]


def shown_measures(rows: pd.DataFrame, shown: pd.DataFrame) -> list[str]:
    """The measures that people are shown: those chosen by `only`.

    Without a choice all but some of reconstruction's, and no excess that no run has.
    """
    measures = measures_of(shown)
    if shown.attrs.get("chosen"):
        return measures
    return [
        m for m in measures if m not in HIDDEN and (m != "excess_share" or rows[f"{m}_mean"].notna().any())
    ]


def only(shown: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """The leaderboard with these measures alone, in this order. Raises BenchError for one that it does not have."""
    known = measures_of(shown)
    for name in measures:
        if name not in known:
            raise unknown_name("measure", name, known)
    head = list(shown.columns[: list(shown.columns).index("steps") + 1])
    own = [c for m in measures for c in shown.columns if c.startswith(f"{m}_") and _measure_of(c, known) == m]
    found = shown[[*head, *own]]
    found.attrs = {**shown.attrs, "chosen": True}
    return found


def _measure_of(column: str, measures: Sequence[str]) -> str:
    """Which measure a column is of: the longest name that it begins with."""
    return max((name for name in measures if column.startswith(f"{name}_")), key=len)


def marked(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Columns `best` and `star`: which marks a measure gets in tables for people.

    Where all rows that can be compared are among the best, none is marked so, and a row alone has no star.
    """
    found = pd.DataFrame(False, index=rows.index, columns=["best", "star"])
    models = rows[~rows["control"].astype(bool) & (rows[f"{name}_n"] > 0)]
    best = models[f"best_{name}"].astype(bool)
    found.loc[models.index, "best"] = best & (_among(best, models, name).transform("nunique") > 1)
    if f"pareto_{name}" in rows:
        star = models[f"pareto_{name}"].astype(bool)
        found.loc[models.index, "star"] = star & (
            _among(star, models, "reconstruction_nats").transform("size") > 1
        )
    return found


def _among(marks: pd.Series, rows: pd.DataFrame, name: str) -> Any:
    """The marks grouped by what can be compared in this measure."""
    return marks.groupby([rows[key] for key in compared_by(name)])


def ranks_with_ties(rows: pd.DataFrame) -> pd.Series:
    """Each row's rank as text: `2=` where several rows share it, nothing for a row without one."""
    shared = rows.groupby(["ranking", "rank"])["rank"].transform("size")
    text = rows["rank"].astype("string").fillna("")
    return text.where(~(shared > 1).fillna(False), text + "=")


def measure(
    row: pd.Series, name: str, marks: Mapping[str, bool] | pd.Series | None = None, digits: int | None = None
) -> Cell:
    """The mean of a measure with its interval and its marks, to `digits` or three decimals below 10 and one above.

    How many seeds have it is said where some of the row's lack it.
    """
    mean, low, high = (row[f"{name}_{suffix}"] for suffix in ("mean", "ci_low", "ci_high"))
    if pd.isna(mean):
        return Cell("-")
    digits = digits if digits is not None else 3 if abs(mean) < 10 else 1
    spread = "" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    count = row.get(f"{name}_n")
    if count is not None and count < row["n_seeds"]:
        spread += f" n={int(count)}"
    star, best = (False, False) if marks is None else (bool(marks["star"]), bool(marks["best"]))
    return Cell(f"{mean:.{digits}f}", star, spread, best)


def notes(rows: pd.DataFrame, shown: pd.DataFrame, title: Callable[[str], str] = str) -> list[str]:
    """What a reader of the table must know of it, a sentence or two each; `title` names a measure."""
    measures = shown_measures(rows, shown)
    return [text for text in (CAPTION, few_seeds(rows), missing_values(rows, measures, title)) if text]


def few_seeds(rows: pd.DataFrame) -> str:
    """A sentence where the rows of `all_rows` have few seeds; nothing for enough."""
    counts = rows.loc[~rows["control"].astype(bool) & (rows["n_seeds"] > 0), "n_seeds"]
    if counts.empty or counts.min() >= FEW:
        return ""
    if counts.max() < FEWEST:
        return f"Fewer than {FEWEST} seeds a row: there is no interval, and nothing is marked as best."
    number = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    text = (
        f"Few seeds ({number} a row): the intervals hold for scores that spread like a normal distribution, and small"
        " differences may be luck."
    )
    if counts.min() < FEWEST:
        text += f" Rows with fewer than {FEWEST} have no interval and no mark."
    return text


def missing_values(rows: pd.DataFrame, measures: Sequence[str], title: Callable[[str], str]) -> str:
    """A sentence where some finished runs lack one of the measures; nothing where none does."""
    models = rows[~rows["control"].astype(bool)]
    counts = {name: models[f"{name}_n"] for name in measures}
    short = [title(name) for name, n in counts.items() if ((n > 0) & (n < models["n_seeds"])).any()]
    if not short:
        return ""
    return f"n=: the mean is over so many of the row's seeds, the others have no value ({', '.join(short)})."


def markdown(
    rows: pd.DataFrame, shown: pd.DataFrame, warnings: Sequence[str] = (), digits: int | None = None
) -> str:
    """The leaderboard as a Markdown table with notes and warnings below; controls, if any, in a second table."""

    def write(cell: object) -> str:
        if isinstance(cell, Cell):
            mean = f"**{cell.mean}**" if cell.best else cell.mean
            return mean + (r"\*" if cell.star else "") + cell.spread
        return _markdown_text(str(cell))

    def table(text: pd.DataFrame) -> str:
        lines = [[write(c) for c in text.columns], ["---"] * len(text.columns)]
        lines += [[write(cell) for cell in line] for line in text.to_numpy()]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"

    text, control = readable(rows, shown, digits), rows["control"].to_numpy(bool)
    parts = [table(text[mask]) for mask in (~control, control) if mask.any()]
    said = _markdown_text(" ".join([*notes(rows, shown), *(f"{warning}." for warning in warnings)]))
    first = f"{parts[0]}\n{said}\n"
    return first if len(parts) == 1 else f"{first}\nControls: reference codes, without a rank.\n\n{parts[1]}"


def _markdown_text(text: str) -> str:
    """The text in one line, with every sign escaped that means something to Markdown, HTML or mathematics there.

    An underscore within a word and brackets without a link behind them mean nothing.
    """
    return re.sub(r"[\\|<>*`$~&]|(?<!\w)_|_(?!\w)|\](?=[(\[:])", r"\\\g<0>", " ".join(text.split()))
