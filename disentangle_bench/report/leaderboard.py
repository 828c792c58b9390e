"""leaderboard.csv: one row per data set, model and setting, with intervals over seeds, Pareto marks and ranks."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.report.runs_table import RECONSTRUCTION, SUFFIXES
from disentangle_bench.report.statistics import (
    FEWEST,
    among_the_best,
    among_the_front,
    deviation,
    on_front,
    spreads,
)

Numbers = NDArray[np.integer[Any]]

LOWER_IS_BETTER = ("reconstruction_nats", "excess_nats", "excess_share", "mse", "kl")
# Nats of two likelihoods are of two scales: they are never ranked, marked or drawn together.
OF_ONE_LIKELIHOOD = ("reconstruction_nats", "excess_nats", "excess_share", "elbo")
FEW = 10  # runs a row: with fewer a table says that its intervals lean on the normal distribution
# Numbers of runs that differ in one of these do not measure the same thing: they are ranked apart.
COMPARABLE = ("dataset", "provenance", "data_fingerprint", "scored_on", "revisions")
# Runs that differ in one of these were trained otherwise: they stand in rows of their own, in one ranking.
CONDITIONS = ("steps", "precision", "model_source")
# Shown where runs on one data set differ in them.
APART = (
    "data_fingerprint",
    "precision",
    "model_source",
    "scored_on",
    "revisions",
    "reconstruction_likelihood",
)
WORDS = {
    "provenance": "where the data are from",
    "data_fingerprint": "the data's hash",
    "scored_on": "the images that they were scored on",
    "revisions": "the metrics' revisions or sources",
    "steps": "steps",
    "precision": "precision",
    "model_source": "a model's source, which was edited,",
}
# What a run was computed with changes its scores as much as another seed does, and is no reason for another row.
MACHINE = {"device": "device", "threads": "threads", "torch": "torch version"}


def leaderboard(
    runs: pd.DataFrame, sort: str | None = None, controls: Sequence[Mapping[str, Any]] = ()
) -> pd.DataFrame:
    """The leaderboard of a table of runs (`load_scores`), best first within each data set.

    Columns in this order: dataset, provenance, model; each setting that differs between rows, and what else keeps rows
    apart (data_fingerprint, precision, scored_on, revisions) where it differs within a data set; n_seeds (finished
    runs), n_failed, steps; for reconstruction_nats, excess_nats, excess_share, mse, kl, elbo and each metric headline
    `<name>_mean`, `_std` (ddof 1), `_ci_low`, `_ci_high` (Student's t over seeds, 95 %; empty below 3 seeds),
    `_median` and `_iqm` (interquartile mean) with their own `_ci_low` and `_ci_high`, and `_n`, the runs that have it;
    `best_<name>` for reconstruction_nats and the headlines, true where the seeds tell no other row to be better
    (`statistics.among_the_best`); `pareto_<metric>`, true where they tell no other row to beat this one in
    reconstruction_nats and the metric together (`among_the_front`); rank by the mean of `sort` (by default the first
    metric), ties sharing the better rank. Marks and ranks are among the rows of a data set whose numbers measure the
    same thing (`COMPARABLE`), and reconstruction, ELBO and fronts among those of one likelihood. `controls` (as
    StudyDir.controls gives them) become rows below, whose model reads `control: <name>`, with neither rank nor mark.
    Raises BenchError when `sort` is no such measure.
    """
    return public(all_rows(tell_apart(runs), sort, controls), runs)


def all_rows(
    told: pd.DataFrame, sort: str | None = None, controls: Sequence[Mapping[str, Any]] = ()
) -> pd.DataFrame:
    """The leaderboard of the runs of `tell_apart`, with all that keeps rows apart and what this package needs more.

    These columns are `row` (the number that `row_of_run` gives the row's runs; -1 for a control), `group` (equal for
    rows whose numbers can be compared), `ranking` (equal for rows that are ranked together), `setting` (`beta=4`),
    `control`, `best_<name>` of all measures and `front_<metric>`, the front of the means, which a line is drawn along.
    """
    headlines = list(told.attrs["headlines"])
    measures = [*RECONSTRUCTION, *headlines]
    sort = sort or (headlines[0] if headlines else "reconstruction_nats")
    if sort not in measures:
        raise unknown_name("measure to sort by", sort, measures)
    if told.empty:
        raise BenchError("no run of this study has finished yet; there is nothing to rank")
    keys = _keys(told)
    row = row_of_run(told)
    rows = told.groupby(row, sort=False).first()[keys]
    # `first` skips what is missing, and a setting that a model does not have is missing in all of its runs.
    rows.insert(0, "row", rows.index)
    rows["group"] = told.groupby(row, sort=False)["group"].first()
    rows["setting"] = setting_names(rows, told.attrs["settings"])
    rows["control"] = False
    done = told["status"] == "DONE"
    rows["n_seeds"] = np.bincount(row, weights=done).astype(int)
    rows["n_failed"] = np.bincount(row, weights=~done).astype(int)
    rows = pd.concat([rows, _statistics(told[done], row[done], len(rows), measures)], axis=1)
    lower = lower_is_better(told)
    marks = {f"best_{name}": _best(rows, name, lower) for name in measures}
    for metric in headlines:
        marks |= {
            f"pareto_{metric}": _front(rows, metric, lower),
            f"front_{metric}": _front_of_means(rows, metric, lower),
        }
    rows = pd.concat([rows, pd.DataFrame(marks, index=rows.index)], axis=1)
    among = comparison(sort)
    ranks = rows.groupby(among)[f"{sort}_mean"].rank(method="min", ascending=sort in lower)
    rows["rank"] = ranks.astype("Int64")
    rows["ranking"] = rows.groupby(among).ngroup()
    rows = rows.sort_values([*among, "rank"], kind="stable", ignore_index=True)
    if controls:
        rows = pd.concat([rows, _control_rows(controls, rows, measures)], ignore_index=True)
        rows = rows.sort_values(["group", "control"], kind="stable", ignore_index=True)
    return rows.copy()  # in one piece: what is joined from many parts is slow, and pandas warns of it


def public(rows: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The columns of `all_rows` that the leaderboard of `runs` shows."""
    settings = [name for name in runs.attrs["settings"] if rows[name].nunique(dropna=False) > 1]
    models = rows[~rows["control"]]
    apart = [name for name in APART if (models.groupby("dataset")[name].nunique() > 1).any()]
    measures = [*RECONSTRUCTION, *runs.attrs["headlines"]]
    columns = [
        *("dataset", "provenance", "model", *settings, *apart, "n_seeds", "n_failed", "steps"),
        *(f"{name}_{suffix}" for name in measures for suffix in SUFFIXES),
        *(f"best_{name}" for name in ("reconstruction_nats", *runs.attrs["headlines"])),
        *(f"pareto_{name}" for name in runs.attrs["headlines"]),
        "rank",
    ]
    return rows[columns]


def tell_apart(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with two columns more: `revisions`, of those metrics whose revision differs among the runs, and `group`.

    Runs of equal `group` measure the same thing. A failed run has no scores that could tell: it is counted with the
    first runs of its setting.
    """
    told = runs.copy()
    told["revisions"] = _mixed_revisions(runs)
    # Only a model of which there are several is told apart by its source.
    sources = runs.groupby("model")["model_source"].transform("nunique")
    told["model_source"] = runs["model_source"].where(sources > 1)
    same = ["dataset", "provenance", "model", *runs.attrs["settings"], *CONDITIONS, "data_fingerprint"]
    likelihood = told["reconstruction_likelihood"]
    told["reconstruction_likelihood"] = likelihood.where(told["status"] == "DONE")
    _fill_in(told, same)
    told["reconstruction_likelihood"] = told["reconstruction_likelihood"].fillna(likelihood)
    # A setting without any finished run stands with the first runs on its data.
    _fill_in(told, ["dataset", "provenance", "data_fingerprint"])
    told = told.fillna({"scored_on": "", "revisions": "", "reconstruction_likelihood": ""})
    first = told.groupby("dataset", sort=False, dropna=False).ngroup()
    within = told.groupby(list(COMPARABLE), sort=False, dropna=False).ngroup()
    order = (
        pd.DataFrame({"first": first, "within": within}).drop_duplicates().sort_values(["first", "within"])
    )
    told["group"] = within.map(dict(zip(order["within"], range(len(order)), strict=True)))
    return told


def _fill_in(told: pd.DataFrame, same: Sequence[str]) -> None:
    """Give runs that lack what only a finished run can tell that of the first run that agrees in the columns `same`."""
    alike = told.groupby(list(same), sort=False, dropna=False)
    for name in ("scored_on", "revisions", "reconstruction_likelihood"):
        told[name] = told[name].fillna(alike[name].transform("first"))


def row_of_run(told: pd.DataFrame) -> Numbers:
    """For each run of `tell_apart` the number of its row in the leaderboard, by first appearance."""
    return told.groupby(_keys(told), sort=False, dropna=False).ngroup().to_numpy()


def lower_is_better(runs: pd.DataFrame) -> frozenset[str]:
    """The measures of these runs of which less is better: reconstruction's, and what metrics say of their own."""
    return frozenset((*LOWER_IS_BETTER, *runs.attrs["lower_is_better"]))


def comparison(measure: str) -> list[str]:
    """The columns that rows must agree in for this measure of theirs to be compared."""
    return ["group", "reconstruction_likelihood"] if measure in OF_ONE_LIKELIHOOD else ["group"]


def warnings(told: pd.DataFrame) -> list[str]:
    """A sentence for everything that runs on one data set differ in, so that no table mixes them silently."""
    found = []
    for dataset, group in told.groupby("dataset", sort=False):
        for name, words in WORDS.items():
            if differing := _differing(group[name]):
                apart = "are ranked apart" if name in COMPARABLE else "stand in rows of their own"
                found.append(f"{dataset}: runs differ in {words} ({differing}) and {apart}")
        if differing := _differing(group["reconstruction_likelihood"]):
            found.append(
                f"{dataset}: runs differ in likelihood ({differing}); reconstruction, ELBO and Pareto fronts are"
                " compared within one likelihood only"
            )
        for name, words in MACHINE.items():
            if differing := _differing(group[name]):
                found.append(
                    f"{dataset}: runs differ in {words} ({differing}) and stand together; the same spec and seed give"
                    " other scores there, as far off as another seed does"
                )
    return found


def _differing(values: pd.Series) -> str:
    """The values as a list in words; nothing where there are fewer than two."""
    texts = list(dict.fromkeys(str(value) for value in values.dropna() if value != ""))
    return ", ".join(texts) if len(texts) > 1 else ""


def seeds_in_words(rows: pd.DataFrame) -> str:
    """A sentence where the rows of `all_rows` have few seeds; nothing for enough."""
    counts = rows.loc[~rows["control"].astype(bool) & (rows["n_seeds"] > 0), "n_seeds"]
    if counts.empty or counts.min() >= FEW:
        return ""
    if counts.max() < FEWEST:
        return f"Fewer than {FEWEST} seeds a row: there is no interval, and nothing is marked as best."
    number = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    said = (
        f"Few seeds ({number} a row): the intervals hold for scores that spread like a normal"
        " distribution, and small differences cannot be told from luck."
    )
    if counts.min() < FEWEST:
        said += f" Rows with fewer than {FEWEST} have no interval and no mark."
    return said


def missing_in_words(rows: pd.DataFrame, measures: Sequence[str]) -> str:
    """A sentence where some finished runs lack one of the measures; nothing where none does."""
    models = rows[~rows["control"].astype(bool)]
    short = [name for name in measures if _lacks(models, name).any()]
    if not short:
        return ""
    return f"n=: the mean is over so many of the row's seeds, the others have no value ({', '.join(short)})."


def _lacks(rows: pd.DataFrame, name: str) -> pd.Series:
    return (rows[f"{name}_n"] > 0) & (rows[f"{name}_n"] < rows["n_seeds"])


def setting_names(rows: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """For each row what sets it apart from other rows of its model, as `beta=4, steps=200`; empty for nothing."""
    shown = [n for n in (*settings, *CONDITIONS) if rows[n].nunique(dropna=False) > 1]
    return in_words(rows[shown])


def in_words(settings: pd.DataFrame) -> list[str]:
    """Each row of these columns as `beta=4, steps=200`, without what is missing."""
    return [
        ", ".join(f"{name}={plain(value)}" for name, value in row.items() if not pd.isna(value))
        for row in settings.to_dict("records")
    ]


def plain(value: object) -> str:
    """A cell as text: no trailing zeros, nothing for what is missing."""
    if value is None or value is pd.NA:
        return ""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value)


def _keys(told: pd.DataFrame) -> list[str]:
    return [
        *("dataset", "provenance", "model", *told.attrs["settings"], *CONDITIONS),
        *("data_fingerprint", "scored_on", "revisions", "reconstruction_likelihood"),
    ]


def _mixed_revisions(runs: pd.DataFrame) -> pd.Series:
    """`mig 2` for a run whose metrics other runs were scored with at another revision; None where it has none."""
    read = {text: json.loads(text) for text in runs["metric_revisions"].dropna().unique()}
    kept: list[dict[str, int | str]] = [read.get(text, {}) for text in runs["metric_revisions"]]
    seen: dict[str, set[int | str]] = {}
    for revisions in kept:
        for name, revision in revisions.items():
            seen.setdefault(name, set()).add(revision)
    mixed = [name for name, values in seen.items() if len(values) > 1]
    texts = [", ".join(f"{name} {r[name]}" for name in mixed if name in r) or None for r in kept]
    return pd.Series(texts, index=runs.index, dtype=object)


def _statistics(done: pd.DataFrame, row: Numbers, rows: int, measures: Sequence[str]) -> pd.DataFrame:
    """All columns of SUFFIXES for all measures, a line per row of the leaderboard, computed together."""
    place = pd.Series(row).groupby(row).cumcount().to_numpy()
    deepest = int(place.max(initial=-1)) + 1
    values = np.full((max(deepest, 1), rows, len(measures)), np.nan)
    values[place, row] = done[list(measures)].to_numpy(dtype=float)
    flat = values.reshape(len(values), -1)
    found = spreads(flat)
    columns = {
        "mean": found["mean"].value,
        "std": deviation(flat),
        "ci_low": found["mean"].low,
        "ci_high": found["mean"].high,
    }
    for name in ("median", "iqm"):
        columns[name] = found[name].value
        columns[f"{name}_ci_low"], columns[f"{name}_ci_high"] = found[name].low, found[name].high
    columns["n"] = (~np.isnan(flat)).sum(axis=0)
    shaped = {suffix: numbers.reshape(rows, len(measures)) for suffix, numbers in columns.items()}
    return pd.DataFrame(
        {f"{m}_{suffix}": shaped[suffix][:, i] for i, m in enumerate(measures) for suffix in SUFFIXES}
    )


def _best(rows: pd.DataFrame, name: str, lower: Collection[str]) -> pd.Series:
    """Whether the seeds tell no other row that can be compared to be better."""
    marks = pd.Series(False, index=rows.index)
    for _, part in rows.groupby(comparison(name)):
        mean, std, n = _numbers(part, name)
        marks[part.index] = among_the_best(-mean if name in lower else mean, std, n)
    return marks


def _front(rows: pd.DataFrame, metric: str, lower: Collection[str]) -> pd.Series:
    """Whether the seeds tell no other row of the likelihood to beat it in reconstruction and metric together."""
    marks = pd.Series(False, index=rows.index)
    for _, part in rows.groupby(comparison("reconstruction_nats")):
        mean, std, n = _numbers(part, metric)
        gains = (-mean if metric in lower else mean, std, n)
        marks[part.index] = among_the_front(_numbers(part, "reconstruction_nats"), gains)
    return marks


def _front_of_means(rows: pd.DataFrame, metric: str, lower: Collection[str]) -> pd.Series:
    """Whether no other row of the likelihood has means that beat this one's."""
    marks = pd.Series(False, index=rows.index)
    for _, part in rows.groupby(comparison("reconstruction_nats")):
        costs, gains = (part[f"{name}_mean"].to_numpy(float) for name in ("reconstruction_nats", metric))
        marks[part.index] = on_front(costs, -gains if metric in lower else gains)
    return marks


def _numbers(rows: pd.DataFrame, name: str) -> tuple[Any, Any, Any]:
    """Mean, deviation and number of runs of a measure, each an array [rows]."""
    mean, std = (rows[f"{name}_{suffix}"].to_numpy(float) for suffix in ("mean", "std"))
    return mean, std, rows[f"{name}_n"].to_numpy(int)


def _control_rows(
    controls: Sequence[Mapping[str, Any]], rows: pd.DataFrame, measures: Sequence[str]
) -> pd.DataFrame:
    """A row for each control on each data set, over the same seeds, in the columns of `rows`."""
    found = []
    for entry in controls:
        beside = rows[(rows["dataset"] == entry["dataset"]) & (rows["provenance"] == entry["provenance"])]
        if beside.empty:
            continue
        table = pd.DataFrame(entry["rows"]).reindex(columns=["control", *measures])
        row = table.groupby("control", sort=False).ngroup().to_numpy()
        names = list(dict.fromkeys(table["control"]))
        lines = pd.DataFrame({"model": [f"control: {name}" for name in names]}).assign(
            dataset=entry["dataset"],
            provenance=entry["provenance"],
            group=beside["group"].iloc[0],
            n_seeds=np.bincount(row),
            n_failed=0,
            steps=0,
        )
        numbers = _statistics(table, row, len(names), measures)
        found.append(pd.concat([lines, numbers], axis=1))
    if not found:
        return rows.iloc[:0]
    marks = {column: False for column in rows.columns if column.startswith(("best_", "pareto_", "front_"))}
    table = pd.concat(found, ignore_index=True).assign(**marks, row=-1, setting="", control=True)
    return table.reindex(columns=rows.columns).astype({"rank": "Int64"})
