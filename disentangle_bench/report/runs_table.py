"""scores.csv: a tidy table of a study, one row a run, read from the run directories alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from disentangle_bench.rundir import RunRecord, StudyDir

RECONSTRUCTION = ("reconstruction_nats", "mse", "kl", "elbo")
HEAD = ("run", "dataset", "provenance", "model")
TAIL = (
    *("status", "failure", "device", "precision", "training_seconds", "data_fingerprint"),
    *("scored_on", "metric_revisions"),
)


def load_scores(study: str | Path) -> pd.DataFrame:
    """The study's runs as a table, one row a run; what scores.csv holds.

    Columns in this order: run, dataset, provenance, model; hyper-parameters, and any other setting that differs between
    runs; seed, steps; reconstruction_nats, mse, kl, elbo; every score; status (DONE or FAILED), failure, device,
    precision, training_seconds, data_fingerprint, scored_on (the images of metrics and of reconstruction) and
    metric_revisions (JSON). `table.attrs["headlines"]` lists the metrics' headline columns, `table.attrs["settings"]`
    the hyper-parameters and settings. Raises BenchError where there is no study.
    """
    return runs_table(StudyDir(Path(study)).records(curves=False))


def runs_table(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The same table from run records, which are read one by one and not kept.

    Two attributes more tell of the runs as a whole: `attrs["metrics"]` has each metric's paper and headlines by name,
    `attrs["origins"]` what the runs were made with (device, precision, versions, commit), each with its number of runs.
    """
    about, scores, settings = [], [], []
    hypers: set[str] = set()
    metrics: dict[str, Any] = {}
    origins: Counter[tuple[tuple[str, str], ...]] = Counter()
    for record in records:
        about.append(_about(record))
        scores.append(dict(record.scores.get("scores", {})))
        settings.append(_settings(record))
        hypers |= record.spec.hypers.keys()
        for name, metric in record.scores.get("metrics", {}).items():
            metrics.setdefault(name, {"paper": metric["paper"], "headlines": list(metric["headlines"])})
        origins[_origin(record)] += 1
    models = [row["model"] for row in about]
    varied = [name for name in _ordered(settings) if name not in hypers and _varies(settings, models, name)]
    measured = [name for name in _ordered(scores) if name not in RECONSTRUCTION]
    shown = [*sorted(hypers), *varied]
    columns = [*HEAD, *shown, "seed", "steps", *RECONSTRUCTION, *measured, *TAIL]
    rows = [a | s | n for a, s, n in zip(about, settings, scores, strict=True)]
    table = pd.DataFrame(rows, columns=columns)
    table = table.astype({name: float for name in [*hypers, *RECONSTRUCTION, *measured]})
    table.attrs["headlines"] = list(dict.fromkeys(h for m in metrics.values() for h in m["headlines"]))
    table.attrs["settings"] = shown
    table.attrs["metrics"] = metrics
    table.attrs["origins"] = [dict(origin) | {"runs": runs} for origin, runs in origins.items()]
    return table


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
        "scored_on": _scored_on(record),
        "metric_revisions": _revisions(record),
    }


def _scored_on(record: RunRecord) -> str | None:
    """How many images the metrics and the reconstruction were measured on; None for a failed run."""
    kept = record.scores.get("scoring")
    return None if kept is None else f"{kept['points']} / {kept['reconstruction_points']} images"


def _revisions(record: RunRecord) -> str | None:
    """Every metric with its revision, as JSON, since a metric may have any name; None for a failed run."""
    kept = record.scores.get("metrics")
    return None if kept is None else json.dumps({name: about["revision"] for name, about in kept.items()})


def _settings(record: RunRecord) -> dict[str, Any]:
    """Everything that was set for the run but data set, seed, steps and precision; tuples as text, for the CSV."""
    spec = record.spec
    settings = (
        spec.hypers
        | spec.options
        | spec.network.model_dump()
        | spec.training.model_dump(exclude={"steps", "precision"})
    )
    return {name: "-".join(map(str, v)) if isinstance(v, tuple) else v for name, v in settings.items()}


def _origin(record: RunRecord) -> tuple[tuple[str, str], ...]:
    """What the run was made with, but for its data: hardware, precision, versions and commit."""
    provenance = record.provenance
    versions = ", ".join(f"{name} {version}" for name, version in provenance.get("versions", {}).items())
    return (
        ("device", str(provenance["device"])),
        ("precision", str(provenance["precision"])),
        ("versions", versions),
        ("commit", str(provenance.get("git_commit") or "not from a checkout")),
    )


def _ordered(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _varies(rows: list[dict[str, Any]], models: list[str], name: str) -> bool:
    """Whether models that have this setting differ in it, or runs of one of them in whether it was asked for.

    An option that only one model has does not vary by that.
    """
    having = {model for row, model in zip(rows, models, strict=True) if name in row}
    return len({row.get(name) for row, model in zip(rows, models, strict=True) if model in having}) > 1
