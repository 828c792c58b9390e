"""One job, from a stack of specs to scored records: train, encode, score. Whatever launches runs calls this."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from disentangle_bench import registry
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.launch.pictures import run_pictures
from disentangle_bench.launch.score_pool import score_many, score_one
from disentangle_bench.models.objective import Fitted, NetworkSize, Objective, is_fitted, with_data_facts
from disentangle_bench.rundir import RunRecord, load_record
from disentangle_bench.scoring import refuse_keys
from disentangle_bench.source_hash import source_hash
from disentangle_bench.spec import RunSpec, ScoringSpec, checked_model
from disentangle_bench.train.alone import build_networks
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.checkpoint import Checkpoint
from disentangle_bench.train.device import pick_device
from disentangle_bench.train.encode_stack import encode_stack
from disentangle_bench.train.fit import train_fitted
from disentangle_bench.train.loop import CheckpointKeeper, Result, train
from disentangle_bench.train.plan import make_training
from disentangle_bench.train.stop import Stop
from disentangle_bench.train.trained import (
    TrainedModel,
    encode_dataset,
    measure_reconstruction,
    reconstruction_bounds,
)
from disentangle_bench.version import __version__

Scored = tuple[dict[str, Any], dict[str, float]]  # what scores.json holds, and the seconds that were spent
VERSIONS_KEPT = ("torch", "numpy", "scipy", "scikit-learn")


class Watcher(Protocol):
    """Who hears how a run gets on."""

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """A phase begins ("training", "encoding", "scoring") and takes `total` units, of which some may be done."""
        ...

    def advance(self, units: int) -> None:
        """That many units of the phase are done."""
        ...


@dataclass(frozen=True)
class Job:
    """Runs of one program, and how the trained ones are scored."""

    specs: tuple[RunSpec, ...]
    scoring: ScoringSpec
    metrics: tuple[str, ...]
    resume: Checkpoint | None = None
    metric_seconds: float | None = None  # what a metric may take for one run

    def without_checkpoint(self) -> Job:
        """The same from its beginning."""
        return replace(self, resume=None)

    def half(self, specs: tuple[RunSpec, ...], resume: Checkpoint | None) -> Job:
        """The same with some of the runs, from a checkpoint that holds them."""
        only = None if resume is None else resume.only([spec.id for spec in specs])
        return Job(specs, self.scoring, self.metrics, only, self.metric_seconds)


@dataclass(frozen=True)
class Tables:
    """Codes [models, points, latents] and factors [points, factors], and the seconds that a model took."""

    codes: NDArray[np.float32]
    factors: NDArray[np.int64]
    seconds: float


def run_job(
    job: Job,
    dataset: FactorDataset,
    watcher: Watcher,
    *,
    keep: Callable[[Checkpoint], None] = lambda checkpoint: None,
    checkpoint_every: float = 300.0,
    stop: Stop | None = None,
) -> Iterator[RunRecord]:
    """The runs trained together and scored on the device of `dataset`, each record as soon as it is there.

    A failure becomes a record that holds its reason. A stack that the device's memory does not hold is halved, and
    goes on from its last checkpoint. `keep` gets a checkpoint every so many seconds. Only BenchError (the user's to
    mend), Stopped and interruptions pass through.
    """
    provenance = provenance_of(dataset, job)
    last = [job.resume]

    def keep_last(checkpoint: Checkpoint) -> None:
        keep(checkpoint)
        last[0] = checkpoint

    try:
        trained = _train(
            job, dataset, watcher, CheckpointKeeper(keep_last, checkpoint_every), stop, provenance
        )
    except BenchError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        if len(job.specs) == 1:
            yield RunRecord(job.specs[0], provenance, failure=f"out of memory: {error}\n")
            return
        trained = None  # halved below, when the traceback no longer holds the stack's tensors
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"
        for spec in job.specs:
            yield RunRecord(spec, provenance, failure=reason)
        return
    if trained is not None:
        yield from _score(trained, job, dataset, watcher, provenance)
        return
    if dataset.device.type == "cuda":
        torch.cuda.empty_cache()
    middle = len(job.specs) // 2
    for specs in (job.specs[:middle], job.specs[middle:]):
        half = job.half(specs, last[0])
        yield from run_job(half, dataset, watcher, keep=keep, checkpoint_every=checkpoint_every, stop=stop)


def _train(
    job: Job,
    dataset: FactorDataset,
    watcher: Watcher,
    keeper: CheckpointKeeper,
    stop: Stop | None,
    provenance: dict[str, Any],
) -> list[tuple[TrainedModel, Result]]:
    """The trained models with how their training went."""
    objective = make_objective(job.specs[0], dataset)
    if is_fitted(objective):
        return [_fit(objective, spec, dataset, watcher) for spec in job.specs]
    done = 0 if job.resume is None else job.resume.step
    watcher.phase("training", job.specs[0].training.steps, done)
    training = make_training(objective, job.specs, dataset)
    results = train(training, resume=job.resume, keeper=keeper, stop=stop, on_steps=watcher.advance)
    provenance |= {"compiled": training.compilation, "captured": training.capture}
    return [
        (
            TrainedModel(spec, objective, training.networks(run), dataset.device, dataset.image_shape),
            result,
        )
        for run, (spec, result) in enumerate(zip(job.specs, results, strict=True))
    ]


def _fit(
    objective: Fitted, spec: RunSpec, dataset: FactorDataset, watcher: Watcher
) -> tuple[TrainedModel, Result]:
    """The model fitted at once."""
    watcher.phase("fitting", 1)
    found = train_fitted(objective, spec, dataset)
    watcher.advance(1)
    model = TrainedModel(spec, objective, found.networks, dataset.device, dataset.image_shape)
    return model, Result(found.curves, found.seconds)


def _score(
    trained: Sequence[tuple[TrainedModel, Result]],
    job: Job,
    dataset: FactorDataset,
    watcher: Watcher,
    provenance: dict[str, Any],
) -> Iterator[RunRecord]:
    """A record for each trained model, scored; runs that diverged first."""
    for model, result in trained:
        if result.failure is not None:
            yield RunRecord(
                model.spec, provenance, curves=result.curves, failure=f"diverged: {result.failure}\n"
            )
    good = [(model, result) for model, result in trained if result.failure is None]
    tables = _encode_together([model for model, _ in good], job, dataset, watcher, provenance)
    if tables is not None:
        yield from _score_together(good, tables, job, dataset, watcher, provenance)
        return
    for model, result in good:

        def score(model: TrainedModel = model, seconds: float = result.seconds) -> Scored:
            spent = {"training": seconds}
            scores = score_model(
                model, job.scoring, job.metrics, dataset, watcher,
                seconds=spent, metric_seconds=job.metric_seconds,
            )  # fmt: skip
            return scores, spent

        yield _record(model, result, score, dataset, provenance)


def _encode_together(
    models: Sequence[TrainedModel],
    job: Job,
    dataset: FactorDataset,
    watcher: Watcher,
    provenance: dict[str, Any],
) -> Tables | None:
    """The whole data set encoded by all models at once; None where that is not asked for or fails.

    One by one needs less memory, and says which model it is that cannot be encoded. Why it is done so is noted in
    `provenance`.
    """
    if len(models) < 2 or job.scoring.points != "all":
        return None
    started = time.perf_counter()
    watcher.phase("encoding", len(dataset))
    try:
        codes, factors = encode_stack(models, dataset, watcher.advance)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        provenance["encoded"] = f"one by one: {type(error).__name__}: {error}"
        return None
    return Tables(codes, factors, (time.perf_counter() - started) / len(models))


def _score_together(
    good: Sequence[tuple[TrainedModel, Result]],
    tables: Tables,
    job: Job,
    dataset: FactorDataset,
    watcher: Watcher,
    provenance: dict[str, Any],
) -> Iterator[RunRecord]:
    """As `_score`, with the tables of all models scored side by side."""
    watcher.phase("scoring", len(good))
    started = time.perf_counter()
    seeds = [model.spec.seed for model, _ in good]
    reports = score_many(tables.codes, tables.factors, seeds, job.metrics, job.metric_seconds)
    for (model, result), report in zip(good, reports, strict=True):
        watcher.advance(1)
        spent = {
            "training": result.seconds,
            "encoding": tables.seconds,
            "scoring": (time.perf_counter() - started) / len(good),
        }

        def score(
            model: TrainedModel = model, report: dict[str, Any] = report, spent: dict[str, float] = spent
        ) -> Scored:
            points = job.scoring.reconstruction_points
            report["reconstruction"] = reconstruction_bounds(model, dataset, points)
            measures = measure_reconstruction(model, dataset, job.scoring.reconstruction_points)
            return _scores(model.spec, measures, report, job.scoring), spent

        yield _record(model, result, score, dataset, provenance)


def _record(
    model: TrainedModel,
    result: Result,
    score: Callable[[], Scored],
    dataset: FactorDataset,
    provenance: dict[str, Any],
) -> RunRecord:
    """A finished run, scored and with its pictures; or the reason why that could not be done."""
    try:
        scores, seconds = score()
        pictures = run_pictures(model, dataset)
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"
        return RunRecord(model.spec, provenance, curves=result.curves, failure=reason)
    about = provenance | {"seconds": seconds}
    return RunRecord(model.spec, about, scores, result.curves, model.weights(), pictures)


def score_model(
    model: TrainedModel,
    scoring: ScoringSpec,
    metrics: Sequence[str],
    dataset: FactorDataset,
    watcher: Watcher,
    seconds: dict[str, float],
    metric_seconds: float | None = None,
) -> dict[str, Any]:
    """What scores.json holds: the numbers, how they were obtained, and the metrics that raised, with their errors.

    The seconds taken by encoding and scoring are added to `seconds`. A metric that takes longer than `metric_seconds`
    is given up, as if it had raised.
    """
    started = time.perf_counter()
    watcher.phase(
        "encoding", len(dataset) if scoring.points == "all" else min(int(scoring.points), len(dataset))
    )
    codes, factors = encode_dataset(model.encode, dataset, scoring.points, model.spec.seed, watcher.advance)
    bounds = reconstruction_bounds(model, dataset, scoring.reconstruction_points)
    measures = measure_reconstruction(model, dataset, scoring.reconstruction_points)
    seconds["encoding"] = time.perf_counter() - started
    watcher.phase("scoring", len(metrics))
    started = time.perf_counter()
    report = score_one(codes, factors, metrics, model.spec.seed, metric_seconds, lambda: watcher.advance(1))
    report["reconstruction"] = bounds
    seconds["scoring"] = time.perf_counter() - started
    return _scores(model.spec, measures, report, scoring)


def _scores(
    spec: RunSpec, measures: dict[str, float], report: dict[str, Any], scoring: ScoringSpec
) -> dict[str, Any]:
    """What is kept of the report; a metric that gives a score of another column's name has failed."""
    settings = dict.fromkeys([*spec.hypers, *spec.options], "a setting of the run")
    refuse_keys(report, settings | dict.fromkeys(measures, "a measure of the run"))
    return report | {"scores": measures | report["scores"], "scoring": scoring.model_dump()}


def load_run(path: str | Path, device: str = "cpu", allow: Collection[str] = ()) -> TrainedModel:
    """The trained model in a run directory, ready to encode, decode, reconstruct and sample on `device`.

    Reads safetensors and JSON only. A model that is not this package's or an installed one's is loaded if `allow` has
    its "module:name". Raises BenchError where it has not, where `path` is no finished run or its weights do not fit.
    """
    record = load_record(Path(path), weights=True)
    registry.check_allowed("model", record.spec.model, allow)
    if record.failure is not None:
        raise BenchError(f"{path} has no weights; the run failed: {record.failure.splitlines()[0]}")
    spec = record.spec
    data = record.provenance["data"]
    if data.get("images") is None or data.get("image_shape") is None:
        raise BenchError(
            f"{path}: provenance.json does not say of which images the networks are (data.images, image_shape)"
        )
    shape = tuple(data["image_shape"])
    objective = with_data_facts(new_objective(spec), data["images"], shape)
    place = pick_device(device)
    refuse_misfits(Path(path), record, build_nothing(spec, objective, shape))
    networks = build_networks(objective, shape, spec.network, spec.seed, place)
    model = TrainedModel(spec, objective, networks, place, shape)
    try:
        model.load_weights(dict(record.weights))
    except ValueError as error:
        raise BenchError(f"{path}: {error}") from error
    return model


def build_nothing(
    spec: RunSpec, objective: Objective | Fitted, image_shape: tuple[int, int, int]
) -> dict[str, nn.Module]:
    """The spec's networks without memory. Raises BenchError where they cannot take the data set's images."""
    try:
        with torch.device("meta"):
            return objective.build(image_shape, NetworkSize(**spec.network.model_dump()))
    except BenchError:
        raise
    except (Exception, SystemExit) as error:  # anyone's code, and networks of any size
        reason = f"{type(error).__name__}: {error}"
        raise BenchError(f"model {spec.model!r} cannot be built as it is asked for: {reason}") from error


def refuse_misfits(path: Path, record: RunRecord, networks: dict[str, nn.Module]) -> None:
    """Raise BenchError where the record's weights are not those of the networks, before these take any memory."""
    asked = {
        f"{name}.{key}": tuple(value.shape)
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    kept = {name: tuple(value.shape) for name, value in record.weights.items()}
    odd = next((name for name in sorted(asked | kept) if asked.get(name) != kept.get(name)), None)
    if odd is not None:
        asks, has = (
            "none" if it is None else f"the shape {list(it)}" for it in (asked.get(odd), kept.get(odd))
        )
        raise BenchError(
            f"{path}: the weights do not fit the spec: it asks for {asks} for {odd!r}, there is {has}"
        )


def make_objective(spec: RunSpec, dataset: FactorDataset) -> Objective | Fitted:
    """The spec's objective with its options, which knows of its training images."""
    trained_on = Batches(spec.dataset, dataset).dataset
    return with_data_facts(new_objective(spec), len(trained_on), dataset.image_shape)


def new_objective(spec: RunSpec) -> Objective | Fitted:
    """The spec's objective with its options, before it knows its data."""
    return cast(Objective | Fitted, checked_model(spec)(**spec.options))


def provenance_of(dataset: FactorDataset, job: Job) -> dict[str, Any]:
    """Where a result comes from: versions, device, commit, time, how it trained, and the data with their hash."""
    name = job.specs[0].model
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"disentangle_bench": __version__}
        | {name: _version_of(name) for name in VERSIONS_KEPT}
        | {"python": platform.python_version()},
        "device": device_name(dataset.device),
        "threads": torch.get_num_threads(),
        "precision": job.specs[0].training.precision,
        "stack": len(job.specs),
        "resumed_at_step": None if job.resume is None else job.resume.step,
        "git_commit": _git_commit(),
        "model_source": source_hash(name, registry.resolve("model", name)),
        "data": {
            "name": dataset.name,
            "provenance": dataset.provenance,
            "fingerprint": dataset.fingerprint,
            "images": len(dataset),
            "nuisance": dataset.nuisance,
            "image_shape": list(dataset.image_shape),
            "factors": dict(zip(dataset.factor_names, dataset.factor_sizes, strict=True)),
            "labels": {factor: list(names) for factor, names in dataset.labels.items()},
        },
    }


def _version_of(distribution: str) -> str:
    """The installed version; "unknown" for a package that is on the path only."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def device_name(device: torch.device) -> str:
    """What the device is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


@cache
def _git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `+changes` where it was altered; None outside one.

    It is read once: a process goes on with the code that it has loaded, wherever the checkout moves meanwhile.
    """
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        tracked = subprocess.run(
            ["git", "-C", here, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10
        )
        changed = subprocess.run(
            ["git", "-C", here, "diff", "--quiet", "HEAD"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if tracked.returncode:
        return None  # installed into somebody else's repository
    return commit + ("+changes" if changed.returncode else "")
