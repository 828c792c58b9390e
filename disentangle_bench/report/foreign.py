"""Rows of a leaderboard that were not trained here: anybody's representations, with their scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from disentangle_bench.errors import BenchError
from disentangle_bench.records.record import Record
from disentangle_bench.records.schemas import RUN_COLUMNS

TRAINED = "trained here"  # the source of the rows that are no ForeignRow


@dataclass(frozen=True)
class ForeignRow:
    """A representation that was not trained here, and what it scored with one seed.

    It is compared with the runs of the same `data_fingerprint` and `provenance` that were scored on as many images and
    with the same revisions of the metrics. Rows that differ in their seed alone are one row of the leaderboard.

    name: the model column's text.
    source: what was scored, such as "encoder" or "codes file".
    dataset, provenance, data_fingerprint: the data set's label and what provenance.json says of it.
    scores: headlines, details and the measures of reconstruction by name; None for one that could not be had.
    metrics: by metric `headlines`, `revision`, `paper`, and where it has them `lower_is_better` and `source`, as in
        scores.json.
    points, reconstruction_points: how many images the metrics and the reconstruction were measured on; None for a row
        without reconstruction, which stands beside runs with any number there.
    likelihood: what `reconstruction_nats` and `elbo` are nats of.
    bounds: `floor_nats` and `constant_nats`, what they are read against.

    Raises BenchError for a row without a name, a source or a headline's score, and for a score that is not finite or
    has the name of another column.
    """

    name: str
    source: str
    dataset: str
    provenance: str
    data_fingerprint: str
    seed: int
    scores: Mapping[str, float | None]
    metrics: Mapping[str, Mapping[str, Any]]
    points: int | Literal["all"]
    reconstruction_points: int | Literal["all"] | None = None
    likelihood: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or not self.source or self.source == TRAINED:
            raise BenchError(
                f"a row that was not trained here needs a name and a source other than {TRAINED!r}; it has"
                f" {self.name!r} and {self.source!r}"
            )
        for key, value in self.scores.items():
            if key in RUN_COLUMNS:
                raise BenchError(f"{self.name}: the score {key!r} has the name of another column; rename it")
            if value is not None and not math.isfinite(value):
                raise BenchError(
                    f"{self.name}: the score {key!r} is {value}; give a finite number, or None for none"
                )
        for metric, about in self.metrics.items():
            if missing := [name for name in about["headlines"] if name not in self.scores]:
                raise BenchError(f"{self.name}: the metric {metric!r} has no score {missing[0]!r}")


def row_of(record: Record) -> ForeignRow:
    """The row of an evaluation."""
    scoring = record.scoring
    bounds = scoring.get("reconstruction") or {}
    found = {
        "name": record.name,
        "source": record.source["kind"],
        "dataset": record.dataset["label"],
        "provenance": record.dataset["provenance"],
        "data_fingerprint": record.dataset["fingerprint"],
        "seed": record.seed,
        "scores": record.scores,
        "metrics": scoring["metrics"],
        "points": scoring["points"],
        "reconstruction_points": scoring["reconstruction_points"] if bounds else None,
        "likelihood": bounds.get("likelihood"),
        "bounds": bounds,
    }
    return ForeignRow(**found)
