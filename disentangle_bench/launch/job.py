"""One job, from a spec to a scored record: train, encode, score. Whatever launches runs calls this."""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import platform
import subprocess
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from disentangle_bench import registry
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.models.objective import NetworkSize, Objective
from disentangle_bench.rundir import RunRecord, load_record
from disentangle_bench.scoring import information_table, named_metrics, score_codes
from disentangle_bench.spec import RunSpec, ScoringSpec
from disentangle_bench.train.alone import Diverged, build_networks, train_alone
from disentangle_bench.train.trained import TrainedModel, encode_dataset, measure_reconstruction

VERSIONS_KEPT = ("disentangle_bench", "torch", "numpy", "scipy", "scikit-learn")


class Watcher(Protocol):
    """Who hears how a run gets on."""

    def phase(self, name: str, total: int) -> None:
        """A phase begins ("training", "encoding", "scoring") and will take `total` units."""
        ...

    def advance(self, units: int) -> None:
        """That many units of the phase are done."""
        ...


def run_job(
    spec: RunSpec, scoring: ScoringSpec, metrics: Sequence[str], dataset: FactorDataset, watcher: Watcher
) -> RunRecord:
    """The run trained and scored on the device of `dataset`; a failure becomes a record that holds its reason.

    Only BenchError (the user's to mend) and interruptions pass through.
    """
    provenance = provenance_of(dataset)
    try:
        model, curves, seconds = _train(spec, dataset, watcher)
        provenance["seconds"] = {"training": seconds}
        scores = score_model(model, scoring, metrics, dataset, watcher, seconds=provenance["seconds"])
        return RunRecord(spec, provenance, scores, curves, model.weights())
    except BenchError:
        raise
    except Diverged as error:
        return RunRecord(spec, provenance, failure=f"diverged: {error}\n")
    except Exception as error:
        reason = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"
        return RunRecord(spec, provenance, failure=reason)


def score_model(
    model: TrainedModel,
    scoring: ScoringSpec,
    metrics: Sequence[str],
    dataset: FactorDataset,
    watcher: Watcher,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """What scores.json holds: the numbers, how they were obtained, and the metrics that raised, with their errors.

    The seconds taken by encoding and scoring are added to `seconds`.
    """
    started = time.perf_counter()
    watcher.phase(
        "encoding", len(dataset) if scoring.points == "all" else min(int(scoring.points), len(dataset))
    )
    codes, factors = encode_dataset(model.encode, dataset, scoring.points, model.spec.seed, watcher.advance)
    scores = measure_reconstruction(model, dataset, scoring.reconstruction_points)
    seconds["encoding"] = time.perf_counter() - started
    watcher.phase("scoring", len(metrics))
    described: dict[str, Any] = {}
    failures: dict[str, str] = {}
    started = time.perf_counter()
    for name in metrics:
        try:
            scores |= score_codes(codes, factors, metrics=[name], seed=model.spec.seed)
            metric = named_metrics([name])[name]
            described[name] = {
                "headlines": metric.headlines,
                "revision": metric.revision,
                "paper": metric.paper,
            }
        except Exception as error:  # a metric is anyone's code; its failure costs its own column, not the run
            failures[name] = f"{type(error).__name__}: {error}"
        watcher.advance(1)
    seconds["scoring"] = time.perf_counter() - started
    return {
        "scores": {name: value if math.isfinite(value) else None for name, value in scores.items()},
        "metrics": described,
        "failures": failures,
        "scoring": scoring.model_dump(),
        "points": len(codes),
        "mutual_information": information_table(codes, factors, model.spec.seed),
    }


def load_run(path: str | Path, device: str = "cpu") -> TrainedModel:
    """The trained model in a run directory, ready to encode, decode, reconstruct and sample on `device`.

    Reads safetensors and JSON only. Raises BenchError where `path` is no finished run or its weights do not fit.
    """
    record = load_record(Path(path), weights=True)
    if record.failure is not None:
        raise BenchError(f"{path} has no weights; the run failed: {record.failure.splitlines()[0]}")
    spec = record.spec
    objective = make_objective(spec)
    shape = tuple(record.provenance["data"]["image_shape"])
    networks = build_networks(objective, shape, spec.network, spec.seed, torch.device(device))
    model = TrainedModel(spec, objective, networks, torch.device(device))
    try:
        model.load_weights(dict(record.weights))
    except ValueError as error:
        raise BenchError(f"{path}: {error}") from error
    return model


def make_objective(spec: RunSpec) -> Objective:
    """The spec's objective with its options."""
    return registry.resolve("model", spec.model)(**spec.options)


def check_fit(spec: RunSpec) -> None:
    """Raise BenchError where the spec's networks cannot take its data set's images; builds and loads nothing."""
    image_shape = registry.resolve("data set", spec.dataset.name).image_shape
    with torch.device("meta"):
        make_objective(spec).build(image_shape, NetworkSize(**spec.network.model_dump()))


def provenance_of(dataset: FactorDataset) -> dict[str, Any]:
    """Where a result comes from: versions, device, commit, time, and the data with their hash."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS_KEPT}
        | {"python": platform.python_version()},
        "device": _device_name(dataset.device),
        "threads": torch.get_num_threads(),
        "precision": "float32",
        "git_commit": _git_commit(),
        "data": {
            "name": dataset.name,
            "provenance": dataset.provenance,
            "fingerprint": dataset.fingerprint,
            "images": len(dataset),
            "nuisance": dataset.nuisance,
            "image_shape": list(dataset.image_shape),
            "factors": dict(zip(dataset.factor_names, dataset.factor_sizes, strict=True)),
        },
    }


def _train(
    spec: RunSpec, dataset: FactorDataset, watcher: Watcher
) -> tuple[TrainedModel, list[Mapping[str, float]], float]:
    objective = make_objective(spec)
    watcher.phase("training", spec.training.steps)
    trained = train_alone(objective, spec, dataset, watcher.advance)
    model = TrainedModel(spec, objective, trained.networks, dataset.device)
    return model, list(trained.curves), trained.seconds


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


def _git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `+changes` where it was altered; None outside one."""
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
