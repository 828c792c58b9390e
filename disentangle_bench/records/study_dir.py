"""The only reader and writer of study directories: what is kept of a run, and how nothing is lost.

    results/<study>/grid.toml                the resolved grid
                   /runs/<id>/spec.json      what was asked for
                             /weights.safetensors, curves.csv, scores.json, provenance.json
             /pictures/            what the model draws, as image files
                             /DONE           or FAILED, which holds the reason
                   /controls/<data set>.json what the metrics say of codes whose worth is known
                   /entries/<name>-s<seed>.json  what was evaluated and not trained here
                   /stack_sizes/<program>.json  how many runs train together on a device, where that was timed
                   /checkpoints/<stack>.safetensors  training that is not finished yet
                   /progress/<host>-<pid>.json  what each process is doing now, for who watches from elsewhere
                   /.tables                  of which runs the tables are, and their checksums
               /.lock                    who works on what, held by the operating system (study/claims.py)
                   /scores.csv, leaderboard.csv and figures: derived, rebuilt from runs/ at will

A run directory is filled under a temporary name and renamed when complete: it is there whole or not at all. Nothing
is written outside the study's directory, whatever a name says; a write that fails is a BenchError that says what to do.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tomli_w
from numpy.typing import NDArray

from disentangle_bench.errors import BenchError
from disentangle_bench.files import (
    PLAIN_NAME,
    file_name,
    json_text,
    parse_json,
    plain_name,
    read_small,
    sync,
    write_text,
    writing,
)
from disentangle_bench.grid import Grid
from disentangle_bench.records.checkpoint_files import CheckpointFiles
from disentangle_bench.records.progress_files import ProgressFiles
from disentangle_bench.records.record import Record, load_record_file
from disentangle_bench.records.run_record import (
    DONE,
    FAILED,
    RunRecord,
    files_in,
    load_listed,
    load_record,
    load_sample,
    load_spec,
    reason_of,
    write_run,
)
from disentangle_bench.records.schemas import ControlsKept, checked
from disentangle_bench.records.table_files import TableFiles
from disentangle_bench.specs import RunSpec, TrainingSpec

T = TypeVar("T")

# Who hears, in words, of what was left out because it cannot be read.
Tell = Callable[[str], None]


def _no_word(reason: str) -> None:
    """Nobody hears of it."""


@dataclass(frozen=True)
class StudyDir:
    """The directory of one study."""

    path: Path

    @property
    def runs(self) -> Path:
        """Where the run directories are."""
        return self.path / "runs"

    @property
    def checkpoints(self) -> CheckpointFiles:
        """The checkpoints of training that is not finished."""
        return CheckpointFiles(self.path / "checkpoints")

    @property
    def progress(self) -> ProgressFiles:
        """What each process is doing now."""
        return ProgressFiles(self.path / "progress")

    @property
    def tables(self) -> TableFiles:
        """Tables and figures."""
        return TableFiles(self.path)

    def create(self) -> None:
        """Make the directory; refuse one that holds something else. Raises BenchError when it cannot be written."""
        if self.path.exists() and not self.path.is_dir():
            raise BenchError(f"{self.path} is a file; a study needs a directory")
        if self.path.is_dir() and not (self.path / "grid.toml").exists() and self._holds_something():
            raise BenchError(
                f"{self.path} is not empty and holds no study; choose another directory with --out"
            )
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def dataset_names(self) -> tuple[str, ...]:
        """The names of the data sets in the study's grid; none where there is no study yet.

        Raises BenchError where the grid cannot be read.
        """
        names = self._of_grid(lambda grid: tuple(str(dataset["name"]) for dataset in grid["datasets"]))
        return names or ()

    def precision(self) -> str | None:
        """The precision in the study's grid; None where there is no study yet.

        Raises BenchError where the grid cannot be read.
        """
        return self._of_grid(lambda grid: TrainingSpec.model_validate(grid["training"]).precision)

    def _of_grid(self, found: Callable[[Any], T]) -> T | None:
        """What `found` makes of the study's grid as it stands in its file; None where there is no study yet."""
        path = self.path / "grid.toml"
        try:
            return found(tomllib.loads(read_small(path).decode()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise BenchError(f"{path} cannot be read as a study's grid: {error}") from error

    def write_grid(self, grid: Grid) -> None:
        """Write the resolved grid, which makes the directory a study. Raises BenchError when it cannot be written."""
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / "grid.toml", tomli_w.dumps(grid.document()))
            self.runs.mkdir(exist_ok=True)

    def _holds_something(self) -> bool:
        """Whether there is more than what another process leaves that is creating this study at this moment."""
        found = [path.name for path in self.path.iterdir()]
        return "grid.toml" not in found and any(
            name != ".lock" and not name.endswith(".tmp") for name in found
        )

    def run_path(self, run_id: str) -> Path:
        """The directory of a run. Raises BenchError for a name that could lead out of the study."""
        return self.runs / plain_name(run_id)

    def status(self, run_id: str) -> str | None:
        """DONE, FAILED, or None for a run that is still to do; DONE where that may not be seen, which `load` tells."""
        path = self.run_path(run_id)
        try:
            return next((status for status in (DONE, FAILED) if (path / status).exists()), None)
        except PermissionError:
            return DONE

    def done_among(self, run_ids: Collection[str]) -> list[str]:
        """Those of these runs that are done, from one listing: a look at each would cost on a network's disk."""
        return [name for name in files_in(self.runs) if name in run_ids and self.status(name) == DONE]

    def has_runs(self) -> bool:
        """Whether there is a finished or failed run that can be read."""
        return self.runs.is_dir() and any(self.records(curves=False, tell=_no_word))

    def save(self, record: RunRecord) -> None:
        """Write one run, whole: it appears under its final name complete and synced to disk."""
        final = self.run_path(record.spec.id)
        token = secrets.token_hex(4)
        partial, replaced = self.runs / f".partial-{token}", self.runs / f".replaced-{token}"
        with writing(final):
            try:
                partial.mkdir()
                write_run(partial, record)
                if final.exists():
                    final.rename(replaced)  # in one stroke: deleting it in place could be cut short half-way
                partial.rename(final)
                sync(self.runs)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        shutil.rmtree(replaced, ignore_errors=True)

    def save_scores(self, run_id: str, scores: Mapping[str, Any]) -> None:
        """Replace a finished run's scores."""
        path = self.run_path(run_id) / "scores.json"
        with writing(path):
            write_text(path, json_text(scores))

    def save_controls(self, dataset: str, controls: Mapping[str, Any]) -> None:
        """Keep what the metrics say of control codes on this data set (its label)."""
        folder = self.path / "controls"
        with writing(folder):
            folder.mkdir(exist_ok=True)
            write_text(folder / f"{file_name(dataset)}.json", json_text({"dataset": dataset, **controls}))

    def controls(self, tell: Tell = _no_word) -> list[dict[str, Any]]:
        """What `save_controls` kept, by data set.

        A file that holds something else is told of in `tell`, and left out: the next run scores these controls again.
        """
        found = []
        for path in sorted(self.path.glob("controls/[!.]*.json")):
            try:
                kept = checked(ControlsKept, parse_json(read_small(path)))
            except (OSError, ValueError) as error:
                tell(f"the controls in {path} are left out: {reason_of(error)}")
                continue
            found.append(kept)
        return found

    def save_entry(self, record: Record) -> Path:
        """Keep the evaluation of something that was not trained here, in place of an older one of its name and seed."""
        path = self.path / "entries" / f"{plain_name(record.name)}-s{record.seed}.json"
        with writing(path):
            path.parent.mkdir(exist_ok=True)
        record.save(path)
        return path

    def entries(self, tell: Tell = _no_word) -> list[Record]:
        """What `save_entry` kept; `tell` hears of a file that cannot be read, which is left out."""
        found = []
        for path in sorted(self.path.glob("entries/[!.]*.json")):
            try:
                found.append(load_record_file(path))
            except BenchError as error:
                tell(str(error))
        return found

    def save_stack_size(self, program: str, measured: Mapping[str, Any]) -> None:
        """Remember how many runs of a program train together on a device, and how fast the sizes were."""
        path = self._stack_size_file(program)
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            write_text(path, json_text(measured))

    def stack_size(self, program: str) -> dict[str, Any] | None:
        """What was remembered of the program; None where nothing was, or nothing that can be read."""
        try:
            return dict(parse_json(read_small(self._stack_size_file(program))))
        except (OSError, ValueError, TypeError):
            return None

    def _stack_size_file(self, program: str) -> Path:
        return self.path / "stack_sizes" / f"{file_name(program)}.json"

    def clean(self) -> None:
        """Remove what killed processes have left half-written; only for who knows that nobody else works here.

        A finished run that was about to be replaced gets its place back.
        """
        with writing(self.path):
            for path in self.runs.glob(".replaced-*"):
                try:
                    final = self.run_path(load_record(path, curves=False).spec.id)
                except BenchError:
                    final = path  # deleting it had begun
                if not final.exists():
                    path.rename(final)
            for path in [*self.runs.glob(".partial-*"), *self.runs.glob(".replaced-*")]:
                shutil.rmtree(path)
            # safetensors writes checkpoints/.tmp<six letters> first.
            for pattern in (".*.tmp", "*/.*.tmp", "runs/*/.*.tmp", "checkpoints/.tmp*", "progress/*.json"):
                for path in self.path.glob(pattern):
                    path.unlink()

    def load(self, run_id: str, weights: bool = False, curves: bool = True) -> RunRecord:
        """One run as it was saved; its weights only when asked for, its curves unless not.

        Raises BenchError for a damaged directory, and for one that holds another run than its name says.
        """
        record = load_record(self.run_path(run_id), weights, curves)
        if record.spec.id != run_id:
            raise BenchError(
                f"{self.run_path(run_id)} holds another run, {record.spec.id}: its spec.json was changed or"
                " copied there. Put the directory elsewhere, and `bench run` trains the run that belongs here."
            )
        return record

    def sample(self, run_id: str) -> dict[str, NDArray[np.float32]] | None:
        """The codes that are kept with a run, or None."""
        return load_sample(self.run_path(run_id))

    def others(self, known: Collection[str], unreadable: dict[str, str] | None = None) -> Iterator[RunSpec]:
        """What was asked for in finished and failed runs that are not `known` by id.

        A directory that does not have its run's id is a copy of it, and is left out. One that cannot be read is left
        out too, and added to `unreadable`, by its name with the reason.
        """
        if not self.runs.is_dir():
            return
        for name in sorted(filter(PLAIN_NAME.fullmatch, os.listdir(self.runs))):
            if name in known or not self.status(name):
                continue
            try:
                spec = load_spec(self.runs / name)
            except BenchError as error:
                if unreadable is not None:
                    unreadable[name] = str(error)
                continue
            if spec.id == name:
                yield spec

    def records(self, curves: bool = True, tell: Tell | None = None) -> Iterator[RunRecord]:
        """All finished and failed runs, by id, without weights; without curves they are read several times as fast.

        A run that cannot be read is told of in `tell` and left out; without `tell` it raises BenchError. So does a
        directory that is no study.
        """
        if not self.runs.is_dir():
            if (self.path / "grid.toml").is_file():
                return
            raise BenchError(f"{self.path} holds no study (there is no {self.runs})")
        for name in sorted(filter(PLAIN_NAME.fullmatch, os.listdir(self.runs))):
            path = self.runs / name
            files = files_in(path)
            if DONE not in files and FAILED not in files:
                continue
            try:
                record = load_listed(path, files, weights=False, curves=curves)
            except BenchError as error:
                if tell is None:
                    raise
                tell(str(error))
                continue
            yield record
