"""A study from grid to leaderboard: read this file first.

grid --spec.expand--> runs --plan--> those still to do --train.plan--> stacks --launch.job--> trained, encoded, scored
     --rundir--> results/<study>/runs/<id>/ --report--> scores.csv, leaderboard.csv, tradeoff.png
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from disentangle_bench.data.download import get_missing
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import default_data_dir, find_source, load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.launch.calibrate import calibrate
from disentangle_bench.launch.job import Job, check_fit, load_run, make_objective, run_job, score_model
from disentangle_bench.launch.reported import Reported
from disentangle_bench.progress import Progress, Silent
from disentangle_bench.report.study import write_tables
from disentangle_bench.rundir import FAILED, StudyDir
from disentangle_bench.scoring import named_metrics
from disentangle_bench.spec import DatasetSpec, Grid, RunSpec, expand, read_grid
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.checkpoint import Checkpoint
from disentangle_bench.train.plan import stack_size, stacks
from disentangle_bench.train.stop import Stop, Stopped


@dataclass(frozen=True)
class Plan:
    """What a study still needs: runs to train, finished runs that lack a metric; and what is done or has failed."""

    train: tuple[RunSpec, ...]
    score: tuple[RunSpec, ...]
    done: tuple[RunSpec, ...]
    failed: tuple[RunSpec, ...]

    @property
    def datasets(self) -> tuple[DatasetSpec, ...]:
        """The data sets that the work needs, in the grid's order."""
        return tuple({spec.dataset.label: spec.dataset for spec in self.train + self.score}.values())


@dataclass(frozen=True)
class Outcome:
    """How a study ended: where it is, how many of its runs are done and have failed, and metrics that raised."""

    path: Path
    done: int
    failed: int
    metric_failures: Mapping[str, str]


@dataclass(frozen=True)
class Conditions:
    """How a study is run; none of it decides a result beyond rounding.

    `stack_size`: runs that train together at most (None: as many as the device's memory holds, one on a CPU).
    `checkpoint_every`: seconds of training. `stop` may be asked to end the work early, which raises Stopped.
    """

    device: torch.device
    stack_size: int | None = None
    checkpoint_every: float = 300.0
    stop: Stop = field(default_factory=Stop)
    retry_failed: bool = False
    data_dir: str | Path | None = None


def run(
    grid: str | Path,
    out: str | Path | None = None,
    *,
    device: str = "auto",
    seeds: int | None = None,
    overrides: Sequence[str] = (),
    retry_failed: bool = False,
    data_dir: str | Path | None = None,
    time_limit: float | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run what is not done yet of the grid in the TOML file `grid`, and write its tables: what `bench run` does.

    The study directory is `out`, by default results/<grid name>. `overrides` are `key=value` texts such as
    "training.steps=500"; `seeds` N means seeds 0..N-1; `data_dir` is where data files are kept. After `time_limit`
    seconds a checkpoint is kept and Stopped raised; the same call goes on from there. Raises BenchError for a mistake
    in the grid or its surroundings.
    """
    checked = read_grid(Path(grid), overrides, seeds)
    study = StudyDir(Path(out) if out is not None else default_study(checked))
    conditions = Conditions(
        pick_device(device), stop=Stop(time_limit), retry_failed=retry_failed, data_dir=data_dir
    )
    return run_study(checked, study, conditions, progress or Silent())


def run_study(
    grid: Grid, study: StudyDir, conditions: Conditions, progress: Progress, *, train: bool = True
) -> Outcome:
    """The grid's runs trained, scored and kept in `study`, stack after stack, and the tables rebuilt from them.

    With `train=False` only the finished runs are scored with the metrics that they lack.
    """
    check_headlines(grid)
    todo = plan(grid, study, conditions.retry_failed)
    runs = todo.score + (todo.train if train else ())
    for spec in runs:
        check_fit(spec)
    # All data sets are ready before anything is written and the first step is spent.
    needed = {spec.label: spec for spec in [s.dataset for s in runs] + missing_controls(grid, study)}
    datasets = {label: load(spec, progress, conditions.data_dir) for label, spec in needed.items()}
    for label, entry in needed.items():
        Batches(entry, datasets[label])  # says now what of the entry does not fit the data
    study.create(grid)
    reported = Reported(progress, study)
    try:
        with reported.study(runs=len(runs)):
            for label, dataset in datasets.items():
                resident = dataset.to(conditions.device)
                if label in [spec.label for spec in missing_controls(grid, study)]:
                    add_controls(label, grid, study, resident, reported)
                for spec in (s for s in todo.score if s.dataset.label == label):
                    conditions.stop.check()
                    reported.run_started([spec.id])
                    add_scores(spec, grid, study, resident, reported, conditions.retry_failed)
                    reported.run_finished(spec.id, None)
                if train:
                    train_all(
                        [s for s in todo.train if s.dataset.label == label],
                        grid, study, resident, conditions, reported,
                    )  # fmt: skip
    except Stopped:
        if any(study.status(spec.id) for spec in expand(grid)):
            write_tables(study)
        raise
    write_tables(study)
    return outcome(grid, study)


def train_all(
    specs: Sequence[RunSpec],
    grid: Grid,
    study: StudyDir,
    dataset: FactorDataset,
    conditions: Conditions,
    progress: Progress,
) -> None:
    """Train, score and keep these runs of one data set; those that have a checkpoint go on from it, first."""
    resumed = resumable(specs, study, dataset.fingerprint)
    begun = {spec.id for stack, _ in resumed for spec in stack}
    fresh = stacks(
        [spec for spec in specs if spec.id not in begun],
        lambda group: conditions.stack_size or stack_size(make_objective(group[0], dataset), group, dataset),
    )

    def keep(checkpoint: Checkpoint) -> None:
        tensors = {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}
        study.save_checkpoint(checkpoint.about() | {"data": dataset.fingerprint}, tensors)

    for stack, path in [*resumed, *((stack, None) for stack in fresh)]:
        conditions.stop.check()
        progress.run_started([spec.id for spec in stack])
        resume = None if path is None else read_checkpoint(stack, study, path)
        job = Job(stack, grid.scoring, grid.metrics, resume)
        for record in run_job(
            job, dataset, progress,
            keep=keep, checkpoint_every=conditions.checkpoint_every, stop=conditions.stop,
        ):  # fmt: skip
            study.save(record)
            progress.run_finished(record.spec.id, record.failure)
        study.drop_finished_checkpoints()


def resumable(
    specs: Sequence[RunSpec], study: StudyDir, fingerprint: str
) -> list[tuple[tuple[RunSpec, ...], Path]]:
    """The runs that checkpoints of these very data hold, together as they were, with the file that is furthest."""
    left = {spec.id: spec for spec in specs}
    kept = [(about, path) for about, path in study.checkpoints() if about.get("data") == fingerprint]
    found = []
    for about, path in sorted(kept, key=lambda entry: -int(entry[0]["step"])):
        stack = tuple(left.pop(run["id"]) for run in about["runs"] if run["id"] in left)
        if stack:
            found.append((stack, path))
    return found


def read_checkpoint(stack: Sequence[RunSpec], study: StudyDir, path: Path) -> Checkpoint:
    """Where these runs stood. Raises BenchError where the file is damaged."""
    about, arrays = study.load_checkpoint(path)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Checkpoint.from_parts(about, tensors).only([spec.id for spec in stack])


def outcome(grid: Grid, study: StudyDir) -> Outcome:
    """How the grid's runs stand in this study."""
    records = [study.load(spec.id) for spec in expand(grid) if study.status(spec.id)]
    failures: dict[str, str] = {}
    for record in records:
        failures |= record.scores.get("failures", {})
    failed = sum(record.failure is not None for record in records)
    return Outcome(study.path, len(records) - failed, failed, failures)


def plan(grid: Grid, study: StudyDir, retry_failed: bool = False) -> Plan:
    """What is done, what has failed and what is still to do of the grid in this study directory."""
    train, score, done, failed = [], [], [], []
    for spec in expand(grid):
        status = study.status(spec.id)
        if status is None or (status == FAILED and retry_failed):
            train.append(spec)
        elif status == FAILED:
            failed.append(spec)
        elif missing_metrics(spec, grid, study, retry_failed):
            score.append(spec)
        else:
            done.append(spec)
    return Plan(tuple(train), tuple(score), tuple(done), tuple(failed))


def missing_metrics(spec: RunSpec, grid: Grid, study: StudyDir, retry_failed: bool) -> list[str]:
    """The grid's metrics that a finished run has not been scored with, all of them if it was scored differently.

    A metric whose revision has changed since counts as missing; one that raised before does if `retry_failed`.
    """
    kept = study.load(spec.id).scores
    if kept["scoring"] != grid.scoring.model_dump():
        return list(grid.metrics)
    revisions = {name: metric.revision for name, metric in named_metrics(grid.metrics).items()}
    scored = {name for name, about in kept["metrics"].items() if about["revision"] == revisions.get(name)}
    tried = scored if retry_failed else scored | kept["failures"].keys()
    return [name for name in grid.metrics if name not in tried]


def add_scores(
    spec: RunSpec,
    grid: Grid,
    study: StudyDir,
    dataset: FactorDataset,
    progress: Progress,
    retry_failed: bool,
) -> None:
    """Score a finished run again from its weights, with the metrics that it lacks; nothing is trained."""
    missing = missing_metrics(spec, grid, study, retry_failed)
    model = load_run(study.runs / spec.id, device=str(dataset.device))
    scores = score_model(model, grid.scoring, missing, dataset, progress, seconds={})
    kept = study.load(spec.id).scores
    if kept["scoring"] == scores["scoring"]:
        for part in ("scores", "metrics", "failures"):
            scores[part] = kept[part] | scores[part]
        for name in scores["metrics"]:
            scores["failures"].pop(name, None)
    study.save_scores(spec.id, scores)


def missing_controls(grid: Grid, study: StudyDir) -> list[DatasetSpec]:
    """The data sets whose control codes have not been scored as this grid asks."""
    asked = controls_asked(grid)
    kept = {entry["dataset"]: entry["asked"] for entry in study.controls()}
    return [spec for spec in grid.datasets if grid.controls and kept.get(spec.label) != asked]


def add_controls(label: str, grid: Grid, study: StudyDir, dataset: FactorDataset, progress: Progress) -> None:
    """Score control codes on the data set once a seed, so that the leaderboard can show them beside the models."""
    progress.run_started([f"controls on {label}"])
    rows = [
        row
        for seed in grid.seeds
        for row in calibrate(dataset, grid.metrics, grid.scoring.points, seed, progress)
    ]
    study.save_controls(
        label, {"asked": controls_asked(grid), "provenance": dataset.provenance, "rows": rows}
    )


def controls_asked(grid: Grid) -> dict[str, Any]:
    """What decides the controls' scores: when it changes, they are scored again."""
    return {"metrics": list(grid.metrics), "points": grid.scoring.points, "seeds": list(grid.seeds)}


def check_headlines(grid: Grid) -> None:
    """Raise BenchError where two of the grid's metrics give the same score, which no table could tell apart."""
    givers: dict[str, str] = {}
    for name, metric in named_metrics(grid.metrics).items():
        for headline in metric.headlines:
            if headline in givers:
                raise BenchError(f"the metrics {givers[headline]!r} and {name!r} both give {headline!r}")
            givers[headline] = name


def load(spec: DatasetSpec, progress: Progress, data_dir: str | Path | None) -> FactorDataset:
    """The data set of a grid's entry, on the CPU; the published file is downloaded first if it is not there."""
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    get_missing(find_source(spec.name), folder, notify=progress.preparing)
    return load_dataset(spec.name, every=spec.every, data_dir=folder, notify=progress.preparing)


def default_study(grid: Grid) -> Path:
    """Where a grid's study goes when nobody says."""
    return Path("results") / grid.name


def pick_device(name: str) -> torch.device:
    """The device to train on; "auto" takes a GPU where there is one. BenchError for one that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise BenchError("there is no CUDA device that PyTorch can use; run with --device cpu")
    try:
        return torch.empty(0, device=name).device
    except RuntimeError as error:
        raise BenchError(f"PyTorch has no device {name!r}; use auto, cpu, cuda or cuda:N") from error
