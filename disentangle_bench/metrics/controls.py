"""Codes made from the factors themselves: what a perfect representation gets, and what imperfect ones get.

A score means little alone. Each control is a function (factors, rng) to codes [points, latents] float32, whose rows
describe the same points as those of `factors` [points, factors]: numbers, or of real-valued factors what was measured.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.metrics.metric import Codes, Factors, Values
from disentangle_bench.metrics.standardised import standardised

Control = Callable[[Factors | Values, np.random.Generator], Codes]


def ground_truth(factors: Factors | Values, rng: np.random.Generator) -> Codes:
    """Each latent is one factor with mean 0 and variance 1: what a metric gives it is the metric's ceiling."""
    return standardised(factors).astype(np.float32)


def symmetric(factors: Factors, factor: int, by: int, seen: NDArray[np.floating]) -> Codes:
    """The ground truth as far as images show it: the ceiling of what a model of the images can get.

    Images do not show the value of the column `factor`, but `seen` [values of the column `by`, values of `factor`].
    """
    shown = factors.astype(np.float64)
    shown[:, factor] = seen[factors[:, by], factors[:, factor]]
    return standardised(shown).astype(np.float32)


def rotated(factors: Factors | Values, rng: np.random.Generator) -> Codes:
    """The ground truth turned by a random rotation: all is there, nothing is apart."""
    return (standardised(factors) @ _rotation(factors.shape[1], rng)).astype(np.float32)


def duplicated(factors: Factors | Values, rng: np.random.Generator) -> Codes:
    """The ground truth twice over: each latent has a factor of its own, no factor has a latent of its own."""
    return np.hstack([standardised(factors)] * 2).astype(np.float32)


def noisy(factors: Factors | Values, rng: np.random.Generator) -> Codes:
    """The ground truth with Gaussian noise as strong as itself on every latent."""
    return (standardised(factors) + rng.normal(size=factors.shape)).astype(np.float32)


def random(factors: Factors | Values, rng: np.random.Generator) -> Codes:
    """Ten latents of Gaussian noise that know nothing: what a metric gives them is chance."""
    return rng.normal(size=(len(factors), 10)).astype(np.float32)


CONTROLS: dict[str, Control] = {
    "ground_truth": ground_truth,
    "rotated": rotated,
    "duplicated": duplicated,
    "noisy": noisy,
    "random": random,
}


def _rotation(dimensions: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A rotation drawn uniformly: Q of a Gaussian matrix, with the signs that make the draw uniform."""
    q, r = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
    turned: NDArray[np.float64] = q * np.sign(np.diag(r))
    return turned
