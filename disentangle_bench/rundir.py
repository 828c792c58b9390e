"""The only reader and writer of study directories: what is kept of a run, and how nothing is lost.

    results/<study>/grid.toml                the resolved grid
                   /runs/<id>/spec.json      what was asked for
                             /weights.safetensors, curves.csv, scores.json, provenance.json
             /pictures/            what the model draws, as image files
                             /DONE           or FAILED, which holds the reason
                   /controls/<data set>.json what the metrics say of codes whose worth is known
                   /stack_sizes/<program>.json  how many runs train together on a device, where that was timed
                   /checkpoints/<stack>.safetensors  training that is not finished yet
                   /progress/<host>-<pid>.json  what each process is doing now, for who watches from elsewhere
                   /.tables                  of which runs the tables are, and their checksums
               /.lock                    who works on what, held by the operating system (launch/claims.py)
                   /scores.csv, leaderboard.csv and figures: derived, rebuilt from runs/ at will

A run directory is filled under a temporary name and renamed when complete: it is there whole or not at all. Nothing
is written outside the study's directory, whatever a name says; a write that fails is a BenchError that says what to do.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import secrets
import shutil
import stat
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors
import safetensors.numpy
import tomli_w
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError

from disentangle_bench.errors import BenchError, Damaged
from disentangle_bench.files import parse_json, read_small
from disentangle_bench.schemas import (
    RUN_COLUMNS,
    CheckpointKept,
    ControlsKept,
    ProgressKept,
    ProvenanceKept,
    ScoresKept,
    checked,
    in_words,
    says_more,
)
from disentangle_bench.spec import Grid, NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.version import __version__

T = TypeVar("T")

# Who hears, in words, of what was left out because it cannot be read.
Tell = Callable[[str], None]


def _no_word(reason: str) -> None:
    """Nobody hears of it."""


DONE, FAILED = "DONE", "FAILED"
# What is kept of a run that tables and their figures are made of, and what else decides them.
TABLED = ("spec.json", "provenance.json", "scores.json", "curves.csv", DONE, FAILED)
TABLE_LIBRARIES = ("numpy", "pandas", "scipy", "matplotlib")
WEIGHTS_SUM = "weights_sha256"  # the key of provenance.json that has the weights' checksum
# One part of a path: never hidden, never leading elsewhere.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class RunRecord:
    """All that is kept of one run; `failure` is the reason why it has no result, else None.

    `pictures` holds image files by file name; they are written with the run and not read back.
    """

    spec: RunSpec
    provenance: Mapping[str, Any]
    scores: Mapping[str, Any] = field(default_factory=dict)
    curves: Sequence[Mapping[str, float]] = ()
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class StudyDir:
    """The directory of one study."""

    path: Path

    @property
    def runs(self) -> Path:
        """Where the run directories are."""
        return self.path / "runs"

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
            write_text(self.path / "grid.toml", tomli_w.dumps(_plain_grid(grid)))
            self.runs.mkdir(exist_ok=True)

    def _holds_something(self) -> bool:
        """Whether there is more than what another process leaves that is creating this study at this moment."""
        found = [path.name for path in self.path.iterdir()]
        return "grid.toml" not in found and any(
            name != ".lock" and not name.endswith(".tmp") for name in found
        )

    def run_path(self, run_id: str) -> Path:
        """The directory of a run. Raises BenchError for a name that could lead out of the study."""
        return self.runs / _plain(run_id)

    def status(self, run_id: str) -> str | None:
        """DONE, FAILED, or None for a run that is still to do; DONE where that may not be seen, which `load` tells."""
        path = self.run_path(run_id)
        try:
            return next((status for status in (DONE, FAILED) if (path / status).exists()), None)
        except PermissionError:
            return DONE

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
                _fill(partial, record)
                if final.exists():
                    final.rename(replaced)  # in one stroke: deleting it in place could be cut short half-way
                partial.rename(final)
                _sync(self.runs)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        shutil.rmtree(replaced, ignore_errors=True)

    def save_scores(self, run_id: str, scores: Mapping[str, Any]) -> None:
        """Replace a finished run's scores."""
        path = self.run_path(run_id) / "scores.json"
        with writing(path):
            write_text(path, _json(scores))

    def save_controls(self, dataset: str, controls: Mapping[str, Any]) -> None:
        """Keep what the metrics say of control codes on this data set (its label)."""
        folder = self.path / "controls"
        with writing(folder):
            folder.mkdir(exist_ok=True)
            write_text(folder / f"{_file_name(dataset)}.json", _json({"dataset": dataset, **controls}))

    def controls(self, tell: Tell = _no_word) -> list[dict[str, Any]]:
        """What `save_controls` kept, by data set; `failures` is empty where a study of before did not note any.

        A file that holds something else is told of in `tell`, and left out: the next run scores these controls again.
        """
        found = []
        for path in sorted(self.path.glob("controls/[!.]*.json")):
            try:
                kept = checked(ControlsKept, parse_json(read_small(path)))
            except (OSError, ValueError) as error:
                tell(f"the controls in {path} are left out: {_reason(error)}")
                continue
            found.append({"failures": {}, "asked": {}} | kept)
        return found

    def save_checkpoint(self, about: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Keep the state of the runs that `about["runs"]` lists by `id`, in place of an older one of these runs."""
        final = self._checkpoint_file([run["id"] for run in about["runs"]])
        folder = final.parent
        temporary = folder / f".{final.stem}.{secrets.token_hex(4)}.tmp"
        arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
        text = json.dumps(about)
        with writing(folder):
            folder.mkdir(exist_ok=True)
            try:
                sums = {"about_sha256": _sha256(text.encode()), "tensors_sha256": _tensors_sha256(arrays)}
                _save_safetensors(temporary, arrays, {"about": text} | sums)
                temporary.replace(final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync(folder)

    def checkpoints(
        self, on_damaged: Callable[[Damaged], None] = lambda error: None
    ) -> Iterator[tuple[dict[str, Any], Path]]:
        """What `save_checkpoint` was told of each checkpoint, and its file; `on_damaged` hears of those left out."""
        for path in sorted(self.path.glob("checkpoints/[!.]*.safetensors")):
            try:
                yield _read_checkpoint(path, tensors=False)[0], path
            except FileNotFoundError:
                continue  # its runs are finished: another process has dropped it since
            except Damaged as error:
                on_damaged(error)

    def load_checkpoint(self, path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The same and the tensors of the checkpoint in this file. Raises Damaged where it is."""
        return _read_checkpoint(path, tensors=True)

    def drop_finished_checkpoints(self, stack: Sequence[str], open: Collection[str] = ()) -> None:
        """Delete the checkpoint of this stack, and those all of whose runs are done or have failed.

        Those of the runs `open` stay.
        """
        self._checkpoint_file(stack).unlink(missing_ok=True)  # a damaged one does not say whose it is
        for about, path in self.checkpoints():
            ids = [run["id"] for run in about["runs"]]
            if all(run_id not in open and self.status(run_id) for run_id in ids):
                path.unlink(missing_ok=True)

    def _checkpoint_file(self, ids: Sequence[str]) -> Path:
        return self.path / "checkpoints" / f"{_sha256(' '.join(ids).encode())[:16]}.safetensors"

    def save_stack_size(self, program: str, measured: Mapping[str, Any]) -> None:
        """Remember how many runs of a program train together on a device, and how fast the sizes were."""
        path = self._stack_size_file(program)
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            write_text(path, _json(measured))

    def stack_size(self, program: str) -> dict[str, Any] | None:
        """What was remembered of the program; None where nothing was, or nothing that can be read."""
        try:
            return dict(parse_json(read_small(self._stack_size_file(program))))
        except (OSError, ValueError, TypeError):
            return None

    def _stack_size_file(self, program: str) -> Path:
        return self.path / "stack_sizes" / f"{_file_name(program)}.json"

    def digest(self) -> str:
        """A checksum of all that tables are made of: what is kept of runs and controls, this code, its libraries."""
        found = hashlib.sha256(_makers().encode())
        folders = sorted(filter(PLAIN_NAME.fullmatch, os.listdir(self.runs))) if self.runs.is_dir() else []
        files = [self.runs / folder / name for folder in folders for name in TABLED]
        for path in (*files, *sorted(self.path.glob("controls/[!.]*.json"))):
            try:
                content = _sha256(read_small(path))
            except OSError as error:
                content = type(error).__name__
            found.update(f"{path.relative_to(self.path)} {content}\n".encode(errors="surrogateescape"))
        return found.hexdigest()

    def save_tables(self, files: Mapping[str, bytes], digest: str) -> None:
        """Write the study's tables and figures, by file name, and of what they are: `digest`, from before they were."""
        for name, content in files.items():
            write_bytes(self.path / name, content)
        sums = {name: _sha256(content) for name, content in files.items()}
        write_text(self.path / ".tables", _json({"digest": digest, "files": sums}))

    def tables_are_current(self) -> bool:
        """Whether all that `save_tables` wrote last is there whole, and still what would be written now."""
        try:
            kept = parse_json(read_small(self.path / ".tables"))
            sums = {name: _sha256(read_small(self.path / name)) for name in map(_plain, kept["files"])}
            return bool(sums) and sums == kept["files"] and kept["digest"] == self.digest()
        except (BenchError, OSError, ValueError, LookupError, TypeError):
            return False

    def write_progress(self, progress: Mapping[str, Any]) -> None:
        """Keep what a process of `progress["host"]` and `progress["pid"]` is doing now, for `bench status`."""
        path = self._progress_file(str(progress["host"]), int(progress["pid"]))
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            temporary.write_text(
                _json(progress), encoding="utf-8"
            )  # not synced: worth nothing after a power cut
            temporary.replace(path)
        except OSError:
            # Hours of training are not given up for a line of `bench status`; where the disk is full or gone, the
            # next checkpoint or run says so.
            temporary.unlink(missing_ok=True)

    def end_progress(self) -> None:
        """This process does nothing any more."""
        path = self._progress_file(platform.node(), os.getpid())
        with writing(path):
            path.unlink(missing_ok=True)

    def progress(self) -> list[dict[str, Any]]:
        """What each process has told `write_progress` last; those that were killed have left theirs too."""
        found = []
        for path in sorted(self.path.glob("progress/[!.]*.json")):
            try:
                found.append(checked(ProgressKept, parse_json(read_small(path))))
            except (OSError, ValueError):
                continue  # it has just ended, the power was cut while it wrote, or somebody else did
        return found

    def _progress_file(self, host: str, pid: int) -> Path:
        return self.path / "progress" / f"{_file_name(host)}-{pid}.json"

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
            for pattern in (".*.tmp", "*/.*.tmp", "runs/*/.*.tmp", "progress/*.json"):
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
            files = _files(path)
            if DONE not in files and FAILED not in files:
                continue
            try:
                record = _load(path, files, weights=False, curves=curves)
            except BenchError as error:
                if tell is None:
                    raise
                tell(str(error))
                continue
            yield record


def load_spec(path: Path) -> RunSpec:
    """What was asked for in the run in directory `path`. Raises BenchError where that cannot be read."""
    with _reading(path):
        return _spec(path)


def load_record(path: Path, weights: bool = False, curves: bool = True) -> RunRecord:
    """The run in directory `path`. Raises BenchError where it is no run or a file of it is damaged."""
    return _load(path, _files(path), weights, curves)


def _files(path: Path) -> frozenset[str]:
    """The names in a directory; none where there is no directory."""
    try:
        return frozenset(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {_reason(error)}") from error


def _load(path: Path, files: frozenset[str], weights: bool, curves: bool) -> RunRecord:
    """`load_record`, given the names in the directory: thousands of runs are read at a time, and each look costs."""
    if not files & {"spec.json", DONE, FAILED}:
        raise BenchError(f"{path} is not a run directory (there is no spec.json)")
    with _reading(path):
        provenance = _provenance(path)
        spec = _spec(path)
        _refuse_columns(spec.hypers.keys() | spec.options.keys(), RUN_COLUMNS)
        if DONE not in files:
            failure = _read(path, FAILED).decode().strip() or "no reason was kept"
            return RunRecord(spec, provenance, failure=f"{failure}\n")
        if weights and "weights.safetensors" not in files:
            raise BenchError(
                f"{path} has no weights: a published run comes without them, or they were deleted. Delete the directory"
                " and `bench run` trains it again."
            )
        scores = _scores(path, spec)
        rows = _read_curves(path) if curves else []
        tensors = _read_weights(path, provenance) if weights else {}
        return RunRecord(spec, provenance, scores, rows, tensors)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Within, what is wrong with the files of the run in `path` becomes a BenchError that says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise BenchError(f"the run directory {path} cannot be read: {_reason(error)}") from error
    except (ValueError, TypeError, KeyError, OverflowError, csv.Error, SafetensorError) as error:
        raise _damaged(path, error) from error


def _spec(path: Path) -> RunSpec:
    return RunSpec.model_validate_json(_read(path, "spec.json"), strict=False)


def _read(path: Path, name: str) -> bytes:
    return read_small(f"{path}/{name}")


def _provenance(path: Path) -> dict[str, Any]:
    return checked(ProvenanceKept, parse_json(_read(path, "provenance.json")))


def _scores(path: Path, spec: RunSpec) -> dict[str, Any]:
    """What scores.json holds; ValueError where a score has the name of another column, or a headline no score."""
    scores = checked(ScoresKept, parse_json(_read(path, "scores.json")))
    settings = {*spec.hypers, *spec.options, *NetworkSpec.model_fields, *TrainingSpec.model_fields}
    _refuse_columns(scores["scores"], RUN_COLUMNS | settings)
    for name, metric in scores["metrics"].items():
        for headline in metric["headlines"]:
            if headline not in scores["scores"]:
                raise ValueError(f"metrics.{name}: the headline {headline!r} has no score")
    information = scores.get("mutual_information") or ()
    widths = {len(line) for line in information}
    if len(widths) > 1 or 0 in widths or any(abs(value) > 2 for line in information for value in line):
        raise ValueError("mutual_information does not have a share of each factor for each latent")
    # A run that does not say what it was scored on is scored again by the next `bench run`.
    return {"failures": {}, "scoring": None} | scores


def _refuse_columns(names: Iterable[str], taken: Collection[str]) -> None:
    for name in names:
        if name in taken:
            raise ValueError(f"{name!r} is the name of another column of the tables")


def _damaged(path: Path, error: Exception) -> BenchError:
    """The error for a run directory that cannot be read: one of a newer version is not called damaged."""
    if isinstance(error, ValidationError) and says_more(error):
        return BenchError(
            f"the run directory {path} has settings that this version ({__version__}) does not know"
            f" ({_reason(error)}): a newer version of disentangle_bench reads it, or spec.json was edited"
        )
    writer = _writer(path)
    if _number(writer) > _number(__version__):
        return BenchError(
            f"the run directory {path} was written by disentangle_bench {writer}, and this is {__version__}: a newer"
            f" version reads it ({_reason(error)})"
        )
    return BenchError(f"the run directory {path} is damaged: {_reason(error)}. Delete it to run it again.")


def _writer(path: Path) -> str:
    """The version that wrote a run, as far as that can be read."""
    try:
        return str(parse_json(_read(path, "provenance.json"))["versions"]["disentangle_bench"])[:50]
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _number(version: str) -> tuple[int, ...]:
    """A version as it is compared: (0, 1, 0); nothing for what is no version."""
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", version)[:3])


def _reason(error: Exception) -> str:
    """An error in one line, without the name of its kind."""
    if isinstance(error, ValidationError):
        return in_words(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{Path(str(error.filename)).name}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _read_curves(path: Path) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO(_read(path, "curves.csv").decode(), newline=""), strict=True)
    if "step" not in (rows.fieldnames or ()) or len(set(rows.fieldnames or ())) != len(rows.fieldnames or ()):
        raise ValueError("curves.csv has no column step, or one of its columns twice")
    found = []
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"curves.csv: line {rows.line_num} does not have a value for each column")
        found.append({key: float(value) for key, value in row.items()})
    if not found:
        raise ValueError("curves.csv has no rows")
    return found


def _refuse_odd_file(path: Path) -> None:
    """Raise OSError for what is no plain file, such as a pipe, which would be waited for for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))


def _read_weights(path: Path, provenance: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """The weights of a run. Raises ValueError where they are not those written; runs of before have no checksum."""
    _refuse_odd_file(path / "weights.safetensors")
    content = (path / "weights.safetensors").read_bytes()
    if provenance.get(WEIGHTS_SUM) not in (None, _sha256(content)):
        raise ValueError(f"weights.safetensors is not the file whose {WEIGHTS_SUM} is in provenance.json")
    return safetensors.numpy.load(content)


def _read_checkpoint(path: Path, tensors: bool) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What was told of a checkpoint, and its tensors where they are asked for; both are held against checksums."""
    try:
        _refuse_odd_file(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            kept = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
        if "about_sha256" not in kept:
            raise ValueError("it has no checksum, as those of earlier versions had none")
        if kept["about_sha256"] != _sha256(kept.get("about", "").encode()):
            raise ValueError("what it says of its runs does not have the checksum that was written")
        if tensors and kept.get("tensors_sha256") != _tensors_sha256(arrays):
            raise ValueError("its tensors do not have the checksum that was written")
        return checked(CheckpointKept, parse_json(kept["about"])), arrays
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BenchError(f"the checkpoint {path} cannot be read: {_reason(error)}") from error
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise Damaged(f"the checkpoint {path} cannot be used: {_reason(error)}") from error


def _makers() -> str:
    """What makes tables: this package's files as they are now, and the versions of the libraries they use."""
    root = Path(__file__).parent
    code = [f"{path.relative_to(root)} {_stamp(path)}" for path in sorted(root.rglob("*.py"))]
    return "\n".join([*code, *(f"{name} {importlib.metadata.version(name)}" for name in TABLE_LIBRARIES)])


def _stamp(path: Path) -> str:
    about = path.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tensors_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A checksum of names, types, shapes and every byte of these contiguous arrays, in the order of their names."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, what the disk refuses becomes a BenchError that names `path`, the reason and what to do."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BenchError(
            f"{path} cannot be written: {reason}. What was finished before is kept whole; see to the disk and the"
            " directory's permissions, and give the same command again."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, sync it, rename it: a reader sees the old or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _fill(directory: Path, record: RunRecord) -> None:
    write_text(directory / "spec.json", record.spec.model_dump_json(indent=1))
    if record.failure is not None:
        write_text(directory / "provenance.json", _json(record.provenance))
        write_text(directory / FAILED, record.failure)
        return
    weights = safetensors.numpy.save(
        {key: np.ascontiguousarray(value) for key, value in record.weights.items()}
    )
    write_bytes(directory / "weights.safetensors", weights)
    provenance = {**record.provenance, WEIGHTS_SUM: _sha256(weights)}
    write_text(directory / "provenance.json", _json(provenance))
    write_text(directory / "curves.csv", _csv(record.curves))
    write_text(directory / "scores.json", _json(record.scores))
    if record.pictures:
        (directory / "pictures").mkdir()
        for name, content in record.pictures.items():
            write_bytes(directory / "pictures" / _plain(name), content)
    write_text(directory / DONE, "")


def _save_safetensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], notes: dict[str, str] | None = None
) -> None:
    """Write a new file of tensors, synced, with the permissions that the umask gives any new file."""
    # The library makes files that nobody but their owner may read.
    with path.open("xb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    safetensors.numpy.save_file(
        {key: np.ascontiguousarray(value) for key, value in tensors.items()}, path, notes
    )
    path.chmod(mode)
    _sync(path)


def _sync(path: Path) -> None:
    """Make the disk have what was written to a file, or the names that were changed in a directory."""
    if os.name == "nt":
        return  # Windows syncs neither directories nor files that are open for reading
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain(name: str) -> str:
    """The name itself. Raises BenchError unless it is one plain part of a path."""
    if not PLAIN_NAME.fullmatch(name):
        raise BenchError(
            f"{name!r} is no name for a file here: letters, digits, '.', '_' and '-' are allowed"
        )
    return name


def _file_name(label: str) -> str:
    """A file name for a label, which may be a path: readable, and never leading elsewhere."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", label).strip("_")[-80:]
    return f"{readable}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=1) + "\n"


def _csv(rows: Sequence[Mapping[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plain_grid(grid: Grid) -> dict[str, Any]:
    """The grid as TOML can hold it: no nulls, lists for tuples."""
    return json.loads(grid.model_dump_json(exclude_none=True))
