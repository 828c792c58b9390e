"""Scores of anyone's codes, read from a file, beside what chance scores at the same size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np

from disentangle_bench.data.strict_npz import ArrayHeader, open_npz
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluate.pool import score_one
from disentangle_bench.evaluate.scores import named_metrics, overlap_note, random_codes
from disentangle_bench.evaluate.tables import checked_tables

HOW_TO_SAVE = "np.savez('codes.npz', codes=codes, factors=factors)"
MOST_VALUES = 1 << 27


@dataclass(frozen=True)
class FileScores:
    """Scores by key, the same of random codes of the same shape, metrics that raised with their reasons, and a note."""

    scores: dict[str, float | None]
    chance: dict[str, float | None]
    failures: dict[str, str]
    note: str | None


def score_file(
    path: Path,
    dataset: str | None,
    metrics: Sequence[str],
    seed: int,
    data_dir: Path | None,
    metric_seconds: float | None = None,
) -> FileScores:
    """What the metrics say of the array `codes` [points, latents] in the `.npz` file `path`.

    Factors are the file's array `factors` [points, factors], or those of the data set `dataset`, row for row in its
    order. A metric that takes longer than `metric_seconds` is given up, as if it had raised. Raises BenchError for a
    file that is not such, for tables that no metric can score and for unknown metrics.
    """
    names = list(named_metrics(metrics))
    arrays = _arrays(path, ("codes",) if dataset is not None else ("codes", "factors"))
    factors: Any
    if dataset is not None:
        import torch

        from disentangle_bench.data.load import load_dataset

        images = load_dataset(dataset, data_dir=data_dir)
        factors = images.factors(torch.arange(len(images)))
    else:
        factors = arrays["factors"]
    codes, factors = checked_tables(arrays["codes"], factors)
    found = score_one(codes, factors, names, seed, metric_seconds)
    blind = random_codes(codes.shape[0], codes.shape[1], seed)
    chance = score_one(blind, factors, list(found["metrics"]), seed, metric_seconds)
    return FileScores(found["scores"], chance["scores"], found["failures"], overlap_note(found))


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of these names in an `.npz` file, after a look at what their headers declare."""
    if not path.is_file():
        raise BenchError(f"there is no file {path}")
    if not is_zipfile(path):
        raise BenchError(f"{path} cannot be read as arrays with names; an .npz is needed: {HOW_TO_SAVE}")
    with open_npz(path) as source:
        for name in names:
            if not source.has(name):
                raise BenchError(_missing(path, name, source.keys()))
            _refuse_no_table(path, name, source.header(name))
        return {name: np.concatenate(list(source.blocks(name))) for name in names}


def _refuse_no_table(path: Path, name: str, header: ArrayHeader) -> None:
    """Raise BenchError unless the array is a table of numbers of a size that can be scored."""
    columns = "latents" if name == "codes" else "factors"
    if len(header.shape) != 2 or 0 in header.shape or header.dtype.kind not in "biuf":
        raise BenchError(
            f"{path}: {name} are {header.dtype} {list(header.shape)}, not numbers [points, {columns}]"
        )
    if math.prod(header.shape) > MOST_VALUES:
        raise BenchError(
            f"{path}: {name} {list(header.shape)} are too many; at most {MOST_VALUES} values are taken"
        )


def _missing(path: Path, name: str, there: Sequence[str]) -> str:
    otherwise = ", or name a data set whose images were encoded with --dataset" if name == "factors" else ""
    return (
        f"{path} holds no array `{name}`, only {', '.join(there) or 'nothing'}; save it as "
        f"{HOW_TO_SAVE}{otherwise}"
    )
