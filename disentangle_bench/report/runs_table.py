"""scores.csv: a tidy table of a study, one row a run, read from the run directories alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from disentangle_bench.evaluate.scores import COLUMNS, revision_in_words
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.registry import MODELS

RECONSTRUCTION = ("reconstruction_nats", "excess_nats", "excess_share", "mse", "kl", "elbo")
# The numbers that a leaderboard has of each measure.
SUFFIXES = (
    *("mean", "std", "ci_low", "ci_high", "median", "median_ci_low", "median_ci_high"),
    *("iqm", "iqm_ci_low", "iqm_ci_high", "n"),
)
PHASES = ("training", "encoding", "scoring")
HEAD = ("run", "dataset", "provenance", "model")
TAIL = (
    *("status", "failure", "device", "threads", "torch", "precision", "data_fingerprint"),
    *("scored_on", "reconstruction_likelihood", "metric_revisions", "model_source"),
)


def load_scores(study: str | Path) -> pd.DataFrame:
    """The study's runs as a table, one row a run; what scores.csv holds.

    Columns in this order: run, dataset, provenance, model; hyper-parameters, and any other setting that differs between
    runs; seed, steps; reconstruction_nats, excess_nats, excess_share, mse, kl, elbo; every score; status (DONE or
    FAILED), failure, device, threads, torch (its version), precision, data_fingerprint, scored_on
    (the images of metrics and of reconstruction), reconstruction_likelihood (what the nats are nats of) and
    metric_revisions (JSON) and model_source (a hash, of a model that is not this package's).
    A run counts once, however many copies there are. `table.attrs["headlines"]` lists the
    metrics' headline columns, `table.attrs["settings"]` the hyper-parameters and settings. Raises BenchError where
    there is no study.
    """
    return runs_table(StudyDir(Path(study)).records(curves=False))


def runs_table(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The same table from run records, which are read one by one and not kept.

    More attributes tell of the runs as a whole: `attrs["metrics"]` has each metric's paper and headlines by name,
    `attrs["lower_is_better"]` the metrics' columns of which that is true, `attrs["origins"]` what the runs were made
    with (device, precision, versions, commit), each with its number of runs, `attrs["repeated"]` how many records
    were left out because the run was there already, and `attrs["fewest_points"]` on how many images metrics were
    scored at the least (None where no run is).
    """
    kept, repeated = _each_once(_Row(record) for record in records)
    about = [row.about for row in kept]
    scores = [row.scores for row in kept]
    columns_of = _own_columns(kept)
    settings = [{columns_of[name]: v for name, v in row.own.items()} | row.shared for row in kept]
    texts = {columns_of[name] for row in kept for name in row.own.keys() - set(row.hypers)}
    hypers = {columns_of[name] for row in kept for name in row.hypers}
    metrics: dict[str, Any] = {}
    for row in kept:
        metrics = row.metrics | metrics
    origins = Counter(row.origin for row in kept)
    models = [row["model"] for row in about]
    varied = [name for name in _ordered(settings) if name not in hypers and _varies(settings, models, name)]
    measured = [name for name in _ordered(scores) if name not in RECONSTRUCTION]
    shown = [*sorted(hypers), *varied]
    columns = [*HEAD, *shown, "seed", "steps", *RECONSTRUCTION, *measured, *TAIL]
    rows = [a | s | n for a, s, n in zip(about, settings, scores, strict=True)]
    table = pd.DataFrame(rows, columns=columns)
    table = table.astype({name: float for name in [*(hypers - texts), *RECONSTRUCTION, *measured]})
    table["threads"] = table["threads"].astype("Int64")
    table.attrs["headlines"] = list(dict.fromkeys(h for m in metrics.values() for h in m["headlines"]))
    table.attrs["lower_is_better"] = sorted({key for m in metrics.values() for key in m["lower_is_better"]})
    table.attrs["settings"] = shown
    table.attrs["metrics"] = metrics
    table.attrs["repeated"] = repeated
    table.attrs["fewest_points"] = min((row.points for row in kept if row.points is not None), default=None)
    table.attrs["origins"] = [dict(origin) | {"runs": runs} for origin, runs in origins.items()]
    return table


def seconds_table(records: Iterable[RunRecord], runs: pd.DataFrame) -> pd.DataFrame:
    """What each of the `runs` took, by phase: the one thing in a study that another hour changes.

    Columns run, training_seconds, encoding_seconds, scoring_seconds; empty where that is not known.
    """
    spent: dict[str, Mapping[str, float]] = {}
    for record in records:
        spent.setdefault(record.spec.id, record.provenance.get("seconds", {}))
    rows = [{f"{phase}_seconds": spent[run].get(phase) for phase in PHASES} for run in runs["run"]]
    return pd.DataFrame({"run": runs["run"]}).join(pd.DataFrame(rows, index=runs.index, dtype=float))


class _Row:
    """What the table needs of a record, which may be large and is not kept."""

    def __init__(self, record: RunRecord) -> None:
        data = record.provenance["data"]
        self.run = (
            record.spec.digest,
            data["provenance"],
            data["fingerprint"],
            record.provenance["precision"],
            record.provenance.get("model_source"),
        )
        self.failed = record.failure is not None
        self.about = _about(record)
        self.scores = dict(record.scores.get("scores", {})) | _excess(record)
        self.shared = _plain_values(record.spec.network.model_dump() | _training(record))
        self.own = _plain_values(record.spec.hypers | record.spec.options)
        self.hypers = tuple(record.spec.hypers)
        self.metrics = {
            name: {
                "paper": metric["paper"],
                "headlines": list(metric["headlines"]),
                "lower_is_better": list(metric.get("lower_is_better", ())),
            }
            for name, metric in record.scores.get("metrics", {}).items()
        }
        self.points: int | None = record.scores.get("points")
        self.origin = _origin(record)


def _each_once(rows: Iterable[_Row]) -> tuple[list[_Row], int]:
    """A row for each run, that is for each spec on the same data in the same precision; and how many were left out.

    Of several the first counts, but a finished one before a failed one.
    """
    kept: dict[tuple[str | None, ...], _Row] = {}
    repeated = 0
    for row in rows:
        earlier = kept.setdefault(row.run, row)
        if earlier is not row:
            repeated += 1
            if earlier.failed and not row.failed:
                kept[row.run] = row
    return list(kept.values()), repeated


def _excess(record: RunRecord) -> dict[str, float]:
    """Nats above the least cost that the likelihood allows, and their share of the best constant image's.

    Nothing for a run that was scored before these were kept, and for a likelihood that has no least cost.
    """
    kept = record.scores.get("reconstruction") or {}
    nats, floor, constant = (
        record.scores.get("scores", {}).get("reconstruction_nats"),
        kept.get("floor_nats"),
        kept.get("constant_nats"),
    )
    if nats is None or floor is None:
        return {}
    excess = {"excess_nats": nats - floor}
    if constant is not None and constant > floor:
        excess["excess_share"] = (nats - floor) / (constant - floor)
    return excess


def _likelihood(record: RunRecord) -> str | None:
    """What the run's reconstruction is the likelihood of: nats of two likelihoods cannot be compared.

    A run that failed, or was scored before this was kept, has what its model has unless asked otherwise; None for a
    failed run of a model that is not this package's.
    """
    kept = record.scores.get("reconstruction") or {}
    own = f"{record.spec.model}'s own"
    if "likelihood" in kept:
        return kept["likelihood"] or own
    if "likelihood" in record.spec.options:
        return str(record.spec.options["likelihood"])
    if record.spec.model in MODELS:
        return "gaussian" if record.spec.model in ("pca", "ica") else "bernoulli"
    return own if record.failure is None else None


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
        "threads": provenance.get("threads"),
        "torch": provenance.get("versions", {}).get("torch"),
        "precision": provenance["precision"],
        "data_fingerprint": provenance["data"]["fingerprint"][:12],
        "scored_on": _scored_on(record),
        "reconstruction_likelihood": _likelihood(record),
        "metric_revisions": _revisions(record),
        "model_source": provenance.get("model_source"),
    }


def _scored_on(record: RunRecord) -> str | None:
    """How many images the metrics and the reconstruction were measured on; None for a failed run."""
    kept = record.scores.get("scoring")
    return None if kept is None else f"{kept['points']} / {kept['reconstruction_points']} images"


def _revisions(record: RunRecord) -> str | None:
    """Every metric with its revision as JSON, since a metric may have any name; None for a failed run.

    A metric that is not this package's has the hash of its source beside the revision.
    """
    kept = record.scores.get("metrics")
    return (
        None
        if kept is None
        else json.dumps(
            {name: revision_in_words(about["revision"], about.get("source")) for name, about in kept.items()}
        )
    )


def _training(record: RunRecord) -> dict[str, Any]:
    """What was set for training but steps and precision, which are the table's own columns."""
    return record.spec.training.model_dump(exclude={"steps", "precision"})


def _plain_values(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with tuples as text, for the CSV."""
    return {name: "-".join(map(str, v)) if isinstance(v, tuple) else v for name, v in settings.items()}


def _own_columns(rows: Sequence[_Row]) -> dict[str, str]:
    """The column of each hyper-parameter and option: its own name, or `option_<name>` where that means another thing.

    Such names are those of network and training keys, of every run's columns, of scores, and of what the leaderboard
    makes of scores. A model may call its options as it likes, and none of them hides another column.
    """
    own = {name for row in rows for name in row.own}
    measured = {name for row in rows for name in row.scores} | set(RECONSTRUCTION)
    taken = COLUMNS | measured
    made = re.compile(
        rf"(?:best|pareto|front)_(?:{_any_of(measured)})|(?:{_any_of(measured)})_(?:{_any_of(SUFFIXES)})"
    )
    columns: dict[str, str] = {}
    for name in sorted(own):
        column = name
        while column in taken or made.fullmatch(column) or (column != name and column in own):
            column = f"option_{column}"
        columns[name] = column
    return columns


def _any_of(names: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(names)))


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
