"""What a study says beyond its leaderboard: models, improvement, variance and metrics that agree. A table each.

`told` are the runs of `leaderboard.tell_apart`, `rows` those of `leaderboard.all_rows`. In each table `group` numbers
the comparisons: runs of one group measure the same thing, and there is one a data set unless studies were mixed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from disentangle_bench.report.leaderboard import row_of_run
from disentangle_bench.report.runs_table import RECONSTRUCTION
from disentangle_bench.report.statistics import (
    hypervolume,
    improvements,
    rank_correlation,
    variance_shares,
)

CHOICES = ("elbo", "labels")
IDENTITY = ("group", "dataset", "provenance")


def models_table(rows: pd.DataFrame, headlines: Sequence[str]) -> pd.DataFrame:
    """models.csv: a row per data set, metric and model.

    Columns: group, dataset, provenance, metric, model; n_settings, n_seeds (finished runs), n_failed;
    settings_on_front and hypervolume (the share of the box between the data set's worst and best mean of
    reconstruction_nats and metric that the model's settings dominate, 0..1); best_by_elbo, the setting of the highest
    mean ELBO, which needs no labels, and best_by_labels, that of the highest mean of the metric itself, each followed
    by `_mean`, `_ci_low`, `_ci_high` of the metric there and `_n_seeds`.
    """
    found = []
    for metric, group in _groups(rows, headlines):
        worst, best = _corners(group, metric)
        for model, part in group.groupby("model", sort=False):
            line = {name: part[name].iloc[0] for name in IDENTITY} | {"metric": metric, "model": model}
            line |= {
                "n_settings": len(part),
                "n_seeds": int(part["n_seeds"].sum()),
                "n_failed": int(part["n_failed"].sum()),
                "settings_on_front": int(part[f"pareto_{metric}"].sum()),
                "hypervolume": hypervolume(*_points(part, metric), worst, best),
            }
            for choice in CHOICES:
                line |= _chosen_cells(best_row(part, metric, choice), metric, f"best_by_{choice}")
            found.append(line)
    return pd.DataFrame(found)


def best_row(part: pd.DataFrame, metric: str, choice: str) -> pd.Series | None:
    """The row with the highest mean ELBO ("elbo", no labels needed) or mean of `metric` ("labels"); None for no runs.

    The first of equals.
    """
    means = part["elbo_mean" if choice == "elbo" else f"{metric}_mean"]
    return None if means.isna().all() else part.iloc[int(means.argmax())]


def improvement_table(told: pd.DataFrame, rows: pd.DataFrame, headlines: Sequence[str]) -> pd.DataFrame:
    """improvement.csv: how probable it is that a run of one model scores above a run of another, each at its best.

    Columns: group, dataset, provenance, metric, chosen_by (elbo: each model's setting was chosen without labels;
    labels: by this very metric, which flatters both), model_a, setting_a, model_b, setting_b, n_a, n_failed_a, n_b,
    n_failed_b, probability, ci_low, ci_high (`statistics.improvements`).
    """
    done = (told["status"] == "DONE").to_numpy()
    row = row_of_run(told)
    lines, samples = [], []
    for metric, group in _groups(rows, headlines):
        scores = told[metric].to_numpy(float)
        for choice in CHOICES:
            parts = [best_row(part, metric, choice) for _, part in group.groupby("model", sort=False)]
            for a, b in itertools.combinations([part for part in parts if part is not None], 2):
                pair = scores[done & (row == a["row"])], scores[done & (row == b["row"])]
                lines.append(_pair(a, b, *pair) | {"metric": metric, "chosen_by": choice})
                samples.append(pair)
    sides = ("model_a", "setting_a", "model_b", "setting_b", "n_a", "n_failed_a", "n_b", "n_failed_b")
    columns = [*IDENTITY, "metric", "chosen_by", *sides]
    table = pd.DataFrame(lines, columns=columns)
    return table.assign(
        **dict(zip(("probability", "ci_low", "ci_high"), improvements(samples).T, strict=True))
    )


def variance_table(told: pd.DataFrame, headlines: Sequence[str]) -> pd.DataFrame:
    """variance.csv: how much of each score's variance over finished runs the model, its setting and the seed make.

    Columns: group, dataset, provenance, measure, objective, hyperparameter, seed (they add up to 1), n_models,
    n_settings, n_runs, n_failed (`statistics.variance_shares`). A measure that does not vary has no row.
    """
    row = row_of_run(told)
    found = []
    for _, group in told.groupby("group", sort=True):
        here = row[group.index]
        done = (group["status"] == "DONE").to_numpy()
        for measure in (*RECONSTRUCTION, *headlines):
            part = group[done]
            shares = variance_shares(list(part[measure].astype(float)), list(part["model"]), list(here[done]))
            if shares is None:
                continue
            has = part[measure].notna().to_numpy()
            found.append(
                {name: group[name].iloc[0] for name in IDENTITY}
                | {"measure": measure, "objective": shares.objective}
                | {"hyperparameter": shares.hyperparameter, "seed": shares.seed}
                | {"n_models": part["model"][has].nunique(), "n_settings": len(set(here[done][has]))}
                | {"n_runs": shares.runs, "n_failed": int((~done).sum())}
            )
    return pd.DataFrame(found)


def correlation_table(told: pd.DataFrame, headlines: Sequence[str]) -> pd.DataFrame:
    """metric_correlation.csv: Spearman's rank correlation of every two measures over a data set's finished runs.

    Columns: group, dataset, provenance, measure_a, measure_b, spearman, n_runs, n_failed. Measures are the metrics'
    headlines, reconstruction_nats and elbo; each pair stands in both orders, so that the table pivots to a square.
    """
    measures = ["reconstruction_nats", "elbo", *headlines]
    found = []
    for _, group in told.groupby("group", sort=True):
        done = group["status"] == "DONE"
        values = group.loc[done, measures].to_numpy(float)
        has = ~np.isnan(values)
        pairs = pd.DataFrame(itertools.product(measures, repeat=2), columns=["measure_a", "measure_b"])
        about = {name: group[name].iloc[0] for name in IDENTITY}
        numbers = {"spearman": rank_correlation(values).ravel(), "n_runs": (has.T.astype(int) @ has).ravel()}
        found.append(pairs.assign(**about, **numbers, n_failed=int((~done).sum())))
    columns = [*IDENTITY, "measure_a", "measure_b", "spearman", "n_runs", "n_failed"]
    return pd.concat(found, ignore_index=True)[columns]


def _groups(rows: pd.DataFrame, headlines: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each metric with the rows that can be compared in it, by data set."""
    models = rows[~rows["control"].astype(bool)]
    about = [
        *IDENTITY,
        "row",
        "model",
        "setting",
        "n_seeds",
        "n_failed",
        "reconstruction_nats_mean",
        "elbo_mean",
    ]
    for _, group in models.groupby("group", sort=True):
        for metric in headlines:
            own = [f"{metric}_{suffix}" for suffix in ("mean", "ci_low", "ci_high")]
            yield metric, group[[*about, *own, f"pareto_{metric}"]]


def _points(rows: pd.DataFrame, metric: str) -> tuple[Any, Any]:
    return rows["reconstruction_nats_mean"].to_numpy(float), rows[f"{metric}_mean"].to_numpy(float)


def _corners(rows: pd.DataFrame, metric: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """The worst and the best (reconstruction, metric) among the rows' means."""
    has = rows[rows["reconstruction_nats_mean"].notna() & rows[f"{metric}_mean"].notna()]
    if has.empty:
        return (np.nan, np.nan), (np.nan, np.nan)
    costs, gains = _points(has, metric)
    return (costs.max(), gains.min()), (costs.min(), gains.max())


def _chosen_cells(row: pd.Series | None, metric: str, prefix: str) -> dict[str, Any]:
    if row is None:
        return {prefix: None} | {f"{prefix}_{s}": None for s in ("mean", "ci_low", "ci_high", "n_seeds")}
    numbers = {f"{prefix}_{s}": row[f"{metric}_{s}"] for s in ("mean", "ci_low", "ci_high")}
    return {prefix: row["setting"] or "(only one)"} | numbers | {f"{prefix}_n_seeds": row["n_seeds"]}


def _pair(a: pd.Series, b: pd.Series, first: Any, second: Any) -> dict[str, Any]:
    return {name: a[name] for name in IDENTITY} | {
        "model_a": a["model"],
        "setting_a": a["setting"],
        "model_b": b["model"],
        "setting_b": b["setting"],
        "n_a": int((~np.isnan(first)).sum()),
        "n_failed_a": int(a["n_failed"]),
        "n_b": int((~np.isnan(second)).sum()),
        "n_failed_b": int(b["n_failed"]),
    }
