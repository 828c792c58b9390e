"""Trained models evaluated: encoded, scored with metrics, and measured by how well they reconstruct."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.encode import encode_dataset, encode_stack
from disentangle_bench.evaluation.generalisation import unseen_report
from disentangle_bench.evaluation.pool import score_many, score_one
from disentangle_bench.evaluation.reconstruction import measure_reconstruction, reconstruction_bounds
from disentangle_bench.evaluation.scores import UNSEEN, add_part, on, refuse_keys
from disentangle_bench.evaluation.tables import Truth
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.evaluation.transfer import transfer_parts
from disentangle_bench.evaluation.without_factors import scored_and_left_out
from disentangle_bench.metrics.metric import Factors
from disentangle_bench.progress import Phases
from disentangle_bench.specs import RunSpec, ScoringSpec


@dataclass(frozen=True)
class Scoring:
    """What is asked of an evaluation: metrics by name, the images, and the seconds that a metric may take for a run.

    `UNSEEN` among the metrics stands for the scores of seen and unseen combinations, and `on(name, label)` for a metric
    or `TRANSFER` on the further data set of this label, which `others` loads.
    """

    metrics: tuple[str, ...]
    images: ScoringSpec
    metric_seconds: float | None = None
    others: Mapping[str, Callable[[], FactorDataset]] = field(default_factory=dict)

    @property
    def of_codes(self) -> tuple[str, ...]:
        """The metrics proper on the data set itself, which need codes and factors alone."""
        endings = tuple(on("", label) for label in self.others)
        return tuple(name for name in self.metrics if name != UNSEEN and not name.endswith(endings))

    def on(self, dataset: FactorDataset) -> tuple[tuple[str, ...], dict[str, list[str]]]:
        """(the metrics that can be scored on this data set, what a report says of the others); without factors few."""
        kept, left_out = scored_and_left_out(self.of_codes, dataset)
        return kept, {"left_out": list(left_out)} if left_out else {}


@dataclass(frozen=True)
class Scored:
    """What scores.json holds, and the seconds that were spent on it."""

    scores: dict[str, Any]
    seconds: dict[str, float]


@dataclass(frozen=True)
class StackTables:
    """Codes [models, points, latents] and factors [points, factors], and the seconds that a model took."""

    codes: NDArray[np.float32]
    factors: Factors | Truth
    seconds: float


def number_scored(dataset: FactorDataset, points: int | str) -> int:
    """How many images metrics see."""
    images = len(dataset) if dataset.labelled is None else len(dataset.labelled)
    return images if points == "all" else min(int(points), images)


def score_model(model: TrainedModel, scoring: Scoring, dataset: FactorDataset, phases: Phases) -> Scored:
    """The numbers of one model, how they were obtained, and the metrics that raised, with their errors."""
    points, seed = scoring.images.points, model.spec.seed
    started = time.perf_counter()
    phases.phase("encoding", number_scored(dataset, points))
    codes, factors = encode_dataset(model.encode, dataset, points, seed, phases.advance)
    measures, bounds = _reconstruction(model, scoring, dataset)
    encoded = time.perf_counter()
    metrics, left_out = scoring.on(dataset)
    phases.phase("scoring", len(metrics))
    report = score_one(codes, factors, metrics, seed, scoring.metric_seconds, lambda: phases.advance(1))
    report |= left_out
    _add_beyond(report, model, scoring, dataset)
    seconds = {"encoding": encoded - started, "scoring": time.perf_counter() - encoded}
    return Scored(_scores(model.spec, measures, report | {"reconstruction": bounds}, scoring), seconds)


def score_models(
    models: Sequence[TrainedModel], scoring: Scoring, dataset: FactorDataset, phases: Phases
) -> Iterator[tuple[Callable[[], Scored], str | None]]:
    """For each of these models of one program, in order, what scores it; and why they were not encoded together.

    Many are encoded together where the whole data set is asked for. One by one needs less memory, and says which model
    it is that cannot be encoded.
    """
    reason = None
    tables = None
    if len(models) > 1 and scoring.images.points == "all":
        started = time.perf_counter()
        phases.phase("encoding", number_scored(dataset, "all"))
        try:
            codes, factors = encode_stack(models, dataset, phases.advance)
            tables = StackTables(codes, factors, (time.perf_counter() - started) / len(models))
        except BenchError:
            raise
        except (Exception, SystemExit) as error:
            reason = f"one by one: {type(error).__name__}: {error}"
    if tables is not None:
        yield from ((score, None) for score in _score_tables(models, tables, scoring, dataset, phases))
        return
    for model in models:
        yield partial(score_model, model, scoring, dataset, phases), reason


def _score_tables(
    models: Sequence[TrainedModel],
    tables: StackTables,
    scoring: Scoring,
    dataset: FactorDataset,
    phases: Phases,
) -> Iterator[Callable[[], Scored]]:
    """What scores each model, the tables of all being scored side by side."""
    phases.phase("scoring", len(models))
    started = time.perf_counter()
    seeds = [model.spec.seed for model in models]
    metrics, left_out = scoring.on(dataset)
    reports = score_many(tables.codes, tables.factors, seeds, metrics, scoring.metric_seconds)
    for model, report in zip(models, reports, strict=True):
        phases.advance(1)
        seconds = {"encoding": tables.seconds, "scoring": (time.perf_counter() - started) / len(models)}

        def score(
            model: TrainedModel = model, report: dict[str, Any] = report, seconds: dict[str, float] = seconds
        ) -> Scored:
            measures, bounds = _reconstruction(model, scoring, dataset)
            _add_beyond(report, model, scoring, dataset)
            whole = report | left_out | {"reconstruction": bounds}
            return Scored(_scores(model.spec, measures, whole, scoring), seconds)

        yield score


def _add_beyond(
    report: dict[str, Any], model: TrainedModel, scoring: Scoring, dataset: FactorDataset
) -> None:
    """Add the scores of unseen combinations and of further data sets to the report, where they are asked for."""
    if UNSEEN in scoring.metrics:
        add_part(report, unseen_report(model, dataset, scoring.images.reconstruction_points))
    for part in transfer_parts(model, dataset, scoring):
        add_part(report, part)


def _reconstruction(
    model: TrainedModel, scoring: Scoring, dataset: FactorDataset
) -> tuple[dict[str, float], dict[str, Any]]:
    """The measures of a model's reconstruction, and what they are read against."""
    points = scoring.images.reconstruction_points
    likelihood = getattr(model.objective, "likelihood", None)
    bounds = reconstruction_bounds(likelihood, model.spec.seed, dataset, points)
    return measure_reconstruction(model, dataset, points), bounds


def _scores(
    spec: RunSpec, measures: dict[str, float], report: dict[str, Any], scoring: Scoring
) -> dict[str, Any]:
    """What is kept of the report; a metric that gives a score of another column's name has failed."""
    settings = dict.fromkeys([*spec.hypers, *spec.options], "a setting of the run")
    refuse_keys(report, settings | dict.fromkeys(measures, "a measure of the run"))
    return report | {"scores": measures | report["scores"], "scoring": scoring.images.model_dump()}
