"""Scores of anyone's codes, read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from disentangle_bench.data.load import load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.scoring import score_codes


def score_file(
    path: Path, dataset: str | None, metrics: Sequence[str], seed: int, data_dir: Path | None
) -> dict[str, float]:
    """The scores of the array `codes` [points, latents] in the `.npz` file `path`.

    Factors are the file's array `factors` [points, factors], or those of the data set `dataset`, row for row in its
    order. Raises BenchError for a file that is not such, and for codes and factors of different lengths.
    """
    arrays = _arrays(path)
    if "codes" not in arrays:
        raise BenchError(f"{path} holds no array `codes`, only {', '.join(arrays) or 'nothing'}")
    factors: Any
    if dataset is not None:
        images = load_dataset(dataset, data_dir=data_dir)
        factors = images.factors(torch.arange(len(images)))
    elif "factors" in arrays:
        factors = arrays["factors"]
    else:
        raise BenchError(
            f"{path} holds no array `factors`; name a data set whose images were encoded with --dataset"
        )
    return score_codes(arrays["codes"], factors, metrics=metrics, seed=seed)


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ("codes", "factors") if name in file}
    except FileNotFoundError as error:
        raise BenchError(f"there is no file {path}") from error
    except (OSError, ValueError, AttributeError, TypeError, EOFError, BadZipFile) as error:
        raise BenchError(f"{path} cannot be read as an .npz file of arrays: {error}") from error
