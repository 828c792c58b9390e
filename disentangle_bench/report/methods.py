"""The methods section of a report, from what is on record: the grid as it was run, and each metric's own words."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.scores import TRANSFER, UNSEEN, named_metrics, on, revision_in_words

# What stands among the metrics and is none; docs/generalisation.md has each column.
NO_METRICS = {
    UNSEEN: "Reconstruction, prediction by boosted trees and by a linear map, and the areas under the ROC curves of"
    " squared error and ELBO, of images with combinations of factors that training saw and of such that it never saw.",
    TRANSFER: "Reconstruction, and prediction by boosted trees and by a linear map: trained there, and carried over"
    " from the data set that was trained on.",
}


@dataclass(frozen=True)
class MetricDescription:
    """A metric as the runs were scored with it: its paper is on record, its text and constants are the code's."""

    name: str
    headlines: tuple[str, ...]
    revisions: tuple[str, ...]
    paper: str
    paragraphs: tuple[str, ...]
    constants: str


def describe_metrics(runs: pd.DataFrame) -> list[MetricDescription]:
    """The metrics that these runs were scored with.

    A metric whose code is not installed is described by what is on record.
    """
    revisions: dict[str, dict[str, None]] = {}
    for text in runs["metric_revisions"].dropna().unique():
        for name, revision in json.loads(text).items():
            revisions.setdefault(name, {})[str(revision)] = None
    found = []
    for name, about in runs.attrs["metrics"].items():
        text, constants = _own_words(name, revisions[name])
        found.append(
            MetricDescription(
                name=name,
                headlines=tuple(about["headlines"]),
                revisions=tuple(revisions[name]),
                paper=about["paper"],
                paragraphs=tuple(" ".join(part.split()) for part in text.split("\n\n")),
                constants=constants,
            )
        )
    return found


def describe_grid(grid: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The resolved grid of a study as (what, its value) lines, lists joined by commas."""
    lines = [("data set", _settings(entry)) for entry in grid.get("datasets", [])]
    lines += [("model", _settings(entry)) for entry in grid.get("models", [])]
    seeds = grid.get("seeds", [])
    shown = (
        f"{seeds[0]} to {seeds[-1]}, {len(seeds)} in all" if isinstance(seeds, list) and seeds else str(seeds)
    )
    lines.append(("seeds", shown))
    for table in ("network", "training", "scoring"):
        lines += [(f"{table}, {_words(key)}", _value(value)) for key, value in grid.get(table, {}).items()]
    return lines


def _own_words(name: str, revisions: Mapping[str, None]) -> tuple[str, str]:
    """A metric's docstring and its protocol constants, from the code.

    A metric on a further data set (`scores.on`) has those of the metric itself, and says where it was scored.
    """
    name, _, label = name.partition(on("", ""))
    where = f"Scored on {label}, which was not trained on. " if label else ""
    if name in NO_METRICS:
        return where + NO_METRICS[name], ""
    try:
        registry.check_allowed("metric", name)
        metric = named_metrics([name])[name]
    except BenchError:
        return "Its code was not installed where this report was made.", ""
    text = inspect.getdoc(metric.score) or ""
    revision = revision_in_words(metric.revision, metric.source)
    if str(revision) not in revisions:
        text = f"(This is revision {revision}; the runs were scored with another.) {text}"
    constants = {
        key: parameter.default
        for key, parameter in inspect.signature(metric.score).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return where + text, ", ".join(f"{key} = {value!r}" for key, value in constants.items())


def _settings(entry: Mapping[str, Any]) -> str:
    rest = [f"{_words(key)} {_value(value)}" for key, value in entry.items() if key != "name" and value != {}]
    return ": ".join(filter(None, [str(entry.get("name", "")), "; ".join(rest)]))


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(each)}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_value(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(key: str) -> str:
    return key.replace("_", " ")
