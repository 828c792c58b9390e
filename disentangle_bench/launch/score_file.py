"""Scores of anyone's codes, read from a file, beside what chance scores at the same size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
import torch

from disentangle_bench.data.load import load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.launch.score_pool import score_one
from disentangle_bench.scoring import checked_tables, named_metrics, overlap_note, random_codes

HOW_TO_SAVE = "np.savez('codes.npz', codes=codes, factors=factors)"


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
    """The arrays of these names in an `.npz` file."""
    if not path.is_file():
        raise BenchError(f"there is no file {path}")
    try:
        if not is_zipfile(path):
            raise BenchError(f"{path} cannot be read as arrays with names; an .npz is needed: {HOW_TO_SAVE}")
        with np.load(path, allow_pickle=False) as file:
            for name in names:
                if name not in file:
                    raise BenchError(_missing(path, name, file.files))
            return {name: file[name] for name in names}
    except (OSError, ValueError, AttributeError, TypeError, EOFError, BadZipFile) as error:
        raise BenchError(f"{path} cannot be read as an .npz file of arrays: {error}") from error


def _missing(path: Path, name: str, there: Sequence[str]) -> str:
    otherwise = ", or name a data set whose images were encoded with --dataset" if name == "factors" else ""
    return (
        f"{path} holds no array `{name}`, only {', '.join(there) or 'nothing'}; save it as "
        f"{HOW_TO_SAVE}{otherwise}"
    )
