"""TensorBoard: an event file for each run in STUDY/tensorboard/<run>, which grows while the run trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from disentangle_bench.callbacks import Callback, measured, missing
from disentangle_bench.specs import RunSpec


class TensorBoard(Callback):
    """Writes losses and scores as scalars. `folder` stands in the place of STUDY/tensorboard."""

    def __init__(self, study: Path, folder: Path | None = None) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise missing("tensorboard", "disentangle_bench[tensorboard]") from error
        self.folder = folder or study / "tensorboard"
        self._event, self._summary, self._writer = Event, Summary, EventFileWriter
        self._open: dict[str, Any] = {}

    def started(self, run: RunSpec) -> None:
        """Open the run's file; a run that goes on gets a further one, which TensorBoard shows as the same run."""
        self._close(run)
        self._open[run.id] = self._writer(str(self.folder / run.id))

    def step(self, run: RunSpec, step: int, losses: Mapping[str, float]) -> None:
        """A point of each curve, on disk at once."""
        values = [self._summary.Value(tag=tag, simple_value=value) for tag, value in losses.items()]
        self._open[run.id].add_event(self._event(step=step, summary=self._summary(value=values)))
        self._open[run.id].flush()

    def finished(self, run: RunSpec, scores: Mapping[str, float | None]) -> None:
        """The scores, at the last step."""
        self.step(run, run.training.steps, measured(scores))
        self._close(run)

    def failed(self, run: RunSpec, reason: str) -> None:
        """The curves end where they are."""
        self._close(run)

    def _close(self, run: RunSpec) -> None:
        if run.id in self._open:
            self._open.pop(run.id).close()
