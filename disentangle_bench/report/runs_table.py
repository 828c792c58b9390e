"""scores.csv: one row a run, or a representation that was not trained here."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from disentangle_bench.evaluation.scores import COLUMNS, revision_in_words
from disentangle_bench.evaluation.without_factors import labelled_words, left_out_words
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.report.foreign import TRAINED, ForeignRow
from disentangle_bench.report.measures import KEPT, STATISTICS

RECONSTRUCTION = ("reconstruction_nats", "excess_nats", "excess_share", "mse", "kl", "elbo")
SHOWN_OF_FINGERPRINT = 12  # characters, enough to differ
PHASES = ("training", "encoding", "scoring")
HEAD = ("run", "dataset", "provenance", "model")
TAIL = (
    *("status", "failure", "device", "threads", "torch", "precision", "data_fingerprint"),
    *("scored_on", "reconstruction_likelihood", "metric_revisions", "model_source", "source"),
)


def of_one_likelihood(name: str) -> bool:
    """Whether a column has nats, or what is made of them.

    Nats of two likelihoods are of two scales: they are never ranked, marked or drawn together.
    """
    return name in ("excess_nats", "excess_share", "elbo") or name.startswith("reconstruction_nats")


def runs_table(records: Iterable[RunRecord | ForeignRow]) -> pd.DataFrame:
    """A table of runs and of rows that were not trained here, one row each; the records are read one by one.

    Columns in this order: run, dataset, provenance, model; hyper-parameters, and any other setting that differs between
    runs; seed, steps; reconstruction_nats, excess_nats, excess_share, mse, kl, elbo; every score; status (DONE or
    FAILED), failure, device, threads, torch (its version), precision, data_fingerprint, scored_on (the images of
    metrics and of reconstruction), reconstruction_likelihood (what the nats are nats of), metric_revisions (JSON),
    model_source (a hash, of a model that is not this package's) and source (`TRAINED`, or a ForeignRow's).
    A run counts once, however many copies there are.

    `attrs["headlines"]` lists the metrics' headline columns, `attrs["lower_is_better"]` those of which less is better,
    `attrs["settings"]` the hyper-parameters and settings, `attrs["metrics"]` each metric's paper and headlines by name,
    `attrs["origins"]` what the runs were made with (device, precision, versions, commit), each with its number of runs,
    `attrs["repeated"]` how many records were left out as copies, and `attrs["fewest_points"]` on how many images
    metrics were scored at the least (None where no run is), and `attrs["words"]` sentences on data sets that lack
    factors.
    """
    rows, repeated = _each_once(
        _foreign(record) if isinstance(record, ForeignRow) else _trained(record) for record in records
    )
    about, scores = [row.about for row in rows], [row.scores for row in rows]
    _complete(about)
    columns_of = _own_columns(rows)
    settings = [{columns_of[name]: v for name, v in row.own.items()} | row.shared for row in rows]
    texts = {columns_of[name] for row in rows for name in row.own.keys() - set(row.hypers)}
    hypers = {columns_of[name] for row in rows for name in row.hypers}
    models = [row["model"] for row in about]
    varied = [name for name in _ordered(settings) if name not in hypers and _varies(settings, models, name)]
    shown = [*sorted(hypers), *varied]
    measured = [name for name in _ordered(scores) if name not in RECONSTRUCTION]
    lines = [a | s | n for a, s, n in zip(about, settings, scores, strict=True)]
    columns = [*HEAD, *shown, "seed", "steps", *RECONSTRUCTION, *measured, *TAIL]
    table = pd.DataFrame(lines, columns=columns)
    types = {name: "float" for name in [*(hypers - texts), *RECONSTRUCTION, *measured]}
    table = table.astype(types | {"steps": "Int64", "threads": "Int64"}).copy()  # in one piece
    table.attrs |= _attributes(rows) | {"settings": shown, "repeated": repeated}
    return table


def _attributes(rows: Sequence[_Row]) -> dict[str, Any]:
    """What `runs_table` says of its rows as a whole."""
    metrics: dict[str, Any] = {}
    for row in rows:
        own = {
            name: {"paper": about["paper"], "headlines": list(about["headlines"])}
            | {"lower_is_better": list(about.get("lower_is_better", ()))}
            for name, about in row.metrics.items()
        }
        # The first of the runs' metrics is what is ranked by, whatever others were scored with.
        metrics = own | metrics if row.origin is not None else metrics | own
    origins = Counter(row.origin for row in rows if row.origin is not None)
    return {
        "metrics": metrics,
        "headlines": list(dict.fromkeys(h for m in metrics.values() for h in m["headlines"])),
        "lower_is_better": sorted({key for m in metrics.values() for key in m["lower_is_better"]}),
        "fewest_points": min((row.points for row in rows if row.points is not None), default=None),
        "words": list(dict.fromkeys(text for row in rows for text in row.words)),
        "origins": [dict(origin) | {"runs": runs} for origin, runs in origins.items()],
    }


def seconds_table(spent: Mapping[str, Mapping[str, float]], runs: pd.DataFrame) -> pd.DataFrame:
    """What each of the `runs` took, given the seconds of each phase by run.

    Columns run, training_seconds, encoding_seconds, scoring_seconds; empty where that is not known.
    """
    trained = runs.loc[runs["source"] == TRAINED, ["run"]]
    rows = [{f"{phase}_seconds": spent[run].get(phase) for phase in PHASES} for run in trained["run"]]
    return trained.join(pd.DataFrame(rows, index=trained.index, dtype=float))


@dataclass(frozen=True)
class _Row:
    """What the table needs of a record, which may be large and is not kept.

    Rows of equal `identity` are one run. `about` are the columns that every row has, `shared` the settings of network
    and training, `own` the model's, of which `hypers` names the hyper-parameters.
    """

    identity: tuple[str | int | None, ...]
    about: dict[str, Any]
    scores: dict[str, float | None]
    metrics: Mapping[str, Mapping[str, Any]]
    own: dict[str, Any]
    shared: dict[str, Any] = field(default_factory=dict)
    hypers: tuple[str, ...] = ()
    points: int | None = None
    origin: tuple[tuple[str, str], ...] | None = None
    words: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the run has no scores."""
        return bool(self.about["status"] == "FAILED")


def _trained(record: RunRecord) -> _Row:
    spec, data = record.spec, record.provenance["data"]
    made = record.provenance["precision"], record.provenance.get("model_source")
    return _Row(
        identity=(spec.digest, data["provenance"], data["fingerprint"], *made),
        about=_about(record),
        scores=_with_excess(record.scores.get("scores", {}), record.scores.get("reconstruction") or {}),
        metrics=record.scores.get("metrics", {}),
        own=_plain_values(spec.hypers | spec.options),
        shared=_plain_values(
            spec.network.model_dump() | spec.training.model_dump(exclude={"steps", "precision"})
        ),
        hypers=tuple(spec.hypers),
        # Without factors there is nothing that chance could get right.
        points=None if data.get("factors") == {} else record.scores.get("points"),
        origin=_origin(record),
        words=_words(record),
    )


def _words(record: RunRecord) -> tuple[str, ...]:
    """What is to be said where the run's images, or some of them, have no factors."""
    label, data, left_out = (
        record.spec.dataset.label,
        record.provenance["data"],
        record.scores.get("left_out"),
    )
    words = [left_out_words(label, left_out)] if left_out else []
    if data.get("labelled") is not None and data.get("images") is not None:
        words.append(labelled_words(label, data["labelled"], data["images"]))
    return tuple(words)


def _foreign(row: ForeignRow) -> _Row:
    settings = _plain_values(dict(row.settings))
    data = (row.dataset, row.provenance, row.data_fingerprint)
    images = [str(n) for n in (row.points, row.reconstruction_points) if n is not None]
    has_nats = any(value is not None and of_one_likelihood(name) for name, value in row.scores.items())
    about = {
        "dataset": row.dataset,
        "provenance": row.provenance,
        "model": row.name,
        "source": row.source,
        "seed": row.seed,
        "status": "DONE",
        "data_fingerprint": row.data_fingerprint[:SHOWN_OF_FINGERPRINT],
        "scored_on": f"{' / '.join(images)} images",
        "reconstruction_likelihood": row.likelihood or f"{row.name}'s own" if has_nats else "",
        "metric_revisions": _revisions(row.metrics),
    }
    return _Row(
        identity=(row.source, row.name, *data, row.seed, json.dumps(settings, sort_keys=True)),
        about=about,
        scores=dict(row.scores),
        metrics=row.metrics,
        own=settings,
        points=None if row.points == "all" else row.points,
    )


def _complete(about: list[dict[str, Any]]) -> None:
    """Fill in what only the other rows can say of a foreign row: its name, and what it is compared with.

    A name that rows of several sources have gets the source behind it. A row without reconstruction stands with the
    first runs whose metrics were scored on as many images of the same data.
    """
    sources: dict[str, set[str]] = {}
    known: dict[tuple[str, str], str] = {}
    for row in about:
        sources.setdefault(row["model"], set()).add(row["source"])
        if row["scored_on"] and " / " in row["scored_on"]:
            known.setdefault((row["data_fingerprint"], row["scored_on"].split()[0]), row["scored_on"])
    for row in about:
        if row["source"] != TRAINED:
            if len(sources[row["model"]]) > 1:
                row["model"] = f"{row['model']} ({row['source']})"
            key = (row["data_fingerprint"], row["scored_on"].split()[0])
            if " / " not in row["scored_on"]:
                row["scored_on"] = known.get(key, row["scored_on"])


def _each_once(rows: Iterable[_Row]) -> tuple[list[_Row], int]:
    """A row for each run, that is for each spec on the same data in the same precision; and how many were left out.

    Of several the first counts, but a finished one before a failed one.
    """
    kept: dict[tuple[str | int | None, ...], _Row] = {}
    repeated = 0
    for row in rows:
        earlier = kept.setdefault(row.identity, row)
        if earlier is not row:
            repeated += 1
            if earlier.failed and not row.failed:
                kept[row.identity] = row
    return list(kept.values()), repeated


def _with_excess(scores: Mapping[str, float | None], bounds: Mapping[str, Any]) -> dict[str, float | None]:
    """The scores with nats above the least cost that the likelihood allows, and their share of the constant image's.

    Nothing more for a likelihood that has no least cost.
    """
    nats, floor, constant = (
        scores.get("reconstruction_nats"),
        bounds.get("floor_nats"),
        bounds.get("constant_nats"),
    )
    found = dict(scores)
    if nats is not None and floor is not None:
        found["excess_nats"] = nats - floor
        if constant is not None and constant > floor:
            found["excess_share"] = (nats - floor) / (constant - floor)
    return found


def _likelihood(record: RunRecord) -> str | None:
    """What the run's reconstruction is the likelihood of; None for a failed run that was asked for none."""
    if record.failure is not None:
        asked = record.spec.options.get("likelihood")
        return None if asked is None else str(asked)
    kept = record.scores.get("reconstruction") or {}
    return kept.get("likelihood") or f"{record.spec.model}'s own"


def _about(record: RunRecord) -> dict[str, Any]:
    spec, provenance = record.spec, record.provenance
    return {
        "run": spec.id,
        "dataset": spec.dataset.label,
        "provenance": provenance["data"]["provenance"],
        "model": spec.model,
        "source": TRAINED,
        "seed": spec.seed,
        "steps": spec.training.steps,
        "status": "DONE" if record.failure is None else "FAILED",
        "failure": record.failure.splitlines()[0] if record.failure else None,
        "device": provenance["device"],
        "threads": provenance.get("threads"),
        "torch": provenance.get("versions", {}).get("torch"),
        "precision": provenance["precision"],
        "data_fingerprint": provenance["data"]["fingerprint"][:SHOWN_OF_FINGERPRINT],
        "scored_on": _scored_on(record),
        "reconstruction_likelihood": _likelihood(record),
        "metric_revisions": _revisions(record.scores.get("metrics")),
        "model_source": provenance.get("model_source"),
    }


def _scored_on(record: RunRecord) -> str | None:
    """How many images the metrics and the reconstruction were measured on; None for a failed run."""
    kept = record.scores.get("scoring")
    return None if kept is None else f"{kept['points']} / {kept['reconstruction_points']} images"


def _revisions(metrics: Mapping[str, Mapping[str, Any]] | None) -> str | None:
    """Every metric with its revision as JSON, since a metric may have any name; None for a failed run.

    A metric that is not this package's has the hash of its source beside the revision.
    """
    if metrics is None:
        return None
    return json.dumps({n: revision_in_words(m["revision"], m.get("source")) for n, m in metrics.items()})


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
    taken = COLUMNS | measured | {"measure", *STATISTICS}
    made = re.compile(
        rf"(?:best|pareto|front)_(?:{_any_of(measured)})|(?:{_any_of(measured)})_(?:{_any_of(KEPT)})"
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
