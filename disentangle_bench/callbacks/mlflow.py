"""MLflow: a run there for each run here, in an experiment of the study's name."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from disentangle_bench.callbacks import Callback, measured, missing, settings_of
from disentangle_bench.specs import RunSpec

TAG = "disentangle_bench_run"  # by which a run that goes on is found again


class MLflow(Callback):
    """Logs settings as parameters, losses and scores as metrics, where MLFLOW_TRACKING_URI says."""

    def __init__(self, study: Path) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
        except ImportError as error:
            raise missing("mlflow", "mlflow") from error
        self._metric, self._param = Metric, Param
        # The client has no run of its own: the runs of a stack are open side by side.
        self.client = MlflowClient()
        name = study.resolve().name
        there = self.client.get_experiment_by_name(name)
        self.experiment = self.client.create_experiment(name) if there is None else there.experiment_id
        self._open: dict[str, str] = {}

    def started(self, run: RunSpec) -> None:
        """Begin a run, or go on with it."""
        found = self.client.search_runs([self.experiment], f"tags.{TAG} = '{run.id}'")
        made = (
            found[0]
            if found
            else self.client.create_run(self.experiment, tags={TAG: run.id}, run_name=run.id)
        )
        self._open[run.id] = made.info.run_id
        params = [self._param(key, str(value)) for key, value in settings_of(run).items()]
        self.client.log_batch(made.info.run_id, params=params)

    def step(self, run: RunSpec, step: int, losses: Mapping[str, float]) -> None:
        """Log the losses."""
        now = int(time.time() * 1000)
        metrics = [self._metric(key, value, now, step) for key, value in losses.items()]
        self.client.log_batch(self._open[run.id], metrics=metrics)

    def finished(self, run: RunSpec, scores: Mapping[str, float | None]) -> None:
        """The scores, and the end."""
        self.step(run, run.training.steps, measured(scores))
        self.client.set_terminated(self._open.pop(run.id), status="FINISHED")

    def failed(self, run: RunSpec, reason: str) -> None:
        """The reason, and the end."""
        self.client.set_tag(self._open[run.id], "failure", reason)
        self.client.set_terminated(self._open.pop(run.id), status="FAILED")
