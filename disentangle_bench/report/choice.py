"""choice.csv: what it costs to choose among all of a study's settings without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from disentangle_bench.report.derived import DerivedTable
from disentangle_bench.report.summaries import CHOOSERS, IDENTITY

if TYPE_CHECKING:
    from disentangle_bench.report.tables import Tables


def choice_table(tables: Tables) -> pd.DataFrame:
    """choice.csv: a row per data set, metric and way of choosing one setting of all that have this metric.

    Columns: group, dataset, provenance, metric; chosen_by: elbo or udr, the highest mean over seeds, or random, any
    setting with the same chance; model and setting that are chosen so; mean, the metric's mean there (for random the
    mean over settings); best, the best mean of any setting; regret, how much worse the chosen mean is, at least 0. The
    best of many means is partly luck, so that a regret is somewhat too large. n_settings is how many there were to
    choose from. ELBOs of several likelihoods choose nothing.
    """
    models = tables.rows[~tables.rows["control"].astype(bool)]
    found: list[dict[str, Any]] = []
    for _, group in models.groupby("group", sort=True):
        for metric in tables.headlines:
            rows = group[group[f"{metric}_mean"].notna()]
            if len(rows) >= 2:
                about = {name: rows[name].iloc[0] for name in IDENTITY} | {"metric": metric}
                found += [about | line for line in _choices(rows, metric, metric in tables.lower_is_better)]
    columns = ["chosen_by", "model", "setting", "mean", "best", "regret", "n_settings"]
    return pd.DataFrame(found, columns=[*IDENTITY, "metric", *columns])


def _choices(rows: pd.DataFrame, metric: str, lower: bool) -> list[dict[str, Any]]:
    """What each way chooses of these rows."""
    means = rows[f"{metric}_mean"].to_numpy(float)
    best = float(means.min() if lower else means.max())
    found = []
    for name, column in CHOOSERS.items():
        comparable = name != "elbo" or rows["reconstruction_likelihood"].nunique() == 1
        by = rows[column].to_numpy(float) if column in rows and comparable else np.full(len(rows), np.nan)
        if not np.isnan(by).all():
            chosen = rows.iloc[int(np.nanargmax(by))]
            found.append({"chosen_by": name, "model": chosen["model"], "setting": chosen["setting"]})
            found[-1]["mean"] = float(chosen[f"{metric}_mean"])
    found.append({"chosen_by": "random", "model": "", "setting": "", "mean": float(means.mean())})
    return [
        line | {"best": best, "regret": abs(best - line["mean"]), "n_settings": len(rows)} for line in found
    ]


CHOICE = DerivedTable(
    "choice",
    choice_table,
    heading="Choosing without labels",
    text="One setting of all chosen by its mean ELBO, or by how well its seeds agree (UDR), and how much of each"
    " metric's best mean that loses. A choice is worth something where it loses less than a setting at random.",
)
