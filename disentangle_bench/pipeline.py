"""A study from grid to leaderboard: read this file first.

grid --spec.expand--> runs --plan--> those still to do --train.plan--> stacks --launch.job--> trained, encoded, scored
     (by one process a core: launch.on_cores; on a GPU: launch.local; on a cluster: launch.ray_cluster)
     --rundir--> results/<study>/runs/<id>/ --report--> scores.csv, leaderboard.csv, tradeoff.png

Several processes may run one study at once: each claims what it works on, and leaves alone what others have claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from disentangle_bench.data.download import get_missing
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import default_data_dir, find_source, load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.finished import rebuild_tables
from disentangle_bench.launch.calibrate import Calibration, calibrate
from disentangle_bench.launch.checks import check_pairs, check_study
from disentangle_bench.launch.claims import Claims
from disentangle_bench.launch.cores import Cores, count_cores
from disentangle_bench.launch.job import load_run, score_model
from disentangle_bench.launch.local import run_here
from disentangle_bench.launch.on_cores import (
    Controls,
    Jobs,
    Scoring,
    Undertaking,
    do_on_cores,
    train_on_cores,
)
from disentangle_bench.launch.ray_cluster import Cluster, run_on_cluster
from disentangle_bench.launch.reported import Reported
from disentangle_bench.launch.tasks import Data
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
    revisions,
)
from disentangle_bench.progress import Progress, Silent
from disentangle_bench.rundir import RunRecord, StudyDir
from disentangle_bench.scoring import givers, refuse_keys
from disentangle_bench.spec import DatasetSpec, Grid, RunSpec, expand, read_grid
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.device import pick_device
from disentangle_bench.train.precision import automatic
from disentangle_bench.train.stop import Stop, Stopped

LONG = 10_000  # steps of a run that is worth a word about cores


@dataclass(frozen=True)
class Conditions:
    """How a study is run; none of it decides a result beyond rounding.

    `stack_size`: runs that train together at most (None: as many as is best on a GPU, one on a CPU).
    `checkpoint_every`: seconds of training. `stop` may be asked to end the work early, which raises Stopped.
    `shard` (i, n): of n parts into which the grid's runs fall, the i-th, from 1. `metric_seconds`: what a metric may
    take for one run. `cluster`: the Ray cluster that trains, None for this machine. `allow`: code beyond the grid that
    the study's runs may name. `jobs`: the processes that work on a CPU's cores; None for this process alone.
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
    jobs: Jobs | None = None

    @property
    def on_cores(self) -> bool:
        """Whether processes of this machine's cores do the work."""
        return self.jobs is not None and self.cluster is None and self.device.type == "cpu"


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
    jobs: int | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> Outcome:
    """Run what is not done yet of the grid in the TOML file `grid`, and write its tables: what `bench run` does.

    The study directory is `out`, by default results/<grid name>. `overrides` are `key=value` texts such as
    "training.steps=500"; `seeds` N means seeds 0..N-1; `data_dir` is where data files are kept. After `time_limit`
    seconds a checkpoint is kept and Stopped raised; the same call goes on from there. Raises BenchError for a mistake
    in the grid or its surroundings. On a CPU `jobs` runs are trained at a time, each in a process of its own with
    `threads` threads; None stands for one a core. Another number of threads changes scores as another seed would.
    """
    checked = read_grid(Path(grid), overrides, seeds)
    study = StudyDir(Path(out) if out is not None else default_study(checked))
    conditions = Conditions(
        pick_device(device),
        stop=Stop(time_limit),
        retry_failed=retry_failed,
        data_dir=data_dir,
        jobs=Jobs(jobs, threads),
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
    unreadable: dict[str, str] = {}
    specs = expand(grid) if train else all_runs(grid, study, conditions.allow, unreadable)
    todo = plan(grid, study, conditions.retry_failed, conditions.shard, specs)
    unreadable |= todo.unreadable
    for reason in unreadable.values():
        progress.note(reason)
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
                work = Work(
                    todo.train if train else (), grid, study, claims, datasets,
                    retry_failed=conditions.retry_failed, metric_seconds=conditions.metric_seconds,
                    note=reported.note,
                )  # fmt: skip
                do = all_on_cores if conditions.on_cores else all_here
                unreadable |= do(controls, todo.score, work, conditions, reported)
        except Stopped:
            if study.has_runs():
                rebuild_tables(study, claims)
            raise
        if study.has_runs():  # not where all is in the hands of others, who are not ready
            rebuild_tables(study, claims)
    return outcome(specs, study, conditions.shard, unreadable)


def all_on_cores(
    controls: Sequence[DatasetSpec],
    unscored: Sequence[RunSpec],
    work: Work,
    conditions: Conditions,
    progress: Progress,
) -> dict[str, str]:
    """Score controls and runs that lack a metric, and train, score and keep those of `work`, in processes on all cores.

    Returns the runs that cannot be read, by id with the reason.
    """
    unreadable: dict[str, str] = {}
    assert conditions.jobs is not None
    grid, study, claims = work.grid, work.study, work.claims
    entries = {spec.label: spec for spec in (*controls, *(run.dataset for run in (*unscored, *work.specs)))}
    data = {label: data_of(spec, work.datasets[label], conditions) for label, spec in entries.items()}

    def save(record: RunRecord) -> None:
        work.save(record)
        progress.run_finished(record.spec.id, record.failure)

    undertakings = chain(
        controls_on_cores(controls, data, grid, study, conditions, claims, progress),
        scores_on_cores(unscored, data, grid, study, conditions, claims, progress, unreadable),
        train_on_cores(
            work, progress, save, data,
            together=conditions.stack_size, checkpoint_every=conditions.checkpoint_every,
        ),
    )  # fmt: skip
    tasks = len(controls) * len(grid.seeds) + len(unscored) + len(work.specs)
    processes = conditions.jobs.processes(tasks)
    say_of_idle_cores(work.specs, conditions.jobs, progress)
    with Cores[Undertaking](processes, conditions.jobs.threads) as cores:
        do_on_cores(undertakings, cores, conditions.stop)
    return unreadable


def say_of_idle_cores(untrained: Sequence[RunSpec], jobs: Jobs, progress: Progress) -> None:
    """A line where few long runs leave cores idle that they could share."""
    cores, runs = count_cores(), len(untrained)
    if (
        0 < runs <= cores // 2
        and jobs.threads == 1
        and any(spec.training.steps >= LONG for spec in untrained)
    ):
        what = "1 run has 1 core" if runs == 1 else f"{runs} runs have a core each"
        progress.note(
            f"{what} of {cores}; --threads {cores // runs} uses more, and changes scores as another seed would"
        )


def all_here(
    controls: Sequence[DatasetSpec],
    unscored: Sequence[RunSpec],
    work: Work,
    conditions: Conditions,
    progress: Progress,
) -> dict[str, str]:
    """The same in this process, on its device; a cluster trains, where there is one."""
    unreadable: dict[str, str] = {}
    grid, study, claims = work.grid, work.study, work.claims
    for label, dataset in work.datasets.items():
        runs = [run for run in unscored if run.dataset.label == label]
        uncontrolled = label in [spec.label for spec in controls]
        if uncontrolled or runs:
            resident = dataset.to(conditions.device)  # gone from there before training brings its own
            if uncontrolled:
                add_controls(label, grid, study, resident, conditions, claims, progress)
            for run in runs:
                reason = add_scores(run, grid, study, resident, conditions, claims, progress)
                unreadable |= {} if reason is None else {run.id: reason}
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
    return unreadable


def scores_on_cores(
    specs: Sequence[RunSpec],
    data: Mapping[str, Data],
    grid: Grid,
    study: StudyDir,
    conditions: Conditions,
    claims: Claims,
    progress: Progress,
    unreadable: dict[str, str],
) -> Iterator[Undertaking]:
    """A task for each finished run that lacks a metric, claimed when it is asked for.

    A run that cannot be read is told and added to `unreadable`, by id with the reason.
    """
    now = revisions(grid)

    def odd(run_id: str, reason: str) -> None:
        unreadable[run_id] = reason
        progress.note(reason)

    for spec in specs:
        claimed = claims.take([spec.id])
        missing = []
        try:
            if claimed:
                missing = missing_metrics(study.load(spec.id).scores, grid, now, conditions.retry_failed)
        except BenchError as error:
            odd(spec.id, str(error))
        if not missing:
            claims.release(claimed)
            continue

        def save(found: dict[str, Any] | str, spec: RunSpec = spec, missing: Sequence[str] = missing) -> None:
            if isinstance(found, str):
                odd(spec.id, found)
            else:
                merge_scores(spec, found, missing, study)
            progress.run_finished(spec.id, None)
            claims.release([spec.id])

        yield Scoring(
            spec.id, progress, save,
            study.run_path(spec.id).absolute(), spec.model, missing, grid.scoring,
            data[spec.dataset.label], conditions.metric_seconds,
        )  # fmt: skip


def add_scores(
    spec: RunSpec,
    grid: Grid,
    study: StudyDir,
    dataset: FactorDataset,
    conditions: Conditions,
    claims: Claims,
    progress: Progress,
) -> str | None:
    """Score a finished run again from its weights, with the metrics that it lacks; nothing is trained.

    Returns the reason where the run cannot be read, which is told.
    """
    conditions.stop.check()
    claimed = claims.take([spec.id])
    if not claimed:
        return None
    try:
        kept = study.load(spec.id).scores
        missing = missing_metrics(kept, grid, revisions(grid), conditions.retry_failed)
        place = str(dataset.device)
        model = load_run(study.run_path(spec.id), device=place, allow=(spec.model,)) if missing else None
    except BenchError as error:
        claims.release(claimed)
        progress.note(str(error))
        return str(error)
    if model is not None:
        progress.run_started([spec.id])
        scores = score_model(
            model, grid.scoring, missing, dataset, progress,
            seconds={}, metric_seconds=conditions.metric_seconds,
        )  # fmt: skip
        merge_scores(spec, scores, missing, study)
        progress.run_finished(spec.id, None)
    claims.release(claimed)
    return None


def merge_scores(spec: RunSpec, scores: dict[str, Any], metrics: Sequence[str], study: StudyDir) -> None:
    """Keep a finished run's scores by these metrics beside what it has been scored with before."""
    kept = study.load(spec.id).scores
    if kept["scoring"] == scores["scoring"]:
        others = {name: about for name, about in kept["metrics"].items() if name not in metrics}
        refuse_keys(scores, givers({"metrics": others}))
        kept = {**kept, "scores": _without(kept, scores["metrics"])}
        for part in ("scores", "metrics", "failures"):
            scores[part] = kept[part] | scores[part]
        for name in scores["metrics"]:
            scores["failures"].pop(name, None)
    study.save_scores(spec.id, scores)


def _without(kept: Mapping[str, Any], metrics: Collection[str]) -> dict[str, Any]:
    """The kept scores without those of metrics that were scored again, which may give other keys now."""
    gone = givers({"metrics": {name: kept["metrics"][name] for name in metrics if name in kept["metrics"]}})
    return {key: value for key, value in kept["scores"].items() if key not in gone}


def controls_on_cores(
    specs: Sequence[DatasetSpec],
    data: Mapping[str, Data],
    grid: Grid,
    study: StudyDir,
    conditions: Conditions,
    claims: Claims,
    progress: Progress,
) -> Iterator[Undertaking]:
    """Tasks for the controls of each data set that lacks them, claimed when they are asked for."""
    for spec in specs:
        name = f"controls on {spec.label}"
        claimed = claims.take([name])
        if not claimed or spec not in missing_controls(grid, study, conditions.retry_failed):
            claims.release(claimed)
            continue

        def save(found: Calibration, name: str = name, spec: DatasetSpec = spec) -> None:
            save_controls(spec.label, found, grid, study, data[spec.label].provenance)
            progress.run_finished(name, None)
            claims.release([name])

        whole = Controls(name, grid.seeds, progress, save)
        yield from whole.tasks(grid.metrics, grid.scoring.points, data[spec.label], conditions.metric_seconds)


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
        save_controls(label, found, grid, study, dataset.provenance)
        progress.run_finished(name, None)
    claims.release(claimed)


def calibrated(
    spec: DatasetSpec,
    dataset: FactorDataset,
    metrics: Sequence[str],
    points: int | str,
    seeds: Sequence[int],
    conditions: Conditions,
    progress: Progress,
) -> Calibration:
    """What metrics say of the controls of a data set, whatever any study has kept of them."""
    with progress.study(runs=1):
        if not conditions.on_cores:
            progress.run_started([spec.name])
            resident = dataset.to(conditions.device)
            limit = conditions.metric_seconds
            found = calibrate(resident, metrics, points, seeds, progress, limit, conditions.stop)
            progress.run_finished(spec.name, None)
            return found
        assert conditions.jobs is not None
        whole = Controls(spec.name, seeds, progress, lambda found: progress.run_finished(spec.name, None))
        data = data_of(spec, dataset, conditions)
        tasks = whole.tasks(metrics, points, data, conditions.metric_seconds)
        with Cores[Undertaking](conditions.jobs.processes(len(seeds))) as cores:
            do_on_cores(tasks, cores, conditions.stop)
        return whole.together()


def data_of(spec: DatasetSpec, dataset: FactorDataset, conditions: Conditions) -> Data:
    """The data set as processes of this machine find it."""
    folder = Path(conditions.data_dir) if conditions.data_dir is not None else default_data_dir()
    data = Data(spec, folder.absolute(), dataset.fingerprint, dataset.provenance)
    data.hold(dataset)
    return data


def save_controls(label: str, found: Calibration, grid: Grid, study: StudyDir, provenance: str) -> None:
    """Keep what metrics say of the data set's controls, with what decides it."""
    about = {"asked": controls_asked(grid), "provenance": provenance}
    study.save_controls(label, about | {"rows": found.rows, "failures": found.failures})


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
