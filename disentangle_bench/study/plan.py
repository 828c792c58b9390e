"""What a study is to hold, what it holds and what is still to do, found out without torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.scores import (
    TRANSFER,
    TRANSFER_REVISION,
    UNSEEN,
    UNSEEN_REVISION,
    named_metrics,
    on,
)
from disentangle_bench.grid import Grid, expand
from disentangle_bench.records.costs import Costs
from disentangle_bench.records.run_record import FAILED
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import DatasetSpec, RunSpec


@dataclass(frozen=True)
class Plan:
    """What a study still needs: runs to train, finished runs that lack a metric; and what is done or has failed.

    `unreadable` says of each run that is there and cannot be read, by its id, why; it is left alone. `costs` are those
    of the finished runs.
    """

    train: tuple[RunSpec, ...]
    score: tuple[RunSpec, ...]
    done: tuple[RunSpec, ...]
    failed: tuple[RunSpec, ...]
    unreadable: Mapping[str, str]
    costs: Costs = field(default_factory=Costs)

    @property
    def before(self) -> int:
        """How many runs were finished before, or have failed and are left alone."""
        return len(self.done) + len(self.failed)

    @property
    def datasets(self) -> tuple[DatasetSpec, ...]:
        """The data sets that the work needs, in the grid's order."""
        return tuple({spec.dataset.label: spec.dataset for spec in self.train + self.score}.values())


@dataclass(frozen=True)
class Outcome:
    """How a study ended: where it is, how many of its runs are done and have failed, and metrics that raised.

    `left` runs are not done, because other processes work on them. `unreadable` says of each run that cannot be read,
    by its id, why and what to do; it counts as neither done nor failed. `failures` says of each failed run, by its id,
    why it has no result.
    """

    path: Path
    done: int
    failed: int
    left: int
    metric_failures: Mapping[str, str]
    unreadable: Mapping[str, str]
    failures: Mapping[str, str] = field(default_factory=dict)


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
    now = revisions(grid)
    train, score, done, failed = [], [], [], []
    unreadable: dict[str, str] = {}
    costs = Costs()
    for spec in expand(grid) if specs is None else specs:
        if not in_shard(spec, shard):
            continue
        status = study.status(spec.id)
        if status is None or (status == FAILED and retry_failed):
            train.append(spec)
            continue
        try:
            record = study.load(spec.id)
        except BenchError as error:
            unreadable[spec.id] = str(error)
            continue
        costs.add(record)
        if status == FAILED:
            failed.append(spec)
        elif missing_metrics(record.scores, spec, grid, now, retry_failed):
            score.append(spec)
        else:
            done.append(spec)
    return Plan(tuple(train), tuple(score), tuple(done), tuple(failed), unreadable, costs)


def all_runs(
    grid: Grid, study: StudyDir, allow: Collection[str] = (), unreadable: dict[str, str] | None = None
) -> tuple[RunSpec, ...]:
    """The grid's runs, then what the study holds beyond: a smaller or other grid was run in it since.

    What cannot be read of the latter is added to `unreadable`, by id with the reason, and left out. Raises
    BenchError where one of the others is of a model or data set that neither the grid nor `allow` names.
    """
    asked = expand(grid)
    others = tuple(study.others({spec.id for spec in asked}, unreadable))
    named = {*allow, *(model.name for model in grid.models), *(dataset.name for dataset in grid.datasets)}
    for spec in others:
        registry.check_allowed("model", spec.model, named)
        registry.check_allowed("data set", spec.dataset.name, named)
    return (*asked, *others)


def in_shard(spec: RunSpec, shard: tuple[int, int]) -> bool:
    """Whether the run falls to the i-th of n shards (i, n); decided by the run alone, so that a grid can grow."""
    number, count = shard
    return int(spec.digest, 16) % count == number - 1


Revisions = Mapping[str, tuple[int, str | None]]


def revisions(grid: Grid) -> Revisions:
    """What the grid's metrics are now: revision and, where they are not this package's, hash of the source."""
    named = {name: (m.revision, m.source) for name, m in named_metrics(grid.metrics).items()}
    here = named | {UNSEEN: (UNSEEN_REVISION, None)}
    there = named | {TRANSFER: (TRANSFER_REVISION, None)}
    labels = {other.label for entry in grid.datasets for other in grid.scored_on(entry)}
    return here | {on(name, label): revision for label in labels for name, revision in there.items()}


def asked_metrics(grid: Grid, dataset: DatasetSpec) -> list[str]:
    """What runs on this data set are scored with: the grid's metrics, `UNSEEN` where combinations are held out.

    The grid's metrics and `TRANSFER` again for each further data set that the runs are scored on.
    """
    further = [
        on(name, other.label) for other in grid.scored_on(dataset) for name in (*grid.metrics, TRANSFER)
    ]
    return [*grid.metrics, *([UNSEEN] if dataset.holds_out else []), *further]


def missing_metrics(
    kept: Mapping[str, Any], spec: RunSpec, grid: Grid, now: Revisions, retry_failed: bool
) -> list[str]:
    """The metrics asked of this run that its kept scores lack, all of them if they are of other images.

    A metric whose revision or source has changed since counts as missing; one that raised before if `retry_failed`;
    one that was left out because it needs factors does not.
    """
    asked = asked_metrics(grid, spec.dataset)
    if kept["scoring"] != grid.scoring.model_dump():
        return asked
    scored = {
        name
        for name, about in kept["metrics"].items()
        if (about["revision"], about.get("source")) == now.get(name)
    }
    tried = scored if retry_failed else scored | kept["failures"].keys()
    settled = {*tried, *kept.get("left_out", ())}
    return [name for name in asked if name not in settled]


def missing_controls(grid: Grid, study: StudyDir, retry_failed: bool) -> list[DatasetSpec]:
    """The data sets whose control codes are not scored as this grid asks; those with failures too if `retry_failed`."""
    asked = controls_asked(grid)
    entries = [entry for entry in study.controls() if not (retry_failed and entry["failures"])]
    kept = {entry["dataset"]: entry["asked"] for entry in entries}
    return [spec for spec in grid.datasets if grid.controls and kept.get(spec.label) != asked]


def controls_asked(grid: Grid) -> dict[str, Any]:
    """What decides the controls' scores: when it changes, they are scored again."""
    asked = {"metrics": list(grid.metrics), "points": grid.scoring.points, "seeds": list(grid.seeds)}
    sources = {name: m.source for name, m in named_metrics(grid.metrics).items() if m.source is not None}
    return asked | ({"sources": sources} if sources else {})


def outcome(
    runs: Sequence[RunSpec],
    study: StudyDir,
    shard: tuple[int, int] = (1, 1),
    unreadable: Mapping[str, str] | None = None,
) -> Outcome:
    """How these runs, or those of one shard, stand in this study; `unreadable` are those that could not be read."""
    specs = [spec for spec in runs if in_shard(spec, shard)]
    odd = dict(unreadable or {})
    metrics: dict[str, str] = {}
    for entry in study.controls():
        metrics |= entry["failures"]
    done, failures = 0, {}
    for spec in specs:
        if spec.id in odd or not study.status(spec.id):
            continue
        try:
            record = study.load(spec.id)
        except BenchError as error:
            odd[spec.id] = str(error)
            continue
        metrics |= record.scores.get("failures", {})
        if record.failure is not None:
            failures[spec.id] = record.failure.splitlines()[0]
        done += record.failure is None
    left = len(specs) - done - len(failures) - sum(spec.id in odd for spec in specs)
    about = {"metric_failures": metrics, "unreadable": odd, "failures": failures}
    return Outcome(study.path, done, len(failures), left, **about)


def check_same_data(grid: Grid, study: StudyDir) -> None:
    """Raise BenchError where the directory holds a study of other data, as another grid of the same name makes one."""
    names = dict.fromkeys(study.dataset_names())
    asked = [DatasetSpec(name=dataset.name) for dataset in grid.datasets]
    if names and not all(dataset.name in names for dataset in asked):
        # The grid is that of the last command; the study may hold runs on more.
        names |= dict.fromkeys(spec.dataset.name for spec in study.others(()))
    kept = [DatasetSpec(name=name) for name in names]
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


def check_headlines(grid: Grid) -> None:
    """Raise BenchError where no table could tell a score apart: two metrics give it, or a setting has its name."""
    found: dict[str, str] = {}
    settings = {key for spec in expand(grid) for key in (*spec.hypers, *spec.options)}
    for name, metric in named_metrics(grid.metrics).items():
        for headline in metric.headlines:
            if headline in found:
                raise BenchError(f"the metrics {found[headline]!r} and {name!r} both give {headline!r}")
            if headline in settings:
                raise BenchError(
                    f"metric {name!r} gives the score {headline!r}, which is a setting of the grid's models:"
                    " name it otherwise"
                )
            found[headline] = name


def default_study(grid: Grid) -> Path:
    """Where a grid's study goes when nobody says."""
    return Path("results") / grid.name
