"""A leaderboard for people: rounded, with intervals, as a terminal table or Markdown."""

from __future__ import annotations

import math

import pandas as pd
from rich.table import Table
from rich.text import Text

TITLES = {
    "n_seeds": "seeds",
    "n_failed": "failed",
    "reconstruction_nats": "reconstruction (nats)",
    "elbo": "ELBO",
    "kl": "KL",
    "mse": "MSE",
}


def readable(board: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard as text: `mean [low, high]` for each measure, a star for a metric on the Pareto front."""
    measures = [c.removesuffix("_mean") for c in board.columns if c.endswith("_mean")]
    head = [
        c
        for c in board.columns
        if not c.startswith(("pareto_", *(f"{m}_" for m in measures))) and c != "rank"
    ]
    shown = [m for m in measures if m not in ("mse", "kl", "elbo")]
    rows = []
    for _, row in board.iterrows():
        cells = {"rank": "" if pd.isna(row["rank"]) else str(row["rank"])}
        cells |= {TITLES.get(name, name): _plain(row[name]) for name in head}
        cells |= {TITLES.get(name, name): _measure(row, name) for name in shown}
        rows.append(cells)
    return pd.DataFrame(rows)


def terminal_table(board: pd.DataFrame, title: str) -> Table:
    """The leaderboard for a terminal."""
    text = readable(board)
    table = Table(
        title=title, caption="mean [95 % interval over seeds]; * on the Pareto front with reconstruction"
    )
    for name in text.columns:
        table.add_column(name, overflow="fold")
    previous = None
    for (_, cells), dataset in zip(text.iterrows(), board["dataset"], strict=True):
        if previous not in (None, dataset):
            table.add_section()
        previous = dataset
        table.add_row(*(Text(cell) for cell in cells))  # not markup: a label may hold brackets
    return table


def markdown(board: pd.DataFrame) -> str:
    """The leaderboard as a Markdown table."""
    text = readable(board)
    lines = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        + "\n"
    )


def _measure(row: pd.Series, name: str) -> str:
    mean, low, high = (row[f"{name}_{suffix}"] for suffix in ("mean", "ci_low", "ci_high"))
    if pd.isna(mean):
        return "-"
    star = "*" if row.get(f"pareto_{name}", False) else ""
    digits = 3 if abs(mean) < 10 else 1
    spread = "" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean:.{digits}f}{star}{spread}"


def _plain(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    return str(value)
