"""What a leaderboard says in a sentence or two: which row is best, what it costs, and what cannot be told apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench.report.comparison import lower_is_better
from disentangle_bench.report.statistics import FEWEST, Marks, differences, significant_pairs
from disentangle_bench.report.tables import Tables

NAMED = 3  # rows or metrics that a sentence names; more are counted


def verdicts(tables: Tables, sort: str | None = None) -> list[str]:
    """A text for each ranking of the tables: what `sort` or else the first metric says, and which others say something.

    Rows are told apart where their means differ significantly (`statistics.significant_pairs`), as for the marks of the
    table. A ranking with fewer than two rows of three seeds has no text.
    """
    metrics = list(tables.runs.attrs["headlines"])
    if sort in metrics:
        metrics = [sort, *(name for name in metrics if name != sort)]
    lower = lower_is_better(tables.runs)
    rows = tables.rows[~tables.rows["control"].astype(bool)]
    several = rows["dataset"].nunique() > 1
    found = []
    for _, part in rows.groupby("group", sort=False):
        # A row of fewer seeds has no place in a test.
        parts = {name: part[part[f"{name}_n"] >= FEWEST] for name in metrics}
        parts = {name: own for name, own in parts.items() if len(own) >= 2}
        if parts:
            found.append((f"{part['dataset'].iloc[0]}: " if several else "") + _verdict(parts, lower))
    return found


def _verdict(rows: Mapping[str, pd.DataFrame], lower: Collection[str]) -> str:
    """The text of one ranking, given each metric's rows; the first metric is what it is about."""
    first, *others = rows
    top = _top(rows[first], first, lower)
    worse = _told_from(rows[first], first)[rows[first].index.get_loc(top.name)]
    if worse.any():
        sentences = [_best(rows[first], first, top, worse)]
    else:
        mean = f"{top[f'{first}_mean']:.3f}"
        sentences = [f"By {first} no row can be told from the best mean, {mean} of {_label(top)}."]
    # Each metric's tests have their own 5 %: what several metrics say is not one claim.
    telling = [
        f"{name} (best mean: {_label(_top(rows[name], name, lower))})"
        for name in others
        if _told_from(rows[name], name).any()
    ]
    if telling:
        sentences.append(f"Rows are told apart by {_listed(telling)} too.")
    if more := len(others) - len(telling):
        sentences.append(
            f"{'Another metric tells' if more == 1 else f'{more} other metrics tell'} none apart."
        )
    return " ".join(sentences)


def _best(rows: pd.DataFrame, metric: str, top: pd.Series[Any], worse: Marks) -> str:
    """Which row is best by the metric, what it pays in reconstruction, and which rows it cannot be told from."""
    against = _listed([f"{row[f'{metric}_mean']:.3f} of {_label(row)}" for _, row in rows[worse].iterrows()])
    mean, seeds = top[f"{metric}_mean"], top[f"{metric}_n"]
    parts = [f"Best by {metric} over {seeds} seeds is {_label(top)}: {mean:.3f} against {against}"]
    parts += _price(rows, top)
    tied = rows[~worse & (rows.index != top.name)]
    if len(tied):
        parts.append(f"it cannot be told from {_listed([_label(row) for _, row in tied.iterrows()])}")
    return "; ".join(parts) + "."


def _price(rows: pd.DataFrame, top: pd.Series[Any]) -> list[str]:
    """What the row pays in reconstruction, against the best of its likelihood; nothing for one that is alone in it."""
    alike = rows["reconstruction_likelihood"] == top["reconstruction_likelihood"]
    same = rows[alike & (rows["reconstruction_nats_n"] >= FEWEST)]
    if len(same) < 2:
        return []
    if top["best_reconstruction_nats"]:
        return ["no row can be said to reconstruct better"]
    cheapest = _top(same, "reconstruction_nats", ["reconstruction_nats"])
    nats, least = top["reconstruction_nats_mean"], cheapest["reconstruction_nats_mean"]
    return [
        f"it reconstructs {nats - least:.1f} nats worse than {_label(cheapest)} ({nats:.1f} against {least:.1f})"
    ]


def _told_from(rows: pd.DataFrame, name: str) -> Marks:
    """Which two rows differ significantly in this measure, [rows, rows]; all pairs are one family."""
    mean, std = (rows[f"{name}_{statistic}"].to_numpy(float) for statistic in ("mean", "std"))
    (apart,) = significant_pairs(differences(mean, std, rows[f"{name}_n"].to_numpy(int)))
    return apart


def _top(rows: pd.DataFrame, name: str, lower: Collection[str]) -> pd.Series[Any]:
    """The row of the best mean."""
    means = rows[f"{name}_mean"].to_numpy(float)
    return rows.iloc[int(np.nanargmin(means) if name in lower else np.nanargmax(means))]


def _label(row: pd.Series[Any]) -> str:
    return f"{row['model']} ({row['setting']})" if row["setting"] else str(row["model"])


def _listed(words: Sequence[str]) -> str:
    """The first of them in words, and how many more there are."""
    more = len(words) - NAMED
    *first, last = [*words[:NAMED], f"{more} more"] if more > 0 else words
    return f"{', '.join(first)} and {last}" if first else last
