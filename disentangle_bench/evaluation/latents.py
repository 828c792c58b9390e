"""Codes as metrics see them: a number a latent or, where latents are vectors, the vectors beside a number for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from disentangle_bench.evaluation.scores import named_metrics, random_codes
from disentangle_bench.evaluation.tables import (
    Truth,
    checked_codes,
    checked_tables,
    numbers_of,
    reduced_tokens,
)
from disentangle_bench.metrics.metric import Codes, Factors, Metric, ScoreFn, Scores


@dataclass(frozen=True)
class Latents:
    """Codes [points, latents]; where each latent is a vector, `vectors` [points, latents * width] too."""

    table: Codes
    vectors: Codes | None = None
    width: int = 1

    def whole(self, metrics: Sequence[str]) -> dict[str, Metric]:
        """Those of the metrics that take vectors as they are, told of their width; none where there are none."""
        if self.vectors is None:
            return {}
        found = {name: metric for name, metric in named_metrics(metrics).items() if metric.takes_width}
        return {name: replace(metric, score=self._of_vectors(metric)) for name, metric in found.items()}

    def _of_vectors(self, metric: Metric) -> ScoreFn:
        score: Callable[..., Scores] = metric.score
        return partial(score, width=self.width)

    def random(self, seed: int) -> Latents:
        """Random codes of the same shape."""
        table = random_codes(len(self.table), self.table.shape[1], seed)
        if self.vectors is None:
            return Latents(table)
        return Latents(table, random_codes(len(self.vectors), self.vectors.shape[1], seed), self.width)


def checked_latents(codes: Any, factors: Any) -> tuple[Latents, Factors | Truth]:
    """The codes and factors, checked. Raises BenchError where they are no such tables."""
    reduced, width = reduced_tokens(codes)
    numbers = numbers_of(factors)
    table, truth = checked_tables(reduced, factors, needed=np.ndim(numbers) != 2 or np.shape(numbers)[1] > 0)
    if width is None:
        return Latents(table), truth
    return Latents(table, checked_codes(np.reshape(codes, (len(codes), -1))), width), truth
