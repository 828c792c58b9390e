"""What a metric is: a pure function of (codes, factors), with its paper, its headlines and its revision."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.float32]
Factors = NDArray[np.int64]
# What was measured of real-valued factors, and the numbers of the others.
Values = NDArray[np.float64]
Scores = dict[str, float]


class ScoreFn(Protocol):
    """A metric's body; what else its signature holds are its protocol constants, with their defaults."""

    def __call__(self, codes: Codes, factors: Factors, *, rng: np.random.Generator) -> Scores:
        """Scores for codes [points, latents] and factors [points, factors], values 0..size-1."""
        ...


@dataclass(frozen=True)
class Expects:
    """What a metric's definition promises; the tests check every registered metric against it.

    Every headline score lies in `lowest`..`highest`. The headlines do not change by more than `slack` if
    the latents are reordered (`permutation`), mirrored (`sign`) or each multiplied by its own factor
    (`scale`). They fall if noise drowns a perfect code (`falls_with_noise`).
    """

    lowest: float = 0.0
    highest: float = 1.0
    permutation: bool = True
    sign: bool = True
    scale: bool = True
    falls_with_noise: bool = True
    slack: float = 1e-6


@dataclass(frozen=True)
class Metric:
    """A score function with what a reader must know about it.

    - `headlines` are the keys of its scores that a leaderboard shows. A diagnostic has none.
    - `lower_is_better` names the headlines for which lower is better. For all others higher is better.
    - `revision` goes up whenever the same codes may get another number, so that tables never mix the two.
    - `source` is a hash of its code if that is not this package's, because an edit changes it without a
      revision. The code that loads a metric fills it in.
    - `training_rows` is the number of rows it draws from the whole table, with replacement, for training,
      before it tests on rows drawn in the same way. It is 0 if the metric does no such thing.
    - `needs_factors` is whether it looks at the factors. A metric that does not is given no factors,
      [points, 0], and also scores images without factors.
    - `takes_width` says that the score has a parameter `width`: so many neighbouring columns of the codes
      are one latent, a vector.
    - `takes_values` says that, for real-valued factors, the score takes the values (float64) instead of the
      numbers of their bins.
    - `expects` is required for the metrics of this package and optional for others.
    """

    score: ScoreFn
    headlines: tuple[str, ...]
    paper: str
    revision: int = 1
    lower_is_better: tuple[str, ...] = ()
    training_rows: int = 0
    needs_factors: bool = True
    takes_width: bool = False
    takes_values: bool = False
    expects: Expects | None = None
    source: str | None = None
