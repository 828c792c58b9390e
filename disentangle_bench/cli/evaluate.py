"""`bench evaluate`: anyone's encoder, or codes that were made elsewhere, scored beside controls."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench.cli import complete
from disentangle_bench.cli.board import results_option, score_entries
from disentangle_bench.cli.group import main
from disentangle_bench.cli.options import (
    PointCount,
    StepOfFactor,
    allow_option,
    data_dir_option,
    metric_limit_option,
    metrics_option,
    parameter_option,
    plugin_metrics,
    plugin_option,
    refuse_options,
)
from disentangle_bench.cli.output import make_progress, say
from disentangle_bench.errors import BenchError
from disentangle_bench.files import plain_name

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import FactorDataset
    from disentangle_bench.evaluation.evaluate import Asked
    from disentangle_bench.grid import Grid
    from disentangle_bench.records.record import Record
    from disentangle_bench.specs import DatasetSpec


@main.command()
@click.argument("what", required=False, metavar="[MODULE:NAME | FILE.pt2]")
@click.option("--codes", type=click.Path(path_type=Path), help="Score the codes in this file instead.")
@click.option(
    "--dataset",
    metavar="NAME",
    shell_complete=complete.names("data set"),
    help="Evaluate on this data set.  [default: the study's]",
)
@parameter_option
@click.option("--every", multiple=True, type=StepOfFactor(), help="Keep each k-th value of this factor.")
@click.option("--size", type=click.IntRange(min=4), help="Average images to so many pixels a side.")
@metrics_option("Score this metric; may be repeated.")
@click.option(
    "--protocol", default="default", metavar="NAME", help="Score as a paper does: dlib2019, infogan_cr ..."
)
@click.option("--points", type=PointCount(), help="Encode so many random images.  [default: all]")
@click.option("--name", help="Its name in tables.  [default: its own name]")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed of points and metrics."
)
@click.option(
    "--into",
    "study",
    type=click.Path(path_type=Path),
    metavar="STUDY",
    shell_complete=complete.studies,
    help="Put it in this study's tables.",
)
@click.option("--board", metavar="NAME", help="Enter its codes in this board.")
@click.option("--entry", metavar="AuthorYearWord", help="The entry's name, with --board.")
@results_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the record of the evaluation here, as JSON."
)
@click.option("--device", default="auto", show_default=True, help="Compute here: auto, cpu, cuda or cuda:N.")
@plugin_option
@allow_option
@data_dir_option
@metric_limit_option
def evaluate(**given: Any) -> None:
    """Score a representation that was not trained here.

    MODULE:NAME is a function, a network or an object with `encode`, in an installed module or a file in this
    directory. It gets images float32 [n, channels, height, width] in 0..1 and gives codes [n, latents]. FILE is a
    network saved by torch.export or TorchScript; such a file is a program, so give only one that you trust.
    """
    EvaluateCommand(**given).do()


@dataclass(frozen=True)
class EvaluateCommand:
    """`bench evaluate` with what was given on the command line."""

    what: str | None = None
    codes: Path | None = None
    dataset: str | None = None
    parameters: tuple[tuple[str, Any], ...] = ()
    every: tuple[tuple[str, int], ...] = ()
    size: int | None = None
    metrics: tuple[str, ...] = ()
    protocol: str = "default"
    points: int | str | None = None
    name: str | None = None
    seed: int = 0
    study: Path | None = None
    board: str | None = None
    entry: str | None = None
    results: Path = Path("results")
    out: Path | None = None
    device: str = "auto"
    plugins: tuple[Path, ...] = ()
    allow: tuple[str, ...] = ()
    data_dir: Path | None = None
    metric_seconds: float | None = None

    def do(self) -> None:
        """Evaluate, print, and keep what was asked to be kept."""
        if (self.what is None) == (self.codes is None):
            raise BenchError("name either MODULE:NAME (or a file of a network), or --codes FILE")
        if (self.board is None) != (self.entry is None):
            raise BenchError("--board NAME and --entry AuthorYearWord go together")
        if self.board is not None and self.entry is not None:
            self.enter(self.board, self.entry)
            return
        own = self.points is not None or self.metrics or self.plugins or self.protocol != "default"
        if self.study is not None and own:
            raise BenchError(
                "--into STUDY scores as the study does; leave out --points, --metric, --plugin and --protocol"
            )
        grid = self.grid()
        if grid is not None:
            plain_name(self.called)  # the name of a file in the study
        record = self.record(grid)
        print_record(record)
        if self.out is not None:
            record.save(self.out)
        if grid is not None and self.study is not None:
            keep(record, self.study)
        if record.failures:
            sys.exit(1)

    def enter(self, name: str, entry: str) -> None:
        """Put codes of the board's points into an entry, and score it."""
        from disentangle_bench.board.definition import read_board
        from disentangle_bench.board.entries import entry_path, write_entry
        from disentangle_bench.data.table_file import read_arrays
        from disentangle_bench.device import pick_device
        from disentangle_bench.evaluation.encode import encode_points
        from disentangle_bench.evaluation.evaluate import anyones_code
        from disentangle_bench.evaluation.representation import load_encoder
        from disentangle_bench.evaluation.tables import reduced_tokens
        from disentangle_bench.processes.worker import fork_from_here

        refuse_options("with --board, whose question is frozen", "every", "size", "metrics", "plugins")
        refuse_options("with --board", "protocol", "points", "name", "study", "out", "metric_seconds")
        refuse_options("with --board", "parameters")
        fork_from_here()
        board = read_board(self.results, name)
        if self.dataset not in (None, board.dataset):
            raise BenchError(
                f"the board {name} is of {board.dataset}, not of {self.dataset}; leave --dataset out"
            )
        dataset = board.load(self.data_dir)
        index = board.points(dataset)
        if self.codes is not None:
            codes = read_arrays(self.codes, ("codes",))["codes"]
            codes = codes[index] if len(codes) == len(dataset) else codes
        else:
            encoder = load_encoder(str(self.what), pick_device(self.device))
            with anyones_code(str(self.what)):
                codes = encode_points(encoder.encode, dataset, index).numpy()
        about = {} if entry_path(self.results, board, entry).exists() else blank(self.what or str(self.codes))
        path = write_entry(self.results, board, entry, about, {self.seed: reduced_tokens(codes)[0]})
        score_entries(self.results, board, (entry,), self.data_dir)
        say(
            f"{path} has codes of seed {self.seed}. `bench board check {name} {entry}` says what it still lacks"
        )

    @property
    def called(self) -> str:
        """What tables call it."""
        return self.name or Path((self.what or str(self.codes)).rpartition(":")[2]).stem

    def grid(self) -> Grid | None:
        """The grid of the study that it goes into; None without one."""
        if self.study is None:
            return None
        from disentangle_bench.grid_file import read_grid

        if not (self.study / "grid.toml").is_file():
            raise BenchError(f"{self.study} holds no study (there is no {self.study / 'grid.toml'})")
        return read_grid(self.study / "grid.toml", allow=self.allow)

    def record(self, grid: Grid | None) -> Record:
        """The evaluation."""
        from disentangle_bench.data.table_file import read_arrays
        from disentangle_bench.device import pick_device
        from disentangle_bench.evaluation import evaluate as evaluation
        from disentangle_bench.evaluation.representation import load_encoder
        from disentangle_bench.progress import PhasesOf
        from disentangle_bench.study.study import load

        what, name = self.what or str(self.codes), self.called
        spec = self.dataset_spec(grid)
        asked = self.asked(grid)
        if spec is None:
            assert self.codes is not None
            arrays = read_arrays(self.codes, ("codes", "factors"))
            subject = evaluation.Subject(name, what, f"the factors in {self.codes.name}")
            return evaluation.evaluate_tables(arrays["codes"], arrays["factors"], asked, subject)
        progress = make_progress()
        dataset = load(spec, progress, self.data_dir)
        if grid is None and not dataset.factor_names:
            asked = self.without_factors(asked, dataset)
        subject = evaluation.Subject(name, what, spec.label)
        if self.codes is not None:
            codes = read_arrays(self.codes, ("codes",))["codes"]
            return evaluation.evaluate_codes(codes, dataset, asked, subject)
        place = pick_device(self.device)
        encoder = load_encoder(what, place)
        with progress.study(runs=1):
            progress.run_started([name])
            record = evaluation.evaluate_encoder(encoder, dataset, asked, subject, PhasesOf(progress, [name]))
            progress.run_finished(name, None)
        return record

    def asked(self, grid: Grid | None) -> Asked:
        """The metrics and the points, as the study has them where it goes into one."""
        from disentangle_bench.evaluation.evaluate import Asked, default_metrics
        from disentangle_bench.specs import ScoringSpec

        if grid is not None:
            return Asked(grid.metrics, grid.scoring, self.seed, self.metric_seconds)
        names = tuple(dict.fromkeys((*self.metrics, *plugin_metrics(self.plugins))))
        names = names or default_metrics(self.protocol)
        images = ScoringSpec.model_validate({"points": self.points or "all"})
        return Asked(names, images, self.seed, self.metric_seconds, self.protocol)

    def without_factors(self, asked: Asked, dataset: FactorDataset) -> Asked:
        """What can be asked of images without factors. Raises BenchError where that is nothing of what was named."""
        from disentangle_bench.evaluation.evaluate import default_metrics
        from disentangle_bench.evaluation.without_factors import refuse_all_left_out, refuse_protocol

        refuse_protocol(self.protocol, dataset.name)
        if not (self.metrics or self.plugins):
            return replace(asked, metrics=default_metrics(self.protocol, dataset))
        refuse_all_left_out(asked.metrics, [dataset.name])
        return asked

    def dataset_spec(self, grid: Grid | None) -> DatasetSpec | None:
        """The data set, with its sub-grid; None where the codes' file has factors of its own."""
        from disentangle_bench.specs import DatasetSpec

        if grid is None:
            if self.dataset is not None:
                about = {"parameters": dict(self.parameters), "every": dict(self.every), "size": self.size}
                return DatasetSpec.model_validate({"name": self.dataset, **about})
            if self.codes is None:
                raise BenchError("name a data set with --dataset; `bench list datasets` has their names")
            return None
        if self.parameters or self.every or self.size is not None:
            raise BenchError(
                "--parameter, --every and --size are for --dataset; a study's data sets have their own"
            )
        fitting = [spec for spec in grid.datasets if self.dataset in (None, spec.name, spec.label)]
        if len(fitting) != 1:
            labels = ", ".join(repr(spec.label) for spec in grid.datasets)
            raise BenchError(f"name one of the study's data sets with --dataset: {labels}")
        return fitting[0]


def blank(what: str) -> dict[str, str]:
    """What a new entry says of itself, which is for its author to fill in."""
    from disentangle_bench.board.entries import TO_FILL_IN

    asked = dict.fromkeys(("licence", "tuning", "budget"), TO_FILL_IN)
    return {"method": f"{what}: {TO_FILL_IN}", "supervision": "none"} | asked


# What a reader calls the controls, and what they are.
CONTROLS = {
    "random": ("chance", "random codes of the same shape"),
    "ground_truth": ("ceiling", "the factors themselves"),
    "symmetric": ("visible", "the factors as far as images show them"),
}


def print_record(record: Record) -> None:
    """The scores, a line each, beside those of the controls; all else goes to standard error."""
    about = f"{record.name} on {record.dataset['label']} ({record.dataset['provenance']} data)"
    say(f"{about}, seed {record.seed}, {record.points['number']} points", err=True)
    controls = [name for name in CONTROLS if name in record.controls]
    if record.scores:
        say(f"{'':<28} {'score':>9}" + "".join(f" {CONTROLS[name][0]:>9}" for name in controls), err=True)
    for key, value in record.scores.items():
        columns = (f" {number(record.controls[name].get(key)):>9}" for name in controls)
        say(f"{key:<28} {number(value):>9}" + "".join(columns))
    if controls:
        said = "; ".join("{}: what {} score".format(*CONTROLS[name]) for name in controls)
        say(said, err=True)
    for note in record.notes:
        say(f"note: {note}", err=True)
    for name, reason in record.failures.items():
        say(f"metric {name} gave no score: {reason}", err=True)


def number(value: float | None) -> str:
    """Six digits; a dash for what is not there or not finite."""
    return "-" if value is None else f"{value:.6g}"


def keep(record: Record, study: Path) -> None:
    """Put the record into the study, and rebuild its tables."""
    from disentangle_bench.records.study_dir import StudyDir
    from disentangle_bench.study.claims import Claims
    from disentangle_bench.study.finished import rebuild_tables

    directory = StudyDir(study)
    path = directory.save_entry(record)
    claims = Claims(directory)
    with claims.working():
        rebuild_tables(directory, claims)
    say(f"kept in {path}; the tables of {study} have it")
