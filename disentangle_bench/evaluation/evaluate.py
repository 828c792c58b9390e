"""Anything evaluated: an encoder of anyone's, or codes that were made elsewhere, on a data set with known factors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.controls import symmetric_codes
from disentangle_bench.evaluation.encode import encode_points, scoring_points
from disentangle_bench.evaluation.latents import Latents, checked_latents
from disentangle_bench.evaluation.pool import score_one
from disentangle_bench.evaluation.protocols import find_protocol, metrics_by_protocol, score_by_protocol
from disentangle_bench.evaluation.provenance import provenance
from disentangle_bench.evaluation.reconstruction import decoded_reconstruction, reconstruction_bounds
from disentangle_bench.evaluation.representation import Encoder, as_encoder
from disentangle_bench.evaluation.scores import (
    add_part,
    generator,
    metric_report,
    overlap_note,
    refuse_keys,
)
from disentangle_bench.evaluation.tables import (
    Truth,
    numbers_of,
    truth_of,
    values_of,
)
from disentangle_bench.evaluation.without_factors import (
    NEEDS_NONE,
    refuse_all_left_out,
    refuse_protocol,
    scored_and_left_out,
    words_of_factors,
)
from disentangle_bench.files import sha256
from disentangle_bench.metrics.controls import ground_truth
from disentangle_bench.metrics.metric import Factors
from disentangle_bench.progress import Phases, PhasesOf, Silent
from disentangle_bench.records.record import Record
from disentangle_bench.specs import DatasetSpec, ScoringSpec

DEFAULT_METRICS = ("factor_vae", "mig", "beta_vae")


def evaluate(
    what: Any,
    dataset: FactorDataset | str,
    metrics: Iterable[str] | None = None,
    *,
    seed: int = 0,
    points: int | str = "all",
    protocol: str = "default",
    reconstruction_points: int | str = 10_000,
    name: str | None = None,
    device: str = "cpu",
    metric_seconds: float | None = None,
    phases: Phases | None = None,
) -> Record:
    """Score a representation on a data set, as `bench evaluate` does.

    Parameters
    ----------
    what
        A function from images to codes, a network (put into eval mode), or an object with `encode` and perhaps
        `decode`. Images are float32 [n, channels, height, width] in 0..1. Codes are [n, latents] or
        [n, tokens, width]. Metrics that take vectors (DCI, explicitness) see such tokens whole; for the others each
        token is reduced to its first principal component. An array holds the codes of all points of the data set,
        in its order.
    dataset
        A data set, or the name of one.
    metrics
        Names of metrics. The default is factor_vae, mig and beta_vae, or all metrics of another protocol. Without
        factors the default is unsupervised, and metrics that need factors are left out.
    seed
        Decides which points are drawn, and what the metrics draw.
    points
        How many random points of the data set are encoded; "all" takes every point.
    protocol
        The name of a protocol: see `disentangle_bench.evaluation.protocols.PROTOCOLS`.
    reconstruction_points
        On how many points the decoder is measured, if there is one.
    name
        What tables call the representation. The default is the name of its class or function.
    device
        The device that computes it.
    metric_seconds
        A metric that takes longer is stopped, as if it had raised an error. This does not hold for metrics that see
        vectors whole.
    phases
        Gets the progress of the evaluation.

    Returns
    -------
    Record
        Scores by key, those of random codes and of the factors themselves, and how they were obtained.

    Raises
    ------
    BenchError
        If `what` is not a representation, its codes are not finite numbers of the right shape, or a metric is
        unknown.

    Examples
    --------
    >>> import disentangle_bench
    >>> squares = disentangle_bench.load_dataset("tiny_data:SQUARES")
    >>> record = disentangle_bench.evaluate(lambda images: images.mean((2, 3)), squares, ["mig"])
    >>> sorted(record.scores)
    ['mig']
    """
    data = load_dataset(dataset) if isinstance(dataset, str) else dataset
    images = {"points": points, "reconstruction_points": reconstruction_points}
    names = default_metrics(protocol, data) if metrics is None else tuple(metrics)
    asked = Asked(names, ScoringSpec.model_validate(images), seed, metric_seconds, protocol)
    label = DatasetSpec(name=dataset).label if isinstance(dataset, str) else dataset.name
    if not data.factor_names:
        refuse_protocol(protocol, label)
        refuse_all_left_out(names, [label])
    if isinstance(what, np.ndarray | Tensor):
        return evaluate_codes(what, data, asked, Subject(name or "codes", "an array", label))
    called = getattr(what, "__name__", type(what).__name__)
    subject = Subject(name or called, called, label)
    return evaluate_encoder(as_encoder(what, device), data, asked, subject, phases or PhasesOf(Silent(), []))


@dataclass(frozen=True)
class Asked:
    """What is asked of an evaluation: metrics, points, seed, and the seconds that a metric may take.

    Raises BenchError for metrics that the protocol does not have.
    """

    metrics: tuple[str, ...]
    images: ScoringSpec
    seed: int = 0
    metric_seconds: float | None = None
    protocol: str = "default"

    def __post_init__(self) -> None:
        metrics_by_protocol(self.protocol, self.metrics)  # refuses what is none
        if self.protocol != "default" and self.metric_seconds is not None:
            raise BenchError(
                f"the protocol {self.protocol!r} has no time limit for metrics; leave the limit out"
            )


def default_metrics(protocol: str, dataset: FactorDataset | None = None) -> tuple[str, ...]:
    """The metrics that are scored when none is named. BenchError for an unknown protocol."""
    if protocol != "default":
        return tuple(find_protocol(protocol).metrics)
    return DEFAULT_METRICS if dataset is None or dataset.factor_names else (NEEDS_NONE,)


@dataclass(frozen=True)
class Subject:
    """What is evaluated: its name in tables, where it is from, and what tables call the data set."""

    name: str
    what: str
    label: str


def evaluate_encoder(
    encoder: Encoder, dataset: FactorDataset, asked: Asked, subject: Subject, phases: Phases
) -> Record:
    """The record of an encoder. Raises BenchError where it cannot be scored."""
    index = scoring_points(dataset, asked.images.points, asked.seed)
    phases.phase("encoding", len(index))
    about: dict[str, Any] = {"kind": "encoder"}
    with anyones_code(subject.what):
        codes = encode_points(encoder.encode, dataset, index, phases.advance).numpy()
        if encoder.decoding is not None:
            points = asked.images.reconstruction_points
            about["measures"] = decoded_reconstruction(encoder, dataset, points, asked.seed)
            about["bounds"] = reconstruction_bounds("bernoulli", asked.seed, dataset, points)
    return _record(codes, index, dataset, asked, subject, about)


@contextmanager
def anyones_code(what: str) -> Iterator[None]:
    """Within, whatever an encoder raises becomes a BenchError that says which it is."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise BenchError(f"{what} cannot be evaluated: {type(error).__name__}: {error}") from error


def evaluate_codes(codes: Any, dataset: FactorDataset, asked: Asked, subject: Subject) -> Record:
    """The record of codes of all points of the data set, in its order, of which the points asked for are scored."""
    if isinstance(codes, Tensor):
        codes = codes.detach().cpu()
        codes = (codes.float() if codes.is_floating_point() else codes).numpy()
    table = np.atleast_1d(codes)
    if len(table) != len(dataset):
        raise BenchError(
            f"{subject.what}: the codes have {len(table)} rows and {dataset.name} {len(dataset)} images; a row for each"
            " is needed, in the data set's order"
        )
    index = scoring_points(dataset, asked.images.points, asked.seed)
    return _record(table[index.cpu().numpy()], index, dataset, asked, subject, {"kind": "codes"})


def evaluate_tables(codes: Any, factors: Any, asked: Asked, subject: Subject) -> Record:
    """The record of codes and factors of somebody's own points, row for row."""
    latents, factors = checked_latents(codes, factors)
    table = values_of(factors)
    count = len(table)
    about = {
        "kind": "codes",
        "factor_names": [f"factor {column}" for column in range(table.shape[1])],
        "dataset": {"provenance": "user", "fingerprint": sha256(table.tobytes())},
        "points": {"number": count, "sha256": sha256(np.arange(count, dtype="<i8").tobytes())},
    }
    return _scored(latents, factors, asked, subject, about)


def _record(
    codes: Any,
    index: Tensor,
    dataset: FactorDataset,
    asked: Asked,
    subject: Subject,
    about: Mapping[str, Any],
) -> Record:
    """The record of codes of these points of the data set; metrics that need factors which it lacks are left out."""
    truth = truth_of(dataset, index)
    numbers = numbers_of(truth)
    latents, factors = checked_latents(codes, truth)
    metrics, left_out = scored_and_left_out(asked.metrics, dataset)
    notes = words_of_factors(subject.label, dataset, left_out)
    varies = numbers.max(axis=0) > numbers.min(axis=0)
    positions = index.cpu().numpy().astype("<i8")
    more: dict[str, Any] = {
        "metrics": metrics,
        "dataset": {"provenance": dataset.provenance, "fingerprint": dataset.fingerprint},
        "points": {"number": len(positions), "sha256": sha256(positions.tobytes())},
        "provenance": provenance(dataset),
        "factor_names": [name for name, kept in zip(dataset.factor_names, varies, strict=True) if kept],
    }
    if latents.vectors is not None:
        whole = ", ".join(latents.whole(metrics)) or "no metric"
        notes.append(
            f"codes are vectors of {latents.width} numbers: {whole} had them whole, for the others each was reduced to"
            " its first principal component"
        )
    more["notes"] = notes
    if dataset.symmetry is not None:
        more["controls"] = {"symmetric": Latents(symmetric_codes(numbers, dataset))}
    return _scored(latents, factors, asked, subject, {**about, **more})


def _real_note(names: Sequence[str], factors: Factors | Truth, report: Mapping[str, Any]) -> str | None:
    """A sentence on which metrics had the values of real-valued factors, and which their bins; None without such."""
    if not isinstance(factors, Truth):
        return None
    real = ", ".join(name for name, is_real in zip(names, factors.real, strict=True) if is_real)
    had = {
        kind: ", ".join(name for name, about in report["metrics"].items() if about.get("real_valued") == kind)
        or "no metric"
        for kind in ("values", "bins")
    }
    return f"real-valued are {real}: {had['values']} had the values themselves, {had['bins']} the numbers of their bins"


def _scored(
    latents: Latents, factors: Factors | Truth, asked: Asked, subject: Subject, about: Mapping[str, Any]
) -> Record:
    """The record of these tables, with what random codes and the factors themselves score beside it."""

    def score(given: Latents, metrics: Sequence[str]) -> dict[str, Any]:
        if asked.protocol != "default":
            names = about["factor_names"]
            return score_by_protocol(asked.protocol, given.table, factors, names, asked.seed, metrics)
        whole = given.whole(metrics)
        rest = [name for name in metrics if name not in whole]
        report = score_one(given.table, factors, rest, asked.seed, asked.metric_seconds)
        for name, metric in whole.items():
            assert given.vectors is not None
            add_part(report, metric_report(name, given.vectors, factors, asked.seed, metric))
        return report

    report = score(latents, about.get("metrics", asked.metrics))
    measures = about.get("measures", {})
    refuse_keys(report, dict.fromkeys(measures, "a measure of the reconstruction"))
    controls = {"random": latents.random(asked.seed)}
    if numbers_of(factors).shape[1]:
        perfect = ground_truth(values_of(factors), generator(asked.seed, "ground_truth"))
        controls["ground_truth"] = Latents(perfect)
    controls |= about.get("controls", {})
    scored = list(report["metrics"])
    real = _real_note(about["factor_names"], factors, report)
    notes = [*about.get("notes", ()), overlap_note(report), real]
    if asked.protocol != "default":
        notes += [report["protocol"]["note"], find_protocol(asked.protocol).source.note]
    found = {
        "name": subject.name,
        "seed": asked.seed,
        "source": {"kind": about["kind"], "what": subject.what},
        "dataset": {"label": subject.label, **about["dataset"]},
        "points": about["points"],
        "scoring": {
            "metrics": report["metrics"],
            "protocol": asked.protocol,
            "points": asked.images.points,
            "reconstruction_points": asked.images.reconstruction_points,
            "reconstruction": about.get("bounds", {}),
        },
        "scores": measures | report["scores"],
        "controls": {name: score(given, scored)["scores"] for name, given in controls.items() if scored},
        "failures": report["failures"],
        "provenance": about.get("provenance", {}),
        "notes": tuple(note for note in notes if note),
    }
    return Record(**found)
