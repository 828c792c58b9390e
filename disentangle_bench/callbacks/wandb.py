"""Weights & Biases: a run there for each run here, in a project of the study's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disentangle_bench.callbacks import Callback, measured, missing, settings_of
from disentangle_bench.specs import RunSpec

LONGEST = 128  # characters of an id there


class WandB(Callback):
    """Logs losses as they come, and scores in the run's summary. Its files are in STUDY/wandb."""

    def __init__(self, study: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing("wandb", "wandb") from error
        self.init = wandb.init
        self.study = study
        self._open: dict[str, Any] = {}

    def started(self, run: RunSpec) -> None:
        """Begin a run, or go on with it. The runs of a stack are open side by side."""
        if run.id not in self._open:
            self._open[run.id] = self.init(
                project=self.study.resolve().name,
                dir=str(self.study),
                id=run.id[-LONGEST:],
                name=run.id,
                group=run.model,
                config=settings_of(run),
                resume="allow",
                reinit="create_new",
                settings={"silent": True, "console": "off"},  # the terminal shows the study
            )

    def step(self, run: RunSpec, step: int, losses: Mapping[str, float]) -> None:
        """Log the losses."""
        self._open[run.id].log(dict(losses), step=step)

    def finished(self, run: RunSpec, scores: Mapping[str, float | None]) -> None:
        """The scores, and the end."""
        there = self._open.pop(run.id)
        there.summary.update(measured(scores))
        there.finish()

    def failed(self, run: RunSpec, reason: str) -> None:
        """The reason, and the end."""
        there = self._open.pop(run.id)
        there.summary.update({"failure": reason})
        there.finish(exit_code=1)
