"""A study from grid to leaderboard: read this file first.

grid --spec.expand--> runs --plan--> those still to do --train.plan--> stacks --launch.job--> trained, encoded, scored
     --rundir--> results/<study>/runs/<id>/ --report--> scores.csv, leaderboard.csv, tradeoff.png

Several processes may run one study at once: each claims what it works on, and leaves alone what others have claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from disentangle_bench import registry
from disentangle_bench.data.download import get_missing
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import default_data_dir, find_source, load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.launch.calibrate import calibrate
from disentangle_bench.launch.checks import check_headlines, check_pairs, check_study
from disentangle_bench.launch.claims import Claims
from disentangle_bench.launch.job import load_run, score_model
from disentangle_bench.launch.local import run_here
from disentangle_bench.launch.ray_cluster import Cluster, run_on_cluster
from disentangle_bench.launch.reported import Reported
from disentangle_bench.launch.work import Work
from disentangle_bench.progress import Progress, Silent
from disentangle_bench.report.study import write_tables
from disentangle_bench.rundir import FAILED, StudyDir, writing
from disentangle_bench.scoring import givers, named_metrics, refuse_keys
from disentangle_bench.spec import DatasetSpec, Grid, RunSpec, expand, read_grid
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.device import pick_device
from disentangle_bench.train.precision import automatic
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
    """How a study ended: where it is, how many of its runs are done and have failed, and metrics that raised.

    `left` runs are not done, because other processes work on them.
    """

    path: Path
    done: int
    failed: int
    left: int
    metric_failures: Mapping[str, str]


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


def settled(grid: Grid, study: StudyDir, device: str, tell: Callable[[str], None]) -> Grid:
    """The grid with a precision in the place of "auto", of which `tell` gets a line.

    That is what the study's own grid has, wherever it was begun: runs of one study are not of two precisions. A new
    study takes what suits the device.
    """
    if not grid.training.open:
        return grid
    precision = study.precision()
    reason = f"as {study.path} was begun with"
    if precision is None:
        precision = automatic(device)
        reason = f"{device} has {'' if precision == 'bfloat16' else 'no '}instructions for bfloat16"
    tell(f'training.precision = "auto" stands for {precision}: {reason}')
    return grid.model_copy(update={"training": grid.training.model_copy(update={"precision": precision})})


def run_study(
    grid: Grid, study: StudyDir, conditions: Conditions, progress: Progress, *, train: bool = True
) -> Outcome:
    """The grid's runs trained, scored and kept in `study`, stack after stack, and the tables rebuilt from them.

    With `train=False` only the finished runs are scored with the metrics that they lack.
    """
    grid = settled(grid, study, str(conditions.device), progress.note)
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


def rebuild_tables(study: StudyDir, claims: Claims) -> None:
    """Write the study's tables and figures from its runs, after whoever else does so at this moment."""
    with claims.tables(), writing(study.path):
        write_tables(study)


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


def outcome(runs: Sequence[RunSpec], study: StudyDir, shard: tuple[int, int] = (1, 1)) -> Outcome:
    """How these runs, or those of one shard, stand in this study."""
    specs = [spec for spec in runs if in_shard(spec, shard)]
    records = [study.load(spec.id) for spec in specs if study.status(spec.id)]
    failures: dict[str, str] = {}
    for entry in study.controls():
        failures |= entry["failures"]
    for record in records:
        failures |= record.scores.get("failures", {})
    failed = sum(record.failure is not None for record in records)
    return Outcome(study.path, len(records) - failed, failed, len(specs) - len(records), failures)


def plan(
    grid: Grid,
    study: StudyDir,
    retry_failed: bool = False,
    shard: tuple[int, int] = (1, 1),
    specs: Sequence[RunSpec] | None = None,
) -> Plan:
    """What is done, what has failed and what is still to do of the grid, or of one shard, in this study directory.

    `specs` are other runs in place of the grid's, which says what they are scored with.
    """
    train, score, done, failed = [], [], [], []
    for spec in expand(grid) if specs is None else specs:
        if not in_shard(spec, shard):
            continue
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


def all_runs(grid: Grid, study: StudyDir, allow: Collection[str] = ()) -> tuple[RunSpec, ...]:
    """The grid's runs, then what the study holds beyond: a smaller or other grid was run in it since.

    Raises BenchError where one of these is of a model or data set that neither the grid nor `allow` names.
    """
    asked = expand(grid)
    others = tuple(study.others({spec.id for spec in asked}))
    named = {*allow, *(model.name for model in grid.models), *(dataset.name for dataset in grid.datasets)}
    for spec in others:
        registry.check_allowed("model", spec.model, named)
        registry.check_allowed("data set", spec.dataset.name, named)
    return (*asked, *others)


def in_shard(spec: RunSpec, shard: tuple[int, int]) -> bool:
    """Whether the run falls to the i-th of n shards (i, n); decided by the run alone, so that a grid can grow."""
    number, count = shard
    return int(spec.digest, 16) % count == number - 1


def missing_metrics(spec: RunSpec, grid: Grid, study: StudyDir, retry_failed: bool) -> list[str]:
    """The grid's metrics that a finished run has not been scored with, all of them if it was scored differently.

    A metric whose revision or source has changed since counts as missing; one that raised before if `retry_failed`.
    """
    kept = study.load(spec.id).scores
    if kept["scoring"] != grid.scoring.model_dump():
        return list(grid.metrics)
    now = {name: (m.revision, m.source) for name, m in named_metrics(grid.metrics).items()}
    scored = {
        name
        for name, about in kept["metrics"].items()
        if (about["revision"], about.get("source")) == now.get(name)
    }
    tried = scored if retry_failed else scored | kept["failures"].keys()
    return [name for name in grid.metrics if name not in tried]


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


def missing_controls(grid: Grid, study: StudyDir, retry_failed: bool) -> list[DatasetSpec]:
    """The data sets whose control codes are not scored as this grid asks; those with failures too if `retry_failed`."""
    asked = controls_asked(grid)
    entries = [entry for entry in study.controls() if not (retry_failed and entry["failures"])]
    kept = {entry["dataset"]: entry["asked"] for entry in entries}
    return [spec for spec in grid.datasets if grid.controls and kept.get(spec.label) != asked]


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


def controls_asked(grid: Grid) -> dict[str, Any]:
    """What decides the controls' scores: when it changes, they are scored again."""
    asked = {"metrics": list(grid.metrics), "points": grid.scoring.points, "seeds": list(grid.seeds)}
    sources = {name: m.source for name, m in named_metrics(grid.metrics).items() if m.source is not None}
    return asked | ({"sources": sources} if sources else {})


def check_same_data(grid: Grid, study: StudyDir) -> None:
    """Raise BenchError where the directory holds a study of other data, as another grid of the same name makes one."""
    kept = [DatasetSpec(name=name) for name in study.dataset_names()]
    asked = [DatasetSpec(name=dataset.name) for dataset in grid.datasets]
    apart = bool(kept) and not any(dataset in kept for dataset in asked)
    namesakes = {dataset.short_name for dataset in kept if dataset not in asked} & {
        dataset.short_name for dataset in asked if dataset not in kept
    }
    if apart or namesakes:
        there, here = (", ".join(dataset.name for dataset in datasets) for datasets in (kept, asked))
        raise BenchError(
            f"{study.path} holds a study of {there}; this grid is of {here}. Give the grid another name, or another"
            " directory with --out"
        )


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


def default_study(grid: Grid) -> Path:
    """Where a grid's study goes when nobody says."""
    return Path("results") / grid.name
