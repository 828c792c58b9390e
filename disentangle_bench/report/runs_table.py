"""scores.csv: a tidy table of a study, one row a run, read from the run directories alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from disentangle_bench.rundir import RunRecord, StudyDir

RECONSTRUCTION = ("reconstruction_nats", "mse", "kl", "elbo")
HEAD = ("run", "dataset", "provenance", "model")
TAIL = ("status", "failure", "device", "precision", "training_seconds", "data_fingerprint")


def load_scores(study: str | Path) -> pd.DataFrame:
    """The study's runs as a table, one row a run; what scores.csv holds.

    Columns in this order: run, dataset, provenance, model; hyper-parameters, and any other setting that differs between
    runs; seed, steps; reconstruction_nats, mse, kl, elbo; every score; status (DONE or FAILED), failure, device,
    precision, training_seconds, data_fingerprint. `table.attrs["headlines"]` lists the metrics' headline columns.
    """
    return runs_table(StudyDir(Path(study)).records())


def runs_table(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The same table from run records."""
    kept = list(records)
    scores = [_numbers(record) for record in kept]
    settings = [_settings(record) for record in kept]
    hypers = sorted({name for record in kept for name in record.spec.hypers})
    varied = [name for name in _ordered(settings) if name not in hypers and _varies(settings, name)]
    measured = [name for name in _ordered(scores) if name not in RECONSTRUCTION]
    columns = [*HEAD, *hypers, *varied, "seed", "steps", *RECONSTRUCTION, *measured, *TAIL]
    rows = [_about(r) | s | n for r, s, n in zip(kept, settings, scores, strict=True)]
    table = pd.DataFrame(rows, columns=columns)
    table.attrs["headlines"] = _headlines(kept)
    table.attrs["settings"] = [*hypers, *varied]
    return table.astype({name: float for name in [*hypers, *RECONSTRUCTION, *measured]})


def _about(record: RunRecord) -> dict[str, Any]:
    spec, provenance = record.spec, record.provenance
    return {
        "run": spec.id,
        "dataset": spec.dataset.label,
        "provenance": provenance["data"]["provenance"],
        "model": spec.model,
        "seed": spec.seed,
        "steps": spec.training.steps,
        "status": "DONE" if record.failure is None else "FAILED",
        "failure": record.failure.splitlines()[0] if record.failure else None,
        "device": provenance["device"],
        "precision": provenance["precision"],
        "training_seconds": provenance.get("seconds", {}).get("training"),
        "data_fingerprint": provenance["data"]["fingerprint"][:12],
    }


def _settings(record: RunRecord) -> dict[str, Any]:
    """Everything that was set for the run but data set, seed and steps; tuples as text, so that a CSV can hold them."""
    spec = record.spec
    settings = (
        spec.hypers | spec.options | spec.network.model_dump() | spec.training.model_dump(exclude={"steps"})
    )
    return {name: "-".join(map(str, v)) if isinstance(v, tuple) else v for name, v in settings.items()}


def _numbers(record: RunRecord) -> dict[str, Any]:
    return dict(record.scores.get("scores", {}))


def _headlines(records: list[RunRecord]) -> list[str]:
    """The metrics' headline columns, in the order in which the runs were scored with them."""
    found: dict[str, None] = {}
    for record in records:
        for metric in record.scores.get("metrics", {}).values():
            found |= dict.fromkeys(metric["headlines"])
    return list(found)


def _ordered(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _varies(rows: list[dict[str, Any]], name: str) -> bool:
    """Whether runs that have this setting differ in it (an option that only one model has does not vary by that)."""
    return len({row[name] for row in rows if name in row}) > 1
