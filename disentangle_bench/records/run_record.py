"""One run as it is kept in a directory of its own: written whole or not at all, and read with nothing believed.

spec.json  weights.safetensors  curves.csv  scores.json  provenance.json  sample.safetensors  pictures/
DONE, or FAILED, which holds the reason
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError

from disentangle_bench.errors import BenchError
from disentangle_bench.files import (
    json_text,
    parse_json,
    plain_name,
    read_small,
    refuse_odd_file,
    sha256,
    write_bytes,
    write_text,
)
from disentangle_bench.records.schemas import (
    RUN_COLUMNS,
    ProvenanceKept,
    ScoresKept,
    checked,
    in_words,
    says_more,
)
from disentangle_bench.specs import NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.version import __version__

DONE, FAILED = "DONE", "FAILED"
SAMPLE = "sample.safetensors"


WEIGHTS_SUM = "weights_sha256"  # the key of provenance.json that has the weights' checksum


@dataclass(frozen=True)
class RunRecord:
    """All that is kept of one run; `failure` is the reason why it has no result, else None.

    `pictures` holds image files by file name; they are written with the run and not read back. `sample` holds codes of
    some images (`evaluation.sample`), which `load_sample` reads.
    """

    spec: RunSpec
    provenance: Mapping[str, Any]
    scores: Mapping[str, Any] = field(default_factory=dict)
    curves: Sequence[Mapping[str, float]] = ()
    weights: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    sample: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    failure: str | None = None


def load_spec(path: Path) -> RunSpec:
    """What was asked for in the run in directory `path`. Raises BenchError where that cannot be read."""
    with _reading(path):
        return _spec(path)


def load_record(path: Path, weights: bool = False, curves: bool = True) -> RunRecord:
    """The run in directory `path`. Raises BenchError where it is no run or a file of it is damaged."""
    return load_listed(path, files_in(path), weights, curves)


def files_in(path: Path) -> frozenset[str]:
    """The names in a directory; none where there is no directory."""
    try:
        return frozenset(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {reason_of(error)}") from error


def load_listed(path: Path, files: frozenset[str], weights: bool, curves: bool) -> RunRecord:
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
        raise BenchError(f"the run directory {path} cannot be read: {reason_of(error)}") from error
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
            f" ({reason_of(error)}): a newer version of disentangle_bench reads it, or spec.json was edited"
        )
    writer = _writer(path)
    if _number(writer) > _number(__version__):
        return BenchError(
            f"the run directory {path} was written by disentangle_bench {writer}, and this is {__version__}: a newer"
            f" version reads it ({reason_of(error)})"
        )
    return BenchError(f"the run directory {path} is damaged: {reason_of(error)}. Delete it to run it again.")


def _writer(path: Path) -> str:
    """The version that wrote a run, as far as that can be read."""
    try:
        return str(parse_json(_read(path, "provenance.json"))["versions"]["disentangle_bench"])[:50]
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _number(version: str) -> tuple[int, ...]:
    """A version as it is compared: (0, 1, 0); nothing for what is no version."""
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", version)[:3])


def reason_of(error: Exception) -> str:
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


def _read_weights(path: Path, provenance: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """The weights of a run. Raises ValueError where they are not those written."""
    refuse_odd_file(path / "weights.safetensors")
    content = (path / "weights.safetensors").read_bytes()
    if provenance.get(WEIGHTS_SUM) != sha256(content):
        raise ValueError(f"weights.safetensors is not the file whose {WEIGHTS_SUM} is in provenance.json")
    return safetensors.numpy.load(content)


def load_sample(path: Path) -> dict[str, NDArray[np.float32]] | None:
    """The codes of some images that are kept with the run in directory `path`; None where there are none to be read.

    Runs of before have none, and nothing is lost where the file is damaged: one measure has no value then.
    """
    try:
        found = safetensors.numpy.load(read_small(path / SAMPLE))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, SafetensorError):
        return None
    codes, kl = found.get("codes"), found.get("kl")
    if codes is None or codes.ndim != 2 or not np.isfinite(codes).all():
        return None
    return found if kl is None or kl.shape == codes.shape[1:] else None


def write_run(directory: Path, record: RunRecord) -> None:
    """Write the files of a run into an empty directory."""
    write_text(directory / "spec.json", record.spec.model_dump_json(indent=1))
    if record.failure is not None:
        write_text(directory / "provenance.json", json_text(record.provenance))
        write_text(directory / FAILED, record.failure)
        return
    weights = safetensors.numpy.save(
        {key: np.ascontiguousarray(value) for key, value in record.weights.items()}
    )
    write_bytes(directory / "weights.safetensors", weights)
    provenance = {**record.provenance, WEIGHTS_SUM: sha256(weights)}
    write_text(directory / "provenance.json", json_text(provenance))
    write_text(directory / "curves.csv", _csv(record.curves))
    write_text(directory / "scores.json", json_text(record.scores))
    if record.sample:
        write_bytes(directory / SAMPLE, safetensors.numpy.save(dict(record.sample)))
    if record.pictures:
        (directory / "pictures").mkdir()
        for name, content in record.pictures.items():
            write_bytes(directory / "pictures" / plain_name(name), content)
    write_text(directory / DONE, "")


def _csv(rows: Sequence[Mapping[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
