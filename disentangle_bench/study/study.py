"""A study from grid to leaderboard: read this file first.

grid --grid_file--> runs --study.plan--> those still to do --train.plan--> stacks --study.job--> records
     (by a launcher: a process a core, this device, a Ray cluster)
     --records--> results/<study>/runs/<id>/ --report--> scores.csv, leaderboard.csv, tradeoff.png

Several processes may run one study at once: each claims what it works on, and leaves alone what others have claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from disentangle_bench.data.download import get_missing
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import default_data_dir, find_source, load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.controls import Calibration, calibrate
from disentangle_bench.evaluation.models import Scoring
from disentangle_bench.evaluation.scores import TRANSFER, on
from disentangle_bench.grid import Grid, expand
from disentangle_bench.precision import automatic
from disentangle_bench.processes.cores import Cores, count_cores
from disentangle_bench.progress import PhasesOf, Progress, Silent
from disentangle_bench.records.costs import Costs
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import DatasetSpec, RunSpec
from disentangle_bench.stop import Stopped
from disentangle_bench.study.calls import Calls
from disentangle_bench.study.checks import check_pairs, check_study
from disentangle_bench.study.claims import Claims
from disentangle_bench.study.core_tasks import ControlTasks, StudyTask
from disentangle_bench.study.evaluation import Evaluation
from disentangle_bench.study.finished import rebuild_tables
from disentangle_bench.study.launchers import Launcher
from disentangle_bench.study.launchers.cores import OnCores, do_tasks
from disentangle_bench.study.launchers.here import Here
from disentangle_bench.study.opened import OpenStudy
from disentangle_bench.study.options import Jobs, Options
from disentangle_bench.study.plan import (
    Outcome,
    Plan,
    all_runs,
    check_headlines,
    check_same_data,
    missing_controls,
    outcome,
    plan,
)
from disentangle_bench.study.reported import Reported
from disentangle_bench.study.tasks import Data
from disentangle_bench.study.work import Work
from disentangle_bench.train.batches import Batches

LONG = 10_000  # steps of a run that is worth a word about cores


class Study:
    """The runs of a grid, in a directory. `train` does what is missing; so does `evaluate`, without training."""

    def __init__(
        self, grid: Grid, directory: StudyDir, options: Options, progress: Progress | None = None
    ) -> None:
        self.directory = directory
        self.options = options
        self.progress = progress or Silent()
        self.grid = settled(grid, directory, str(options.device), self.progress.note)

    def train(self) -> Outcome:
        """Train and score the grid's runs, stack after stack, score what lacks a metric, and rebuild the tables."""
        for sentence in check_study(self.grid):
            self.progress.note(sentence)
        return self._work_on(expand(self.grid), {}, train=True)

    def evaluate(self) -> Outcome:
        """Score the finished runs, of this grid and of others, with the metrics that they lack; nothing is trained."""
        check_headlines(self.grid)
        unreadable: dict[str, str] = {}
        return self._work_on(
            all_runs(self.grid, self.directory, self.options.allow, unreadable), unreadable, train=False
        )

    def _work_on(self, runs: Sequence[RunSpec], unreadable: dict[str, str], train: bool) -> Outcome:
        """The work on these runs, around which claims are held, and after which the tables are rebuilt."""
        grid, directory, options = self.grid, self.directory, self.options
        check_same_data(grid, directory)
        todo = plan(grid, directory, options.retry_failed, options.shard, runs)
        unreadable |= todo.unreadable
        for reason in unreadable.values():
            self.progress.note(reason)
        untrained = todo.train if train else ()
        # All data sets are ready before anything is written and the first step is spent.
        controls = missing_controls(grid, directory, options.retry_failed)
        datasets = self._load(todo, untrained, controls)
        directory.create()
        claims = Claims(directory)
        calls = Calls(options.callbacks, untrained, self.progress.note)
        reported = Reported(self.progress, directory, untrained, todo.costs, calls)
        opened = OpenStudy(grid, directory, options, reported, claims)
        opened.calls = calls
        opened.datasets, opened.unreadable = datasets, unreadable
        evaluation = Evaluation(opened, controls, todo.score)
        with claims.working():
            directory.write_grid(grid)  # not before: another process could take it for what a killed one left
            try:
                before, now = todo.before, len(untrained) + len(todo.score)
                if before and now:
                    self.progress.note(f"{before} of {before + now} runs were finished before")
                with reported.study(before + now + len(controls), before):
                    self._do(evaluation, Work(untrained, opened), todo.costs)
            except Stopped:
                self._rebuild(claims)
                raise
            self._rebuild(claims)
        return outcome(runs, directory, options.shard, opened.unreadable)

    def _rebuild(self, claims: Claims) -> None:
        """Rebuild the tables, unless all runs are in the hands of others, who are not ready."""
        if self.directory.has_runs():
            rebuild_tables(self.directory, claims)

    def _do(self, evaluation: Evaluation, work: Work, costs: Costs) -> None:
        """Evaluate and train, and save every record."""
        launcher = self._launcher(evaluation, work)
        progress = work.study.progress
        with closing(launcher.run(work, progress, self.options.stop)) as records:
            for record in records:
                work.save(record)
                costs.add(record)
                progress.run_finished(record.spec.id, record.failure)
                work.study.calls.ended(record)

    def _launcher(self, evaluation: Evaluation, work: Work) -> Launcher:
        """Who trains. What is evaluated without training is done first, on this machine."""
        options = self.options
        if options.on_cores:
            assert options.jobs is not None
            note_idle_cores(work.specs, options.jobs, self.progress)
            # Processes share what was at hand before they were forked.
            used = [*evaluation.controls, *(run.dataset for run in (*evaluation.runs, *work.specs))]
            for spec in {spec.label: spec for spec in used}.values():
                work.study.data(spec)
                for other in self.grid.scored_on(spec):
                    work.study.data(other)
            return OnCores(options.jobs, evaluation.tasks(), evaluation.count())
        evaluation.here()
        return options.launcher or Here()

    def _load(
        self, todo: Plan, untrained: Sequence[RunSpec], controls: Sequence[DatasetSpec]
    ) -> dict[str, FactorDataset]:
        """The data sets that the work needs, by label, on the CPU; BenchError for what does not fit them."""
        runs = (*todo.score, *untrained)
        needed = {spec.label: spec for spec in [*(run.dataset for run in runs), *controls]}
        for entry in list(needed.values()):
            needed |= {other.label: other for other in self.grid.scored_on(entry)}
        datasets = {label: load(spec, self.progress, self.options.data_dir) for label, spec in needed.items()}
        for label, entry in needed.items():
            Batches(entry, datasets[label])  # says now what of the entry does not fit the data
        check_same_pixels((*todo.done, *todo.score), self.directory, datasets)
        for spec in {spec.program: spec for spec in runs}.values():
            check_pairs(spec, datasets[spec.dataset.label])
        return datasets


def settled(grid: Grid, study: StudyDir, device: str, note: Callable[[str], None]) -> Grid:
    """The grid with a precision in the place of "auto", of which `note` gets a line.

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
    note(f'training.precision = "auto" stands for {precision}: {reason}')
    return grid.model_copy(update={"training": grid.training.model_copy(update={"precision": precision})})


def note_idle_cores(untrained: Sequence[RunSpec], jobs: Jobs, progress: Progress) -> None:
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


def calibrated(
    spec: DatasetSpec,
    dataset: FactorDataset,
    scoring: Scoring,
    seeds: Sequence[int],
    options: Options,
    progress: Progress,
) -> Calibration:
    """What metrics say of the controls of a data set, whatever any study has kept of them."""
    with progress.study(runs=1):
        if not options.on_cores:
            progress.run_started([spec.name])
            resident = dataset.to(options.device)
            found = calibrate(resident, scoring, seeds, PhasesOf(progress, [spec.name]), options.stop)
            progress.run_finished(spec.name, None)
            return found
        assert options.jobs is not None
        whole = ControlTasks(spec.name, seeds, progress, lambda found: progress.run_finished(spec.name, None))
        data = Data(spec, options.data_folder.absolute(), dataset.fingerprint)
        data.hold(dataset)
        with Cores[StudyTask](options.jobs.processes(len(seeds))) as cores:
            for _ in do_tasks(whole.tasks(scoring, data), cores, options.stop):
                pass
        return whole.together()


def check_same_pixels(
    specs: Sequence[RunSpec], study: StudyDir, datasets: Mapping[str, FactorDataset]
) -> None:
    """Raise BenchError where finished runs saw, or were scored on, other content of somebody's file than it has now."""
    own = {label: dataset for label, dataset in datasets.items() if dataset.provenance == "user"}
    for spec in specs if own else ():
        record = study.load(spec.id)
        kept = [(spec.dataset.label, spec.dataset.name, "trained", record.provenance["data"]["fingerprint"])]
        for key, about in record.scores["metrics"].items():
            if "data_fingerprint" in about:
                label = key.removeprefix(on(TRANSFER, ""))
                kept.append((label, label, "scored", about["data_fingerprint"]))
        for label, name, what, fingerprint in kept:
            if label in own and own[label].fingerprint != fingerprint:
                raise BenchError(
                    f"{name} has changed since {study.run_path(spec.id)} was {what} on it; put the old content back,"
                    " or run the grid into another directory with --out"
                )


def load(spec: DatasetSpec, progress: Progress, data_dir: str | Path | None) -> FactorDataset:
    """The data set of a grid's entry, on the CPU; the published file is downloaded first if it is not there."""
    folder = Path(data_dir) if data_dir is not None else default_data_dir()
    get_missing(find_source(spec.name, spec.parameters), folder, notify=progress.preparing)
    return load_dataset(
        spec.name,
        parameters=spec.parameters,
        every=spec.every,
        size=spec.size,
        data_dir=folder,
        notify=progress.preparing,
    )
