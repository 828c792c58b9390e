"""`bench run` and `bench validate`: a grid, run or checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench import registry
from disentangle_bench.cli import complete
from disentangle_bench.cli.group import main
from disentangle_bench.cli.options import (
    Duration,
    Shard,
    data_dir_option,
    grid_options,
    jobs_option,
    metric_limit_option,
    plugin_metrics,
    plugin_option,
    refuse_jobs,
    threads_option,
    with_metrics,
)
from disentangle_bench.cli.output import finish, make_progress, say
from disentangle_bench.cli.signals import stopping_politely
from disentangle_bench.errors import BenchError
from disentangle_bench.streams import go_on_unread

if TYPE_CHECKING:
    from disentangle_bench.grid import Grid
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.stop import Stop
    from disentangle_bench.study.launchers import Launcher
    from disentangle_bench.study.plan import Plan


@main.command("run")
@grid_options
@click.option(
    "--out", type=click.Path(path_type=Path), help="The study's directory.  [default: results/<grid name>]"
)
@click.option("--device", default="auto", show_default=True, help="Compute here: auto, cpu, cuda or cuda:N.")
@data_dir_option
@plugin_option
@click.option(
    "--time-limit", type=Duration(), help="Stop after this time (9m, 2h) with a checkpoint; exit code 75."
)
@click.option(
    "--checkpoint-every",
    type=Duration(),
    default="5m",
    show_default=True,
    help="Keep a checkpoint of training so often.",
)
@click.option(
    "--stack-size",
    type=click.IntRange(min=1),
    help="Train so many runs together.  [default: what a GPU's memory holds; 1 on a CPU]",
)
@jobs_option
@threads_option
@click.option(
    "--shard",
    type=Shard(),
    default="1/1",
    help="Run the i-th of n parts of the grid only (2/8), for arrays of batch jobs.",
)
@click.option(
    "--launcher",
    default="local",
    show_default=True,
    metavar="NAME",
    shell_complete=complete.names("launcher"),
    help="Train here, on a Ray cluster (ray), or where an installed launcher does.",
)
@click.option(
    "--address",
    help="Use this Ray cluster: host:port, or auto for the one of this machine.  [default: a new one here]",
)
@click.option(
    "--gpus-per-job",
    type=click.FloatRange(min=0),
    help="A stack takes so many GPUs of a Ray cluster.  [default: 1 where there are any]",
)
@click.option(
    "--cpus-per-job",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="A stack takes so many CPU cores of a Ray cluster.",
)
@metric_limit_option
@click.option(
    "--callback",
    "callbacks",
    multiple=True,
    metavar="NAME|MODULE:CLASS",
    shell_complete=complete.names("callback"),
    help="Log each run while it trains: tensorboard, wandb, mlflow, or your own class; may be repeated.",
)
@click.option("--retry-failed", is_flag=True, help="Run again what failed before.")
@click.option("--dry-run", is_flag=True, help="Print the plan and an estimate of time; write nothing.")
def run_command(**given: Any) -> None:
    """Run what is not done yet of GRID.

    GRID is a TOML file, or the name of a grid that comes with the package. Finished runs are kept and never repeated.
    Stop the command with Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 at any time, and give it again to go on from its
    checkpoint. Several such commands at once share the work. The end is the study's leaderboard.
    """
    go_on_unread("stdout")  # what it prints is kept in the study too
    RunCommand(**given).do()


@dataclass(frozen=True)
class RunCommand:
    """`bench run` with what was given on the command line."""

    grid: Path
    overrides: tuple[str, ...]
    seeds: int | None
    out: Path | None
    device: str
    data_dir: Path | None
    plugins: tuple[Path, ...]
    time_limit: float | None
    checkpoint_every: float
    stack_size: int | None
    jobs: int | None
    threads: int | None
    shard: tuple[int, int]
    launcher: str
    address: str | None
    gpus_per_job: float | None
    cpus_per_job: int
    metric_seconds: float | None
    callbacks: tuple[str, ...]
    retry_failed: bool
    dry_run: bool

    def do(self) -> None:
        """Run the grid, or only see to the tables where nothing is left to train or score."""
        from disentangle_bench.grid_file import read_grid
        from disentangle_bench.records.study_dir import StudyDir
        from disentangle_bench.stop import Stop
        from disentangle_bench.study.finished import is_finished, see_to
        from disentangle_bench.study.plan import default_study, plan

        self.check_launcher()
        stop = Stop(self.time_limit)
        grid = with_metrics(read_grid(self.grid, self.overrides, self.seeds), plugin_metrics(self.plugins))
        study = StudyDir(self.out or default_study(grid))
        if grid.training.open:
            grid = with_precision(grid, study, self.device, self.launcher)
        todo = plan(grid, study, self.retry_failed, self.shard)
        if todo.failed and not self.dry_run:
            say(f"{len(todo.failed)} runs failed earlier and are left alone; --retry-failed runs them again.")
        at_once = self.device in ("auto", "cpu") and not self.dry_run
        if at_once and is_finished(todo, grid, study, self.retry_failed):
            with stopping_politely(stop):
                outcome = see_to(grid, study, self.shard)
            finish(outcome)
        else:
            # Not before: torch alone takes longer than all that is left to do where nothing is to train.
            self.train(grid, study, todo, stop)

    def check_launcher(self) -> None:
        """Raise BenchError for options that the launcher does not have, and for a launcher that is not there."""
        registry.check("launcher", self.launcher)
        for name in self.callbacks:
            registry.check("callback", name)
        if self.launcher != "ray" and (self.address is not None or self.gpus_per_job is not None):
            raise BenchError("--address and --gpus-per-job are for --launcher ray")
        if self.launcher != "local" and (self.jobs is not None or self.threads is not None):
            raise BenchError("--jobs and --threads are for this machine; a Ray cluster has --cpus-per-job")

    def train(self, grid: Grid, study: StudyDir, todo: Plan, stop: Stop) -> None:
        """Do what is left, or say what that is."""
        from disentangle_bench.callbacks import make_callbacks
        from disentangle_bench.device import pick_device
        from disentangle_bench.processes.worker import fork_from_here
        from disentangle_bench.study.options import Jobs, Options
        from disentangle_bench.study.study import Study

        if not self.callbacks:
            fork_from_here()  # a logger has threads, which a fork would lose while they hold locks
        place = pick_device(self.device)
        refuse_jobs(place.type, self.jobs, self.threads)
        jobs = Jobs(self.jobs, self.threads or 1)
        if self.launcher == "local":
            warn_of_slow_precisions(todo, str(place))
        if self.dry_run:
            from disentangle_bench.cli.dry_run import DryRun

            processes = jobs.processes(len(todo.train)) if place.type == "cpu" else 1
            DryRun(grid, study.path, todo, str(place), processes).print()
            return
        options = Options(
            device=place,
            stack_size=self.stack_size,
            checkpoint_every=self.checkpoint_every,
            stop=stop,
            retry_failed=self.retry_failed,
            data_dir=self.data_dir,
            shard=self.shard,
            metric_seconds=self.metric_seconds,
            launcher=self.make_launcher(),
            callbacks=make_callbacks(self.callbacks, study.path),
            jobs=jobs,
        )
        with stopping_politely(stop):
            outcome = Study(grid, study, options, make_progress()).train()
        finish(outcome)

    def make_launcher(self) -> Launcher | None:
        """The launcher that was asked for; None for this machine."""
        if self.launcher == "local":
            return None
        found = registry.resolve("launcher", self.launcher)
        if self.launcher == "ray":
            gpus = 0 if self.device == "cpu" else self.gpus_per_job
            return found(self.address, gpus, self.cpus_per_job)
        return found()


def with_precision(grid: Grid, study: StudyDir, device: str, launcher: str) -> Grid:
    """The grid with a precision in the place of "auto"; a line on standard error says which."""
    from disentangle_bench.device import pick_device
    from disentangle_bench.study.study import settled

    if launcher == "ray":
        raise BenchError(
            'training.precision = "auto" asks this machine, and a Ray cluster has others; set it to "float32" or'
            ' "bfloat16"'
        )
    return settled(grid, study, str(pick_device(device)), lambda line: say(f"note: {line}", err=True))


@main.command()
@grid_options
def validate(grid: Path, overrides: tuple[str, ...], seeds: int | None) -> None:
    """Check GRID, and say how many runs it describes.

    The check is that of `bench run` before it starts. Nothing is trained or written, and no image is read.
    """
    from disentangle_bench.grid import expand
    from disentangle_bench.grid_file import read_grid
    from disentangle_bench.study.checks import check_study

    checked = read_grid(grid, overrides, seeds)
    words = check_study(checked)
    say(f"{grid}: {len(expand(checked))} runs, {', '.join(checked.metrics)}. All keys and values are valid.")
    for sentence in words:
        say(f"note: {sentence}")
    for dataset in checked.datasets:
        network = checked.network_on(dataset)
        if network.channels != checked.network.channels:
            channels = "-".join(map(str, network.channels))
            say(
                f"{dataset.label}: networks of {len(network.channels)} layers ({channels}), for the images' size"
            )


def warn_of_slow_precisions(todo: Plan, device: str) -> None:
    """A note on standard error for each precision of the runs to train that this device has no instructions for."""
    from disentangle_bench.precision import has_instructions

    for name in sorted({spec.training.precision for spec in todo.train}):
        if not has_instructions(name, device):
            say(
                f"note: {device} has no instructions for {name}: training will take several times as long as"
                " with --set training.precision=float32",
                err=True,
            )
