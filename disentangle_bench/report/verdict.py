"""What a leaderboard says in a sentence: which row is best, how sure that is, and what it costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench import registry
from disentangle_bench.report.comparison import lower_is_better, of_one_likelihood, several_likelihoods
from disentangle_bench.report.foreign import TRAINED
from disentangle_bench.report.statistics import FEWEST, Marks, differences, significant_pairs
from disentangle_bench.report.tables import Tables
from disentangle_bench.report.words import metric_title
from disentangle_bench.specs import TrainingSpec

NAMED = 3  # rows or metrics that a sentence names; more are counted
STANDARD_STEPS = TrainingSpec().steps


@dataclass(frozen=True)
class Verdict:
    """What one metric says of the rows of one group of the leaderboard.

    `finding` is the best row, its significance and its cost, `made` how it was trained and on what data; together they
    are one sentence. `more` says which rows and which other metrics decide nothing.
    """

    group: int
    metric: str
    finding: str
    made: str
    more: str

    @property
    def sentence(self) -> str:
        """The finding and how it was made."""
        return f"{self.finding}; {self.made}."


def verdicts(tables: Tables) -> list[Verdict]:
    """What each metric says of each group of rows, the metrics of a group in their order.

    Rows are distinguished where their means differ significantly (`statistics.significant_pairs`), as for the marks of
    the table. A metric that no run of a group has says nothing, nor do nats where a group has several likelihoods.
    """
    rows = tables.rows[~tables.rows["control"].astype(bool)]
    found = []
    for group, part in rows.groupby("group", sort=True):
        names = tables.runs.attrs["headlines"]
        if several_likelihoods(part):
            names = [name for name in names if not of_one_likelihood(name)]
        parts = {name: part[part[f"{name}_n"] > 0] for name in names}
        said = _Said({name: own for name, own in parts.items() if len(own)}, lower_is_better(tables.runs))
        found += [said.verdict(int(str(group)), name) for name in said.rows]
    return found


def sentences(tables: Tables, sort: str | None = None) -> list[str]:
    """What each group's rows say by `sort` or else by its first metric."""
    found: dict[int, Verdict] = {}
    for verdict in verdicts(tables):
        if verdict.metric == sort:
            found[verdict.group] = verdict
        found.setdefault(verdict.group, verdict)
    return [" ".join(filter(None, (verdict.sentence, verdict.more))) for verdict in found.values()]


class _Said:
    """What metrics say of one group, given each metric's rows."""

    def __init__(self, rows: Mapping[str, pd.DataFrame], lower: Collection[str]) -> None:
        self.rows = rows
        # A row of fewer seeds has no place in a test.
        self.tested = {name: own[own[f"{name}_n"] >= FEWEST] for name, own in rows.items()}
        self.compared = [name for name, own in self.tested.items() if len(own) >= 2]
        self.apart = {name: _distinguished(self.tested[name], name) for name in self.compared}
        self.best = {
            name: _best_place(self.tested[name] if name in self.compared else own, name, name in lower)
            for name, own in rows.items()
        }

    def verdict(self, group: int, metric: str) -> Verdict:
        """What this metric says, and which others say something."""
        if metric not in self.compared:
            top = self._best(metric)
            finding = (
                f"By {metric_title(metric)} no rows are compared, since fewer than two have {FEWEST} seeds; the best"
                f" mean is that of {_label(top)}: {_score(metric, top)}"
            )
            return Verdict(group, metric, finding, _made(top), "")
        rows, place = self.tested[metric], self.best[metric]
        top, worse = rows.iloc[place], self.apart[metric][place]
        if worse.any():
            count = int(worse.sum())
            beaten = "the other row" if len(rows) == 2 else f"all {count} other rows"
            if count < len(rows) - 1:
                beaten = f"{count} of {len(rows) - 1} other rows"
            parts = [
                f"Best by {metric_title(metric)} is {_label(top)}: {_score(metric, top)}, after correction"
                f" significantly better than {beaten}"
            ]
        else:
            parts = [
                f"By {metric_title(metric)} no row is distinguished from the best mean, that of {_label(top)}:"
                f" {_score(metric, top)}"
            ]
        finding = "; ".join([*parts, *_price(rows, top)])
        return Verdict(group, metric, finding, _made(top), " ".join(self._more(metric, top, worse)))

    def _best(self, metric: str) -> pd.Series[Any]:
        rows = self.tested if metric in self.compared else self.rows
        return rows[metric].iloc[self.best[metric]]

    def _more(self, metric: str, top: pd.Series[Any], worse: Marks) -> list[str]:
        """The rows that are not distinguished from the best one, and the metrics that distinguish any."""
        rows = self.tested[metric]
        tied = rows[~worse & (rows.index != top.name)]
        parts = []
        if len(tied) and worse.any():
            parts.append(
                f"Not distinguished from it: {_listed([_label(row) for _, row in tied.iterrows()])}."
            )
        # Each metric's tests have their own 5 %: what several metrics say is not one claim.
        others = [name for name in self.compared if name != metric]
        telling = [name for name in others if self.apart[name].any()]
        if telling:
            named = [f"{metric_title(name)} (best mean: {_label(self._best(name))})" for name in telling]
            parts.append(f"Other metrics that distinguish rows: {_listed(named)}.")
        if more := len(others) - len(telling):
            parts.append(f"{more} other metric{' distinguishes' if more == 1 else 's distinguish'} none.")
        return parts


def _score(metric: str, row: pd.Series[Any]) -> str:
    """A row's mean with its interval and the number of its seeds."""
    mean, low, high = (row[f"{metric}_{name}"] for name in ("mean", "ci_low", "ci_high"))
    interval = "" if pd.isna(low) else f" [{low:.3f}, {high:.3f}]"
    seeds = int(row[f"{metric}_n"])
    return f"{mean:.3f}{interval} over {seeds} seed{'s' * (seeds != 1)}"


def _made(row: pd.Series[Any]) -> str:
    """How long the row was trained, and on which data."""
    data = f"on {row['provenance']} images ({row['dataset']})"
    if row["source"] != TRAINED:
        return f"it was not trained here, and is scored {data}"
    if _is_fitted(row["model"]):
        return f"it is fitted at once, without steps, {data}"
    steps = int(row["steps"])
    standard = "the standard number" if steps == STANDARD_STEPS else f"the standard is {STANDARD_STEPS:,}"
    return f"it trained for {steps:,} step{'s' * (steps != 1)} ({standard}) {data}"


def _is_fitted(model: str) -> bool:
    """Whether the model is one of this package's that take no steps."""
    return model in registry.MODELS and hasattr(registry.resolve("model", model), "fit")


def _price(rows: pd.DataFrame, top: pd.Series[Any]) -> list[str]:
    """What the row pays in reconstruction, against the best of its likelihood; nothing where it has none.

    Nats are those above the floor, what a perfect picture costs, for a likelihood that has one.
    """
    if pd.isna(top["reconstruction_nats_mean"]):
        return []
    floor = not pd.isna(top["excess_nats_mean"])
    nats, above = ("excess_nats", " above the floor") if floor else ("reconstruction_nats", "")
    own = top[f"{nats}_mean"]
    alike = rows["reconstruction_likelihood"] == top["reconstruction_likelihood"]
    same = rows[alike & (rows["reconstruction_nats_n"] >= FEWEST)]
    if len(same) < 2:
        return [f"its reconstruction costs {own:.1f} nats{above}"]
    if top["best_reconstruction_nats"]:
        return [f"no row reconstructs significantly better ({own:.1f} nats{above})"]
    cheapest = same.iloc[_best_place(same, "reconstruction_nats", lower=True)]
    least = cheapest[f"{nats}_mean"]
    return [
        f"it reconstructs {own - least:.1f} nats worse than {_label(cheapest)}"
        f" ({own:.1f} against {least:.1f} nats{above})"
    ]


def _distinguished(rows: pd.DataFrame, name: str) -> Marks:
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
