"""What a study says beyond its leaderboard: models, improvement, variance and metrics that agree. A table each.

In each table `group` numbers the comparisons: runs of one group measure the same thing, and there is one a data set
unless studies were mixed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from disentangle_bench.report.comparison import of_one_likelihood, several_likelihoods
from disentangle_bench.report.derived import DerivedTable
from disentangle_bench.report.foreign import TRAINED
from disentangle_bench.report.rank_statistics import improvements, rank_correlation
from disentangle_bench.report.runs_table import RECONSTRUCTION
from disentangle_bench.report.statistics import holm, hypervolume, variance_shares

if TYPE_CHECKING:
    from disentangle_bench.report.tables import Tables

CHOICES = ("elbo", "labels")  # of improvement.csv
CHOOSERS = {"elbo": "elbo_mean", "udr": "udr_mean"}  # need no labels: a setting of the highest mean is chosen
CHOSEN = ("_mean", "_ci_low", "_ci_high", "_n_seeds")
IDENTITY = ("group", "dataset", "provenance")
# Rows of one model whose nats are of one likelihood.
MODEL = ["model", "reconstruction_likelihood"]


def models_table(tables: Tables) -> pd.DataFrame:
    """models.csv: a row per data set, metric, model and likelihood.

    Columns: group, dataset, provenance, metric, model, reconstruction_likelihood; n_settings, n_seeds (finished runs),
    n_failed; settings_on_front and hypervolume (the share of the box between the best constant image and a perfect
    picture, and between the metric's worst and perfect score, that the model's settings dominate, 0..1; empty for a
    likelihood without a least cost and a metric that leaves 0..1); best_by_elbo and best_by_udr, the settings of the
    highest mean ELBO and UDR, which need no labels, and best_by_labels, that of the best mean of the metric itself,
    each followed by `_mean`, `_ci_low`, `_ci_high` of the metric there and `_n_seeds`, the runs that have it. The best
    of several by labels has no interval: being chosen for its mean, it has none that would hold.
    """
    lower = tables.lower_is_better
    found = []
    for metric, group in _groups(tables):
        for (model, likelihood), part in group.groupby(MODEL, sort=False):
            line = {name: part[name].iloc[0] for name in IDENTITY} | {"metric": metric, "model": model}
            line |= {
                "reconstruction_likelihood": likelihood,
                "n_settings": len(part),
                "n_seeds": int(part["n_seeds"].sum()),
                "n_failed": int(part["n_failed"].sum()),
                "settings_on_front": int(part[f"pareto_{metric}"].sum()),
                "hypervolume": _hypervolume(part, metric, metric in lower),
            }
            for choice in (*CHOOSERS, "labels"):
                chosen = best_row(part, metric, choice, metric in lower)
                if choice == "labels" and _lucky(part, metric) and chosen is not None:
                    chosen = chosen.copy()
                    chosen[[f"{metric}_ci_low", f"{metric}_ci_high"]] = np.nan
                line |= _chosen_cells(chosen, metric, f"best_by_{choice}")
            found.append(line)
    chosen_columns = [f"best_by_{choice}{part}" for choice in (*CHOOSERS, "labels") for part in ("", *CHOSEN)]
    counts = ("n_settings", "n_seeds", "n_failed", "settings_on_front", "hypervolume")
    columns = [*IDENTITY, "metric", *MODEL, *counts, *chosen_columns]
    return pd.DataFrame(found, columns=columns)


def best_row(part: pd.DataFrame, metric: str, choice: str, lower: bool = False) -> pd.Series | None:
    """The row of the highest mean ELBO or UDR ("elbo", "udr") or best mean of `metric` ("labels"); None for none.

    `lower` says that a low metric is good. The first of equals.
    """
    means = part[CHOOSERS.get(choice, f"{metric}_mean")]
    if means.isna().all():
        return None
    return part.iloc[int(means.argmin() if choice == "labels" and lower else means.argmax())]


def _lucky(part: pd.DataFrame, metric: str) -> bool:
    """Whether the best mean of the metric is the best of several, and so partly luck."""
    return int(part[f"{metric}_mean"].notna().sum()) > 1


def improvement_table(tables: Tables) -> pd.DataFrame:
    """improvement.csv: how probable it is that a run of one model is better than a run of another, each at its best.

    Columns: group, dataset, provenance, metric, chosen_by (elbo: each model's setting was chosen without labels;
    labels: by this very metric, which flatters both), model_a, setting_a, model_b, setting_b, n_a, n_failed_a, n_b,
    n_failed_b, probability, ci_low, ci_high, p_value (`rank_statistics.improvements`) and p_holm, corrected for all
    pairs of the data set, metric and way of choosing. Where a side is the best of several settings by labels, only the
    probability is given: no interval and no test of runs that were chosen for their scores would hold.
    """
    runs, row, lower = tables.grouped_runs, tables.row_of_run, tables.lower_is_better
    done = (runs["status"] == "DONE").to_numpy()
    lines, samples, valid = [], [], []
    for metric, group in _groups(tables):
        scores = runs[metric].to_numpy(float) * (-1.0 if metric in lower else 1.0)
        for choice in CHOICES:
            models = [part for _, part in group.groupby(MODEL, sort=False)]
            found = [
                (best_row(part, metric, choice, metric in lower), _lucky(part, metric)) for part in models
            ]
            chosen = [(best, lucky) for best, lucky in found if best is not None]
            for (a, lucky_a), (b, lucky_b) in itertools.combinations(chosen, 2):
                if of_one_likelihood(metric) and a[MODEL[1]] != b[MODEL[1]]:
                    continue
                pair = scores[done & (row == a["row"])], scores[done & (row == b["row"])]
                lines.append(_pair(a, b, *pair) | {"metric": metric, "chosen_by": choice})
                samples.append(pair)
                valid.append(choice == "elbo" or not (lucky_a or lucky_b))
    sides = ("model_a", "setting_a", "model_b", "setting_b", "n_a", "n_failed_a", "n_b", "n_failed_b")
    columns = [*IDENTITY, "metric", "chosen_by", *sides]
    table = pd.DataFrame(lines, columns=columns)
    numbers = improvements(samples)
    numbers[~np.array(valid, dtype=bool), 1:] = np.nan
    for name, values in zip(("probability", "ci_low", "ci_high", "p_value"), numbers.T, strict=True):
        table[name] = values
    family = table.groupby(["group", "metric", "chosen_by"], sort=False)["p_value"]
    return table.assign(p_holm=family.transform(lambda part: holm(part.to_numpy(float))).astype(float))


def variance_table(tables: Tables) -> pd.DataFrame:
    """variance.csv: how much of each score's variance the model, its setting and the seed make.

    Columns: group, dataset, provenance, measure, objective, hyperparameter, seed (they add up to 1), n_models,
    n_settings, n_runs, n_failed (`statistics.variance_shares`). It is about the finished runs that were trained here. A
    measure has no row where it does not vary, where no setting has two runs, and where its nats are of several
    likelihoods.
    """
    runs = tables.grouped_runs
    found = []
    for _, group in runs[runs["source"] == TRAINED].groupby("group", sort=True):
        here = tables.row_of_run[group.index]
        done = (group["status"] == "DONE").to_numpy()
        for measure in (*RECONSTRUCTION, *tables.headlines):
            part = group[done]
            if _mixes(part, measure):
                continue
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
    counts = ("n_models", "n_settings", "n_runs", "n_failed")
    columns = [*IDENTITY, "measure", "objective", "hyperparameter", "seed", *counts]
    return pd.DataFrame(found, columns=columns)


def correlation_table(tables: Tables) -> pd.DataFrame:
    """metric_correlation.csv: Spearman's rank correlation of every two measures over a data set's finished runs.

    Columns: group, dataset, provenance, measure_a, measure_b, spearman, n_runs, n_failed. Measures are the metrics'
    headlines, reconstruction_nats and elbo; each pair stands in both orders, so that the table pivots to a square.
    Runs are ranked from worst to best: a measure of which less is better is turned round. Nats of several likelihoods
    have no correlation.
    """
    measures = ["reconstruction_nats", "elbo", *tables.headlines]
    signs = [-1.0 if name in tables.lower_is_better else 1.0 for name in measures]
    found = []
    for _, group in tables.grouped_runs.groupby("group", sort=True):
        done = group["status"] == "DONE"
        values = group.loc[done, measures].to_numpy(float) * signs
        values[:, [_mixes(group[done], name) for name in measures]] = np.nan
        has = ~np.isnan(values)
        pairs = pd.DataFrame(itertools.product(measures, repeat=2), columns=["measure_a", "measure_b"])
        about = {name: group[name].iloc[0] for name in IDENTITY}
        numbers = {"spearman": rank_correlation(values).ravel(), "n_runs": (has.T.astype(int) @ has).ravel()}
        found.append(pairs.assign(**about, **numbers, n_failed=int((~done).sum())))
    columns = [*IDENTITY, "measure_a", "measure_b", "spearman", "n_runs", "n_failed"]
    return pd.concat(found, ignore_index=True)[columns]


def _mixes(runs: pd.DataFrame, measure: str) -> bool:
    """Whether the measure of these runs of one group is of several likelihoods."""
    return of_one_likelihood(measure) and several_likelihoods(runs)


def _groups(tables: Tables) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each metric with the rows that can be compared in it, by data set."""
    models = tables.rows[~tables.rows["control"].astype(bool)]
    about = [*IDENTITY, *MODEL, "row", "setting", "n_seeds", "n_failed", "excess_share_mean"]
    about += [*CHOOSERS.values()]
    models = models.reindex(columns=[*models.columns, *(name for name in about if name not in models)])
    for _, group in models.groupby("group", sort=True):
        for metric in tables.headlines:
            own = [f"{metric}_{suffix}" for suffix in ("mean", "ci_low", "ci_high", "n")]
            yield metric, group[[*about, *own, f"pareto_{metric}"]]


def _hypervolume(rows: pd.DataFrame, metric: str, lower: bool) -> float:
    """The share of the box from the best constant image and the metric's worst score to a perfect picture and score."""
    gains = rows[f"{metric}_mean"].to_numpy(float)
    if ((gains < 0) | (gains > 1)).any():
        return float("nan")  # nobody has said what its perfect score is
    return hypervolume(
        rows["excess_share_mean"].to_numpy(float), 1 - gains if lower else gains, (1, 0), (0, 1)
    )


def _chosen_cells(row: pd.Series | None, metric: str, prefix: str) -> dict[str, Any]:
    if row is None:
        return {prefix: None} | {f"{prefix}{s}": None for s in CHOSEN}
    numbers = {f"{prefix}_{s}": row[f"{metric}_{s}"] for s in ("mean", "ci_low", "ci_high")}
    return {prefix: row["setting"] or "(only one)"} | numbers | {f"{prefix}_n_seeds": row[f"{metric}_n"]}


def _pair(a: pd.Series, b: pd.Series, first: Any, second: Any) -> dict[str, Any]:
    pair = {name: a[name] for name in IDENTITY}
    for side, row, scores in (("a", a, first), ("b", b, second)):
        pair |= {f"model_{side}": row["model"], f"setting_{side}": row["setting"]}
        pair |= {f"n_{side}": int((~np.isnan(scores)).sum()), f"n_failed_{side}": int(row["n_failed"])}
    return pair


MODELS = DerivedTable("models", models_table)
IMPROVEMENT = DerivedTable("improvement", improvement_table)
VARIANCE = DerivedTable("variance", variance_table)
CORRELATION = DerivedTable("metric_correlation", correlation_table)
