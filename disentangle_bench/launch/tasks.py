"""What processes of this machine are given to do: train, score, calibrate. They load a data set once for all tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.launch.calibrate import Calibration, calibrate
from disentangle_bench.launch.job import Job, load_run, run_job, score_model
from disentangle_bench.launch.worker import Desk
from disentangle_bench.spec import DatasetSpec, ScoringSpec
from disentangle_bench.train.checkpoint import Checkpoint

Packed = tuple[dict[str, Any], dict[str, NDArray[Any]]]  # a checkpoint without torch's tensors


def packed(checkpoint: Checkpoint) -> Packed:
    """The checkpoint as another process can be given it, without memory that both share."""
    return checkpoint.about(), {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}


def unpacked(parts: Packed) -> Checkpoint:
    """The checkpoint again."""
    about, arrays = parts
    return Checkpoint.from_parts(about, {name: torch.from_numpy(array) for name, array in arrays.items()})


@dataclass(frozen=True)
class Data:
    """A data set as a task finds it: by its grid's entry, in a folder, known by its fingerprint."""

    spec: DatasetSpec
    folder: Path
    fingerprint: str
    provenance: str

    def hold(self, dataset: FactorDataset) -> None:
        """Have this data set at hand: processes that are forked after this share it."""
        _held[self.spec.label] = dataset

    def load(self) -> FactorDataset:
        """The data set that is at hand, or was for the task before. BenchError where it has changed meanwhile."""
        found = _held.get(self.spec.label)
        if found is None or found.fingerprint != self.fingerprint:
            _held.clear()  # first make room
            found = load_dataset(self.spec.name, every=self.spec.every, data_dir=self.folder)
            self.hold(found)
        if found.fingerprint != self.fingerprint:
            raise BenchError(f"the data set {self.spec.name} has changed while the study was at work")
        return found


_held: dict[str, FactorDataset] = {}


def train(desk: Desk, job: Job, resume: Packed | None, data: Data, checkpoint_every: float) -> None:
    """Train and score the runs of a job; checkpoints and records are told."""
    desk.stop.check()
    if resume is not None:
        job = replace(job, resume=unpacked(resume))
    records = run_job(
        job,
        data.load(),
        desk,
        keep=lambda checkpoint: desk.tell("checkpoint", packed(checkpoint)),
        checkpoint_every=checkpoint_every,
        stop=desk.stop,
    )
    for record in records:
        desk.tell("record", record)
        desk.stop.check()


def score(
    desk: Desk,
    run: Path,
    model: str,
    metrics: Sequence[str],
    scoring: ScoringSpec,
    data: Data,
    metric_seconds: float | None,
) -> dict[str, Any] | str:
    """What scores.json holds of a finished run, encoded again from its weights, for these metrics.

    A text where the run cannot be read: the reason.
    """
    try:
        trained = load_run(run, allow=(model,))
    except BenchError as error:
        return str(error)
    return score_model(
        trained, scoring, metrics, data.load(), desk, seconds={}, metric_seconds=metric_seconds
    )


def controls(
    desk: Desk,
    metrics: Sequence[str],
    points: int | str,
    seed: int,
    data: Data,
    metric_seconds: float | None,
) -> Calibration:
    """What metrics say of the control codes of one seed."""
    return calibrate(data.load(), metrics, points, [seed], desk, metric_seconds, desk.stop)
