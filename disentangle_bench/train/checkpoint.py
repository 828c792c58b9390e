"""A stack of runs in the middle of its training: all that is needed to go on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from disentangle_bench.specs import RunSpec


class RunSoFar(Protocol):
    """What a checkpoint keeps of one run beside its tensors."""

    curves: list[dict[str, float]]
    seconds: float
    failure: str | None


@dataclass(frozen=True)
class KeptRun:
    """One run of a checkpoint."""

    id: str
    curves: tuple[dict[str, float], ...]
    seconds: float
    failure: str | None


@dataclass(frozen=True)
class Checkpoint:
    """`tensors` [runs, ...] by name as `Training.state` gives them, after `step` steps of each of `runs`."""

    runs: tuple[KeptRun, ...]
    step: int
    tensors: dict[str, Tensor]

    @classmethod
    def of(
        cls, specs: Sequence[RunSpec], step: int, tensors: dict[str, Tensor], results: Sequence[RunSoFar]
    ) -> Checkpoint:
        """The checkpoint of these runs; nothing of it changes when they go on (`tensors` are copies already)."""
        runs = [
            KeptRun(spec.id, tuple(result.curves), result.seconds, result.failure)
            for spec, result in zip(specs, results, strict=True)
        ]
        return cls(tuple(runs), step, tensors)

    def only(self, ids: Sequence[str]) -> Checkpoint:
        """The same for some of its runs, in this order. Raises KeyError for one that it does not hold."""
        places = {run.id: place for place, run in enumerate(self.runs)}
        chosen = [places[id] for id in ids]
        tensors = {key: value[torch.tensor(chosen)] for key, value in self.tensors.items()}
        return Checkpoint(tuple(self.runs[place] for place in chosen), self.step, tensors)

    def about(self) -> dict[str, Any]:
        """What is not a tensor, as JSON can hold it."""
        return {
            "step": self.step,
            "runs": [
                {"id": run.id, "curves": run.curves, "seconds": run.seconds, "failure": run.failure}
                for run in self.runs
            ],
        }

    @classmethod
    def from_parts(cls, about: dict[str, Any], tensors: dict[str, Tensor]) -> Checkpoint:
        """The checkpoint from its `about()` and tensors. Raises KeyError, TypeError or ValueError if it is none."""
        runs = tuple(
            KeptRun(run["id"], tuple(run["curves"]), float(run["seconds"]), run["failure"])
            for run in about["runs"]
        )
        if not all(len(value) == len(runs) for value in tensors.values()):
            raise ValueError("its tensors do not have a row for each run")
        return cls(runs, int(about["step"]), tensors)
