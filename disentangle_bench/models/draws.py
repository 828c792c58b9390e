"""What an objective may ask to be drawn for a step. It asks; whoever trains draws.

A draw names a distribution and a shape and nothing else, so that the same objective gives the same result whether its
run trains alone or in a stack, and after a resume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Normal:
    """Independent standard normal values, float32 [*shape]."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Uniform:
    """Independent values uniform on the open interval (0, 1), float32 [*shape]."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Permutations:
    """One permutation of 0..rows-1 in each column, int64 [rows, columns]."""

    rows: int
    columns: int


Draw = Normal | Uniform | Permutations


def sample(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Of N(mean, exp(log_variance)), element by element, made of standard normal noise."""
    return mean + noise * (0.5 * log_variance).exp()
