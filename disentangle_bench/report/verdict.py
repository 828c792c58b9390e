"""What a leaderboard says in a sentence or two: which row is best, what it costs, and what cannot be told apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench.report.comparison import lower_is_better, of_one_likelihood, several_likelihoods
from disentangle_bench.report.statistics import FEWEST, Marks, differences, significant_pairs
from disentangle_bench.report.tables import Tables

NAMED = 3  # rows or metrics that a sentence names; more are counted


@dataclass(frozen=True)
class Verdict:
    """What one metric says of the rows of one group of the leaderboard."""

    group: int
    dataset: str
    metric: str
    text: str


def verdicts(tables: Tables) -> list[Verdict]:
    """What each metric says of each group of rows, the metrics of a group in their order.

    Rows are told apart where their means differ significantly (`statistics.significant_pairs`), as for the marks of the
    table. A metric that fewer than two rows of a group have three seeds of has no text, nor have nats where a group has
    several likelihoods.
    """
    rows = tables.rows[~tables.rows["control"].astype(bool)]
    found = []
    for group, part in rows.groupby("group", sort=True):
        # A row of fewer seeds has no place in a test.
        names = tables.runs.attrs["headlines"]
        if several_likelihoods(part):
            names = [name for name in names if not of_one_likelihood(name)]
        parts = {name: part[part[f"{name}_n"] >= FEWEST] for name in names}
        parts = {name: own for name, own in parts.items() if len(own) >= 2}
        said = _Said(parts, lower_is_better(tables.runs))
        dataset = str(part["dataset"].iloc[0])
        found += [Verdict(int(str(group)), dataset, name, said.text(name)) for name in parts]
    return found


def sentences(tables: Tables, sort: str | None = None) -> list[str]:
    """The text of each group by `sort` or else its first metric, with the data set's name where there are several."""
    found: dict[int, Verdict] = {}
    for verdict in verdicts(tables):
        if verdict.metric == sort:
            found[verdict.group] = verdict
        found.setdefault(verdict.group, verdict)
    several = tables.rows["dataset"].nunique() > 1
    return [f"{verdict.dataset}: {verdict.text}" if several else verdict.text for verdict in found.values()]


class _Said:
    """What metrics say of one group, given each metric's rows."""

    def __init__(self, rows: Mapping[str, pd.DataFrame], lower: Collection[str]) -> None:
        self.rows = rows
        self.apart = {name: _told_apart(own, name) for name, own in rows.items()}
        self.best = {name: _best_place(own, name, name in lower) for name, own in rows.items()}

    def text(self, metric: str) -> str:
        """What this metric says, and which others say something."""
        rows, place = self.rows[metric], self.best[metric]
        top, worse = rows.iloc[place], self.apart[metric][place]
        if worse.any():
            parts = [_best(rows, metric, top, worse)]
        else:
            mean = f"{top[f'{metric}_mean']:.3f}"
            parts = [f"By {metric} no row can be told from the best mean, {mean} of {_label(top)}."]
        # Each metric's tests have their own 5 %: what several metrics say is not one claim.
        others = [name for name in self.rows if name != metric]
        telling = [name for name in others if self.apart[name].any()]
        if telling:
            named = [f"{name} (best mean: {self._best_label(name)})" for name in telling]
            parts.append(f"Rows are told apart by {_listed(named)}{' too' * bool(worse.any())}.")
        if more := len(others) - len(telling):
            parts.append(
                f"{'Another metric tells' if more == 1 else f'{more} other metrics tell'} none apart."
            )
        return " ".join(parts)

    def _best_label(self, metric: str) -> str:
        return _label(self.rows[metric].iloc[self.best[metric]])


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
    cheapest = same.iloc[_best_place(same, "reconstruction_nats", lower=True)]
    nats, least = top["reconstruction_nats_mean"], cheapest["reconstruction_nats_mean"]
    return [
        f"it reconstructs {nats - least:.1f} nats worse than {_label(cheapest)} ({nats:.1f} against {least:.1f})"
    ]


def _told_apart(rows: pd.DataFrame, name: str) -> Marks:
    """Which two rows differ significantly in this measure, [rows, rows]; all pairs are one family."""
    mean, std = (rows[f"{name}_{statistic}"].to_numpy(float) for statistic in ("mean", "std"))
    (apart,) = significant_pairs(differences(mean, std, rows[f"{name}_n"].to_numpy(int)))
    return apart


def _best_place(rows: pd.DataFrame, name: str, lower: bool) -> int:
    """Where the row of the best mean stands."""
    means = rows[f"{name}_mean"].to_numpy(float)
    return int(np.nanargmin(means) if lower else np.nanargmax(means))


def _label(row: pd.Series[Any]) -> str:
    return f"{row['model']} ({row['setting']})" if row["setting"] else str(row["model"])


def _listed(words: Sequence[str]) -> str:
    """The first of them in words, and how many more there are."""
    more = len(words) - NAMED
    *first, last = [*words[:NAMED], f"{more} more"] if more > 0 else words
    return f"{', '.join(first)} and {last}" if first else last
