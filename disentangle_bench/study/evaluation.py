"""What is measured again without training: the controls of data sets, and finished runs that lack a metric."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.controls import Calibration, calibrate
from disentangle_bench.evaluation.load import load_run
from disentangle_bench.evaluation.models import score_model
from disentangle_bench.evaluation.scores import givers, refuse_keys
from disentangle_bench.progress import PhasesOf
from disentangle_bench.specs import DatasetSpec, RunSpec
from disentangle_bench.study import tasks
from disentangle_bench.study.core_tasks import ControlTasks, ScoreTask, StudyTask
from disentangle_bench.study.opened import OpenStudy
from disentangle_bench.study.plan import controls_asked, missing_controls, missing_metrics, revisions


@dataclass(frozen=True)
class Evaluation:
    """Controls to score, and finished runs to score again."""

    study: OpenStudy
    controls: Sequence[DatasetSpec]
    runs: Sequence[RunSpec]

    def here(self) -> None:
        """Do all of it in this process, on its device, one data set after the other."""
        device = self.study.options.device
        for label, dataset in self.study.datasets.items():
            runs = [run for run in self.runs if run.dataset.label == label]
            controls = [spec for spec in self.controls if spec.label == label]
            if controls or runs:
                resident = dataset.to(device)  # gone from there before training brings its own
                for spec in controls:
                    self._score_controls(spec, resident)
                for run in runs:
                    self._score_run(run, resident)

    def tasks(self) -> Iterator[StudyTask]:
        """A task for each seed of the controls and for each run; each is claimed when it is asked for."""
        for spec in self.controls:
            yield from self._control_tasks(spec)
        for run in self.runs:
            yield from self._score_tasks(run)

    def count(self) -> int:
        """How many tasks there are at most."""
        return len(self.controls) * len(self.study.grid.seeds) + len(self.runs)

    def _score_run(self, run: RunSpec, dataset: FactorDataset) -> None:
        """Score a finished run from its weights, with the metrics that it lacks."""
        study = self.study
        study.options.stop.check()
        missing = self._claim_run(run)
        if not missing:
            return
        try:
            path = study.directory.run_path(run.id)
            model = load_run(path, device=str(dataset.device), allow=(run.model,))
        except BenchError as error:
            study.leave_out(run.id, str(error))
        else:
            study.progress.run_started([run.id])
            phases = PhasesOf(study.progress, [run.id])
            found = score_model(model, study.scoring_of(run, missing), dataset, phases)
            self._save_scores(run, found.scores, missing)
        study.claims.release([run.id])

    def _score_tasks(self, run: RunSpec) -> Iterator[StudyTask]:
        """The task that does the same in another process; none where nothing is missing."""
        study = self.study
        missing = self._claim_run(run)
        if not missing:
            return

        def save(found: dict[str, Any] | str) -> None:
            if isinstance(found, str):
                study.leave_out(run.id, found)
            else:
                self._save_scores(run, found, missing)
            study.claims.release([run.id])

        path = study.directory.run_path(run.id).absolute()
        call = (tasks.score, path, run.model, study.scoring_of(run, missing), study.data(run.dataset))
        yield ScoreTask(run.id, study.progress, save, *call)

    def _claim_run(self, run: RunSpec) -> list[str]:
        """The metrics that the run lacks, which is claimed then; nothing where another process works on it."""
        study = self.study
        claimed = study.claims.take([run.id])
        missing = []
        try:
            if claimed:
                kept = study.directory.load(run.id).scores
                retry = study.options.retry_failed
                missing = missing_metrics(kept, run, study.grid, revisions(study.grid), retry)
        except BenchError as error:
            study.leave_out(run.id, str(error))
        if not missing:
            study.claims.release(claimed)
        return missing

    def _save_scores(self, run: RunSpec, scores: dict[str, Any], metrics: Sequence[str]) -> None:
        """Keep a run's scores by these metrics beside what it has been scored with before."""
        directory = self.study.directory
        directory.save_scores(run.id, merged(directory.load(run.id).scores, scores, metrics))
        self.study.progress.run_finished(run.id, None)

    def _score_controls(self, spec: DatasetSpec, dataset: FactorDataset) -> None:
        """Score control codes on the data set, once a seed."""
        study, name = self.study, controls_name(spec)
        if self._claim_controls(spec):
            study.progress.run_started([name])
            phases = PhasesOf(study.progress, [name])
            found = calibrate(dataset, study.scoring(), study.grid.seeds, phases, study.options.stop)
            self._save_controls(spec, found)

    def _control_tasks(self, spec: DatasetSpec) -> Iterator[StudyTask]:
        """The tasks that do the same in other processes."""
        if self._claim_controls(spec):
            study = self.study
            whole = ControlTasks(
                controls_name(spec),
                study.grid.seeds,
                study.progress,
                lambda found: self._save_controls(spec, found),
            )
            yield from whole.tasks(study.scoring(), study.data(spec))

    def _claim_controls(self, spec: DatasetSpec) -> bool:
        """Whether the data set's controls are this process's to score."""
        study = self.study
        claimed = study.claims.take([controls_name(spec)])
        if claimed and spec in missing_controls(study.grid, study.directory, study.options.retry_failed):
            return True
        study.claims.release(claimed)
        return False

    def _save_controls(self, spec: DatasetSpec, found: Calibration) -> None:
        """Keep what metrics say of the data set's controls, with what decides it."""
        study, name = self.study, controls_name(spec)
        study.directory.save_controls(
            spec.label,
            {
                "asked": controls_asked(study.grid),
                "provenance": study.datasets[spec.label].provenance,
                "rows": found.rows,
                "failures": found.failures,
            },
        )
        study.progress.run_finished(name, None)
        study.claims.release([name])


def controls_name(spec: DatasetSpec) -> str:
    """What the controls of a data set are called in claims and in progress."""
    return f"controls on {spec.label}"


def merged(kept: Mapping[str, Any], scores: dict[str, Any], metrics: Collection[str]) -> dict[str, Any]:
    """The scores by these metrics beside those that a run was kept with, where both are of the same images."""
    if kept["scoring"] != scores["scoring"]:
        return scores
    others = {name: about for name, about in kept["metrics"].items() if name not in metrics}
    refuse_keys(scores, givers({"metrics": others}))
    # Metrics that were scored again may give other keys now.
    gone = givers(
        {"metrics": {name: kept["metrics"][name] for name in scores["metrics"] if name in kept["metrics"]}}
    )
    kept_scores = {key: value for key, value in kept["scores"].items() if key not in gone}
    scores["scores"] = kept_scores | scores["scores"]
    for part in ("metrics", "failures"):
        scores[part] = kept[part] | scores[part]
    for name in scores["metrics"]:
        scores["failures"].pop(name, None)
    if left_out := list(dict.fromkeys((*kept.get("left_out", ()), *scores.get("left_out", ())))):
        scores["left_out"] = left_out
    return scores
