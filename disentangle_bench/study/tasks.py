"""What processes of this machine are given to do: train, score, calibrate. They load a data set once for all tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.controls import Calibration, calibrate
from disentangle_bench.evaluation.load import load_run
from disentangle_bench.evaluation.models import Scoring, score_model
from disentangle_bench.processes.worker import Caller
from disentangle_bench.specs import DatasetSpec
from disentangle_bench.study.job import Control, Job, run_job
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

    def hold(self, dataset: FactorDataset) -> None:
        """Have this data set at hand: processes that are forked after this share it."""
        _held[self.spec.label] = dataset

    def load(self) -> FactorDataset:
        """The data set that is at hand, or was for the task before. BenchError where it has changed meanwhile."""
        if not self._at_hand():
            _held.clear()  # first make room
        return self.beside()

    def beside(self) -> FactorDataset:
        """The same beside what is at hand already, which stays there."""
        if not self._at_hand():
            found = load_dataset(
                self.spec.name,
                parameters=self.spec.parameters,
                every=self.spec.every,
                size=self.spec.size,
                data_dir=self.folder,
            )
            self.hold(found)
        found = _held[self.spec.label]
        if found.fingerprint != self.fingerprint:
            raise BenchError(f"the data set {self.spec.name} has changed while the study was at work")
        return found

    def _at_hand(self) -> bool:
        found = _held.get(self.spec.label)
        return found is not None and found.fingerprint == self.fingerprint


_held: dict[str, FactorDataset] = {}


def train(caller: Caller, job: Job, resume: Packed | None, data: Data, checkpoint_every: float) -> None:
    """Train and score the runs of a job; the caller hears of checkpoints and records."""
    caller.stop.check()
    if resume is not None:
        job = replace(job, resume=unpacked(resume))
    keep = lambda checkpoint: caller.tell("checkpoint", packed(checkpoint))  # noqa: E731
    losses = lambda rows: caller.tell("losses", rows)  # noqa: E731
    for record in run_job(job, data.load(), Control(caller, keep, checkpoint_every, caller.stop, losses)):
        caller.tell("record", record)
        caller.stop.check()


def score(caller: Caller, run: Path, model: str, scoring: Scoring, data: Data) -> dict[str, Any] | str:
    """What scores.json holds of a finished run, encoded again from its weights.

    A text where the run cannot be read: the reason.
    """
    try:
        trained = load_run(run, allow=(model,))
    except BenchError as error:
        return str(error)
    return score_model(trained, scoring, data.load(), caller).scores


def controls(caller: Caller, scoring: Scoring, seed: int, data: Data) -> Calibration:
    """What metrics say of the control codes of one seed."""
    return calibrate(data.load(), scoring, [seed], caller, caller.stop)
