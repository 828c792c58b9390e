"""Callbacks hear of each run while it trains: its losses step by step, its scores, or why it failed.

An installed package offers one by an entry point of the group `disentangle_bench.callbacks`, which leads to a class;
`bench run --callback NAME` makes it with the study's directory. `disentangle_bench.run(..., callbacks=[...])` takes
objects. docs/callbacks.md has an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.specs import RunSpec

METHODS = ("started", "step", "finished", "failed")


class Callback(Protocol):
    """What a callback has. A subclass leaves out what it does not need.

    All methods are called in the process that leads the study, one after the other, whoever trains.
    """

    def started(self, run: RunSpec) -> None:
        """The run begins, or goes on from its checkpoint."""

    def step(self, run: RunSpec, step: int, losses: Mapping[str, float]) -> None:
        """The means of losses since the last call, at most 200 times a run; again for steps since a checkpoint."""

    def finished(self, run: RunSpec, scores: Mapping[str, float | None]) -> None:
        """The run is trained, scored and saved."""

    def failed(self, run: RunSpec, reason: str) -> None:
        """The run has no result."""


def make_callbacks(names: Iterable[str], study: Path) -> list[Callback]:
    """The callbacks of these names, or "module:Class", for a study's directory.

    Raises BenchError for an unknown name, a missing library, and for what is no callback.
    """
    found = []
    for name in names:
        made = registry.resolve("callback", name)
        try:
            callback = made(study)
        except BenchError:
            raise
        except (Exception, SystemExit) as error:  # anyone's code
            raise BenchError(f"callback {name!r} cannot be made: {type(error).__name__}: {error}") from error
        lacks = [method for method in METHODS if not callable(getattr(callback, method, None))]
        if lacks:
            raise BenchError(f"callback {name!r} lacks {', '.join(lacks)}; make it a subclass of Callback")
        found.append(callback)
    return found


def missing(name: str, package: str) -> BenchError:
    """The error for a callback whose library is not installed."""
    return BenchError(f"--callback {name} needs {package}, which is not installed: pip install '{package}'")


def settings_of(run: RunSpec) -> dict[str, Any]:
    """What is set of a run, as a logger shows it."""
    own = {"dataset": run.dataset.label, "model": run.model, "seed": run.seed}
    return own | run.hypers | run.options | run.training.model_dump() | {"latents": run.network.latents}


def measured(scores: Mapping[str, float | None]) -> dict[str, float]:
    """The scores that the run has, as a logger shows them: `scores/mig`."""
    return {f"scores/{name}": value for name, value in scores.items() if value is not None}
