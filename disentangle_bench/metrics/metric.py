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
    """What a metric's definition promises; the tests hold every registered metric to it.

    Every score of the metric's headlines lies in `lowest`..`highest`. The headlines do not move, beyond
    `slack`, when the latents are reordered (`permutation`), mirrored (`sign`) or each multiplied by a factor
    of its own (`scale`), and they fall when noise drowns a perfect code (`falls_with_noise`).
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
    """A score function with what a reader must know of it.

    `headlines` are the keys of its scores that a leaderboard shows; higher is better for each of them but
    those that `lower_is_better` names, and a diagnostic, of which neither can be said, has none.
    `revision` goes up whenever the same codes may get another number, so that tables never mix the two.
    `source` is a hash of its code where that is not this package's, which an edit changes without a revision; whoever
    loads a metric fills it in.
    `training_rows` is how many rows it draws from the whole table, with replacement, to train what it then
    tests on rows drawn likewise; 0 where it does no such thing. `needs_factors` is whether it looks at the
    factors; one that does not is given none, [points, 0], and is scored on images without factors too.
    `takes_width` says that the score has a parameter `width`: so many neighbouring columns of the codes are one
    latent, a vector. `takes_values` says that, where some factors are real-valued, the score takes what was measured
    (float64) in place of the numbers of their bins. `expects` is compulsory for the metrics of this tree and optional
    for anyone else's.
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
