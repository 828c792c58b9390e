"""How fast a training takes its steps on the device at hand."""

from __future__ import annotations

import time

from disentangle_bench.precision import PRECISIONS, float32_products
from disentangle_bench.train.loop import Training


def seconds_per_step(training: Training, warm_up: int, timed: int) -> float:
    """The mean time of `timed` steps after `warm_up` steps, in the precision that its runs ask for."""
    started = 0.0
    with float32_products(PRECISIONS[training.specs[0].training.precision]):
        for step in range(warm_up + timed):
            if step == warm_up:
                training.take_sums()  # waits for the device
                started = time.perf_counter()
            training.advance()
        training.take_sums()
    return (time.perf_counter() - started) / timed
