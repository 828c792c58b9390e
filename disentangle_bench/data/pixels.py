"""Pixels at the door: what may come in as images, and how it becomes bytes 0..255 or floats 0..1.

Bytes 0..255 and floats 0..1 are taken as they are. Other numbers are taken where nothing is lost and nothing has to be
guessed: whole numbers 0..255 in whatever type. All else is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from disentangle_bench.errors import BenchError

# What resizing in floats adds to 1 or takes from 0.
ROUNDING = 1e-6
RANGES = "images are whole numbers 0 to 255 or floats 0 to 1"


def bytes_per_unit(path: Path, dtype: np.dtype[Any], blocks: Iterable[NDArray[Any]]) -> int:
    """What a file's pixels are multiplied by to become bytes: 1 for whole numbers 0..255, 255 for floats 0..1.

    Raises BenchError for numbers that are neither, with their range.
    """
    if dtype == np.uint8 or dtype.kind == "b":
        return 1
    low, high, whole = 0.0, 0.0, True
    for block in blocks:
        if dtype.kind == "f" and not np.isfinite(block).all():
            raise BenchError(f"{path}: images hold a nan or an infinity; {RANGES}")
        low, high = min(low, float(block.min(initial=0))), max(high, float(block.max(initial=0)))
        whole = whole and bool((block == np.rint(block)).all())
    if low >= -ROUNDING and high <= 1 + ROUNDING and dtype.kind == "f":
        return 255
    if low >= 0 and high <= 255 and whole:
        return 1
    kind = "" if whole else ", not all whole,"
    hint = f" (scale {dtype}'s levels to 8 bits before you save them)" if high > 255 else ""
    raise BenchError(f"{path}: images are {dtype} from {low:g} to {high:g}{kind} but {RANGES}{hint}")


def as_bytes(block: NDArray[Any], scale: int) -> NDArray[np.uint8]:
    """The pixels as bytes; floats 0..1 go to the nearest of the 256 levels."""
    return block.astype(np.uint8) if scale == 1 else np.rint(block * float(scale)).astype(np.uint8)


def unit_floats(images: Any, image_shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Images for a network: float32 [n, channels, height, width] in 0..1 on the device.

    Given are bytes 0..255, floats 0..1 or whole numbers 0..255 in another type. Raises BenchError for others, and for
    another layout. Only the values of bytes need no look, so that a GPU is not waited for.
    """
    try:
        given = torch.as_tensor(images)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BenchError(f"images are needed as an array, not {type(images).__name__!r}: {error}") from error
    if given.ndim != 4 or tuple(given.shape[1:]) != image_shape:
        raise BenchError(
            f"images have the shape {tuple(given.shape)}; this model takes"
            f" [n, channels, height, width] = (n, {', '.join(map(str, image_shape))})"
        )
    if given.dtype.is_complex:
        raise BenchError(f"images are {given.dtype}; {RANGES}")
    given = given.to(device)
    if given.dtype == torch.uint8:
        return given.to(torch.float32) / 255
    return _checked_floats(given)


def _checked_floats(given: Tensor) -> Tensor:
    """Numbers of another type than bytes as floats 0..1; BenchError where that would be a guess."""
    real = given.is_floating_point()
    # Unsigned types beyond bytes know neither minimum nor comparison.
    values = given if real else given.to(torch.int64)
    if not values.numel() or given.dtype == torch.bool:
        return values.to(torch.float32)
    low, high = float(values.min()), float(values.max())
    if real and low >= -ROUNDING and high <= 1 + ROUNDING:
        return values.to(torch.float32).clamp(0, 1)
    if low >= 0 and high <= 255 and (not real or bool((values == values.round()).all())):
        return values.to(torch.float32) / 255
    raise BenchError(f"images are {given.dtype} from {low:g} to {high:g}; {RANGES}")


def as_floats(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """0..1 from uint8 0..255."""
    return images.to(dtype) / 255
