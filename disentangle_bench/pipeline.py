"""A study from grid to leaderboard: read this file first.

grid --spec.expand--> runs --plan--> those still to do --train.plan--> stacks --launch.job--> trained, encoded, scored
     --rundir--> results/<study>/runs/<id>/ --report--> scores.csv, leaderboard.csv, tradeoff.png

Several processes may run one study at once: each claims what it works on, and leaves alone what others have claimed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from disentangle_bench.data.download import get_missing
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import default_data_dir, find_source, load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.finished import rebuild_tables
from disentangle_bench.launch.calibrate import calibrate
from disentangle_bench.launch.checks import check_pairs, check_study
from disentangle_bench.launch.claims import Claims
from disentangle_bench.launch.job import load_run, score_model
from disentangle_bench.launch.local import run_here
from disentangle_bench.launch.ray_cluster import Cluster, run_on_cluster
from disentangle_bench.launch.reported import Reported
from disentangle_bench.launch.work import Work
from disentangle_bench.plan import (
    Outcome,
    all_runs,
    check_headlines,
    check_same_data,
    controls_asked,
    default_study,
    missing_controls,
    missing_metrics,
    outcome,
    plan,
)
from disentangle_bench.progress import Progress, Silent
from disentangle_bench.rundir import StudyDir
from disentangle_bench.scoring import givers, refuse_keys
from disentangle_bench.spec import DatasetSpec, Grid, RunSpec, expand, read_grid
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.device import pick_device
from disentangle_bench.train.stop import Stop, Stopped


@dataclass(frozen=True)
class Conditions:
    """How a study is run; none of it decides a result beyond rounding.

    `stack_size`: runs that train together at most (None: as many as is best on a GPU, one on a CPU).
    `checkpoint_every`: seconds of training. `stop` may be asked to end the work early, which raises Stopped.
    `shard` (i, n): of n parts into which the grid's runs fall, the i-th, from 1. `metric_seconds`: what a metric may
    take for one run. `cluster`: the Ray cluster that trains, None for this process. `allow`: code beyond the grid that
    the study's runs may name.
    """

    device: torch.device
    stack_size: int | None = None
    checkpoint_every: float = 300.0
    stop: Stop = field(default_factory=Stop)
    retry_failed: bool = False
    data_dir: str | Path | None = None
    shard: tuple[int, int] = (1, 1)
    metric_seconds: float | None = None
    cluster: Cluster | None = None
    allow: Collection[str] = ()


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
    if train:
        check_study(grid)
    else:
        check_headlines(grid)
    check_same_data(grid, study)
    specs = expand(grid) if train else all_runs(grid, study, conditions.allow)
    todo = plan(grid, study, conditions.retry_failed, conditions.shard, specs)
    runs = todo.score + (todo.train if train else ())
    # All data sets are ready before anything is written and the first step is spent.
    controls = missing_controls(grid, study, conditions.retry_failed)
    needed = {spec.label: spec for spec in [s.dataset for s in runs] + controls}
    datasets = {label: load(spec, progress, conditions.data_dir) for label, spec in needed.items()}
    for label, entry in needed.items():
        Batches(entry, datasets[label])  # says now what of the entry does not fit the data
    check_same_pixels(todo.done + todo.score, study, datasets)
    for spec in {spec.program: spec for spec in runs}.values():
        check_pairs(spec, datasets[spec.dataset.label])
    study.create()
    claims = Claims(study)
    reported = Reported(progress, study)
    with claims.working():
        study.write_grid(grid)  # not before: another process could take it for what a killed one left
        try:
            with reported.study(runs=len(runs) + len(controls)):
                for label, dataset in datasets.items():
                    unscored = [run for run in todo.score if run.dataset.label == label]
                    uncontrolled = label in [spec.label for spec in controls]
                    if uncontrolled or unscored:
                        add_missing(
                            label, unscored, uncontrolled, grid, study, dataset, conditions, claims, reported
                        )
                if train:
                    train_all(todo.train, grid, study, datasets, conditions, claims, reported)
        except Stopped:
            if any(study.status(spec.id) for spec in specs):
                rebuild_tables(study, claims)
            raise
        if not any(study.status(spec.id) for spec in specs):
            return outcome(specs, study, conditions.shard)  # all is in the hands of others, who are not ready
        rebuild_tables(study, claims)
    return outcome(specs, study, conditions.shard)


def train_all(
    specs: Sequence[RunSpec],
    grid: Grid,
    study: StudyDir,
    datasets: Mapping[str, FactorDataset],
    conditions: Conditions,
    claims: Claims,
    progress: Progress,
) -> None:
    """Train, score and keep these runs; those that have a checkpoint go on from it, first."""
    work = Work(
        specs, grid, study, claims, datasets,
        retry_failed=conditions.retry_failed, metric_seconds=conditions.metric_seconds,
        note=progress.note,
    )  # fmt: skip
    how: dict[str, Any] = {
        "together": conditions.stack_size,
        "checkpoint_every": conditions.checkpoint_every,
    }
    if conditions.cluster is None:
        records = run_here(work, progress, conditions.stop, device=conditions.device, **how)
    else:
        records = run_on_cluster(
            work, progress, conditions.stop,
            cluster=conditions.cluster, data_dir=conditions.data_dir, **how,
        )  # fmt: skip
    with closing(records):
        for record in records:
            work.save(record)
            progress.run_finished(record.spec.id, record.failure)


def add_missing(
    label: str,
    unscored: Sequence[RunSpec],
    uncontrolled: bool,
    grid: Grid,
    study: StudyDir,
    dataset: FactorDataset,
    conditions: Conditions,
    claims: Claims,
    progress: Progress,
) -> None:
    """Score what is not trained on this data set: its controls, and finished runs that lack a metric."""
    resident = dataset.to(conditions.device)  # gone from there before training brings its own
    if uncontrolled:
        add_controls(label, grid, study, resident, conditions, claims, progress)
    for run in unscored:
        add_scores(run, grid, study, resident, conditions, claims, progress)


def add_scores(
    spec: RunSpec,
    grid: Grid,
    study: StudyDir,
    dataset: FactorDataset,
    conditions: Conditions,
    claims: Claims,
    progress: Progress,
) -> None:
    """Score a finished run again from its weights, with the metrics that it lacks; nothing is trained."""
    conditions.stop.check()
    claimed = claims.take([spec.id])
    missing = missing_metrics(spec, grid, study, conditions.retry_failed) if claimed else []
    if missing:
        progress.run_started([spec.id])
        model = load_run(study.run_path(spec.id), device=str(dataset.device), allow=(spec.model,))
        scores = score_model(
            model, grid.scoring, missing, dataset, progress,
            seconds={}, metric_seconds=conditions.metric_seconds,
        )  # fmt: skip
        kept = study.load(spec.id).scores
        if kept["scoring"] == scores["scoring"]:
            others = {name: about for name, about in kept["metrics"].items() if name not in missing}
            refuse_keys(scores, givers({"metrics": others}))
            kept = {**kept, "scores": _without(kept, scores["metrics"])}
            for part in ("scores", "metrics", "failures"):
                scores[part] = kept[part] | scores[part]
            for name in scores["metrics"]:
                scores["failures"].pop(name, None)
        study.save_scores(spec.id, scores)
        progress.run_finished(spec.id, None)
    claims.release(claimed)


def _without(kept: Mapping[str, Any], metrics: Collection[str]) -> dict[str, Any]:
    """The kept scores without those of metrics that were scored again, which may give other keys now."""
    gone = givers({"metrics": {name: kept["metrics"][name] for name in metrics if name in kept["metrics"]}})
    return {key: value for key, value in kept["scores"].items() if key not in gone}


def add_controls(
    label: str,
    grid: Grid,
    study: StudyDir,
    dataset: FactorDataset,
    conditions: Conditions,
    claims: Claims,
    progress: Progress,
) -> None:
    """Score control codes on the data set once a seed, so that the leaderboard can show them beside the models."""
    name = f"controls on {label}"
    claimed = claims.take([name])
    missing = missing_controls(grid, study, conditions.retry_failed)
    if claimed and label in [spec.label for spec in missing]:
        progress.run_started([name])
        found = calibrate(
            dataset, grid.metrics, grid.scoring.points, grid.seeds, progress,
            conditions.metric_seconds, conditions.stop,
        )  # fmt: skip
        about = {"asked": controls_asked(grid), "provenance": dataset.provenance}
        study.save_controls(label, about | {"rows": found.rows, "failures": found.failures})
        progress.run_finished(name, None)
    claims.release(claimed)


def check_same_pixels(
    specs: Sequence[RunSpec], study: StudyDir, datasets: Mapping[str, FactorDataset]
) -> None:
    """Raise BenchError where finished runs saw other content of somebody's own file than it has now."""
    for spec in specs:
        dataset = datasets.get(spec.dataset.label)
        if dataset is None or dataset.provenance != "user":
            continue
        if study.load(spec.id).provenance["data"]["fingerprint"] != dataset.fingerprint:
            raise BenchError(
                f"{spec.dataset.name} has changed since {study.run_path(spec.id)} was trained on it; put the old"
                " content back, or run the grid into another directory with --out"
            )


def load(spec: DatasetSpec, progress: Progress, data_dir: str | Path | None) -> FactorDataset:
    """The data set of a grid's entry, on the CPU; the published file is downloaded first if it is not there."""
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    get_missing(find_source(spec.name), folder, notify=progress.preparing)
    return load_dataset(spec.name, every=spec.every, data_dir=folder, notify=progress.preparing)
