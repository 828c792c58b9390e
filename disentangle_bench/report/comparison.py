"""Which runs can be compared: rows of the leaderboard, groups of rows that measure the same thing, and what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from disentangle_bench.report.foreign import TRAINED
from disentangle_bench.report.measures import Numbers
from disentangle_bench.report.runs_table import of_one_likelihood

LOWER_IS_BETTER = ("reconstruction_nats", "excess_nats", "excess_share", "mse", "kl")
# Numbers of runs that differ in one of these do not measure the same thing: they are ranked apart.
COMPARABLE = ("dataset", "provenance", "data_fingerprint", "scored_on", "revisions")
# Runs that differ in one of these were trained otherwise: they stand in rows of their own, in one ranking.
CONDITIONS = ("steps", "precision", "model_source")
# What only a finished run can say.
OF_SCORES = ("scored_on", "revisions", "reconstruction_likelihood")
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


def group_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with two more columns: `revisions`, of metrics whose revision differs among the runs, and `group`.

    Runs of equal `group` measure the same thing. A failed run has no scores that could say what it measures: it is
    counted with the first runs of its setting, or else of its model, or else on its data.
    """
    grouped = runs.copy()
    grouped["revisions"] = _mixed_revisions(runs)
    # A model's source matters only where there are several.
    sources = runs.groupby("model")["model_source"].transform("nunique")
    grouped["model_source"] = runs["model_source"].where(sources > 1)
    data = ["dataset", "provenance", "data_fingerprint"]
    asked = grouped["reconstruction_likelihood"]
    grouped["reconstruction_likelihood"] = asked.where(grouped["status"] == "DONE")
    _fill_in(grouped, [*data, "model", *runs.attrs["settings"], *CONDITIONS])
    grouped["reconstruction_likelihood"] = grouped["reconstruction_likelihood"].fillna(asked)
    _fill_in(grouped, [*data, "model"])
    _fill_in(grouped, data)
    grouped = grouped.fillna(dict.fromkeys(OF_SCORES, ""))
    first = grouped.groupby("dataset", sort=False, dropna=False).ngroup()
    within = grouped.groupby(list(COMPARABLE), sort=False, dropna=False).ngroup()
    order = pd.DataFrame({"first": first, "within": within}).drop_duplicates()
    order = order.sort_values(["first", "within"])
    grouped["group"] = within.map(dict(zip(order["within"], range(len(order)), strict=True)))
    return grouped


def _fill_in(grouped: pd.DataFrame, same: Sequence[str]) -> None:
    """Give runs that lack what only a finished run can say that of the first run that agrees in the columns `same`."""
    alike = grouped.groupby(list(same), sort=False, dropna=False)
    for name in OF_SCORES:
        grouped[name] = grouped[name].fillna(alike[name].transform("first"))


def row_keys(grouped: pd.DataFrame) -> list[str]:
    """The columns that runs of one row of the leaderboard agree in."""
    settings = grouped.attrs["settings"]
    return [
        "dataset",
        "provenance",
        "model",
        "source",
        *settings,
        *CONDITIONS,
        "data_fingerprint",
        *OF_SCORES,
    ]


def row_of_run(grouped: pd.DataFrame) -> Numbers:
    """For each run of `group_runs` the number of its row in the leaderboard, by first appearance."""
    return grouped.groupby(row_keys(grouped), sort=False, dropna=False).ngroup().to_numpy()


def lower_is_better(runs: pd.DataFrame) -> frozenset[str]:
    """The measures of these runs of which less is better: reconstruction's, and what metrics say of their own."""
    return frozenset((*LOWER_IS_BETTER, *runs.attrs["lower_is_better"]))


def compared_by(measure: str) -> list[str]:
    """The columns that rows must agree in before this measure of them is compared."""
    return ["group", "reconstruction_likelihood"] if of_one_likelihood(measure) else ["group"]


def several_likelihoods(runs: pd.DataFrame) -> bool:
    """Whether the reconstructions of these runs or rows are of several likelihoods; a row without any has none."""
    return bool(runs["reconstruction_likelihood"].replace("", None).nunique() > 1)


def warnings(grouped: pd.DataFrame) -> list[str]:
    """A sentence for everything that runs on one data set differ in, so that no table mixes them silently."""
    found = []
    for dataset, group in grouped.groupby("dataset", sort=False):
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
        if foreign := sorted(set(group["source"]) - {TRAINED}):
            found.append(f"{dataset}: some rows were not trained here ({', '.join(foreign)})")
    return found


def _differing(values: pd.Series) -> str:
    """The values as a list in words; nothing where there are fewer than two."""
    texts = list(dict.fromkeys(str(value) for value in values.dropna() if value != ""))
    return ", ".join(texts) if len(texts) > 1 else ""


def _mixed_revisions(runs: pd.DataFrame) -> pd.Series:
    """`mig 2` for a run whose metrics other runs were scored with at another revision; None where it has none."""
    read = {text: json.loads(text) for text in runs["metric_revisions"].dropna().unique()}
    kept: list[dict[str, int | str]] = [read.get(text, {}) for text in runs["metric_revisions"]]
    seen: dict[str, set[int | str]] = {}
    for revisions in read.values():
        for name, revision in revisions.items():
            seen.setdefault(name, set()).add(revision)
    mixed = [name for name, values in seen.items() if len(values) > 1]
    texts = [", ".join(f"{name} {r[name]}" for name in mixed if name in r) or None for r in kept]
    return pd.Series(texts, index=runs.index, dtype=object)
