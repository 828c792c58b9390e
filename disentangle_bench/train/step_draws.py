"""What a step draws for every run: the positions of its images in the data set, and its objective's noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from disentangle_bench import randomness
from disentangle_bench.models.draws import Draw, Permutations
from disentangle_bench.models.objective import Objective
from disentangle_bench.train.batches import Batches

Numbers = tuple[Tensor, dict[str, Tensor]]  # index and noise
Function = Callable[[Tensor, Tensor], Numbers]  # of seeds [runs] and step
MOST_AHEAD = 32  # steps
VALUES_AHEAD = 2**16  # more would leave the processor's cache before they are used


@dataclass(frozen=True)
class StepDraws:
    """The draws of a stack's steps."""

    batches: Batches
    objective: Objective
    noise: Mapping[str, Draw]
    batch_size: int

    def numbers(self, seeds: Tensor, step: Tensor) -> Numbers:
        """An index int64 [runs, batches * batch_size] for `images`, and the noise [runs, ...]."""
        index = self.batches.index(seeds, step, self.objective.batches * self.batch_size)
        return index, randomness.draw(self.noise, seeds, step)

    def images(self, index: Tensor, seeds: Tensor, step: Tensor) -> Tensor:
        """uint8 [runs, batches * batch_size, channels, height, width]."""
        return self.batches.images(index, seeds, step, self.objective.pairs)


class Ahead:
    """One run's draws, made for up to 32 steps at once, each step's the same numbers as drawn by themselves.

    A step draws a few hundred values by some hundred operations, which cost more to begin than to do.
    """

    def __init__(self, draws: StepDraws, seed: Tensor) -> None:
        self.draws, self.seed = draws, seed
        values = sum(_values(asked) for asked in draws.noise.values()) + draws.batch_size
        self.steps = max(1, min(MOST_AHEAD, VALUES_AHEAD // values))
        self.first = -self.steps  # step of the block that is there
        self.block: Numbers

    def numbers(self, step: int) -> Numbers:
        """The index [batches * batch_size] and the noise of this step."""
        if not self.first <= step < self.first + self.steps:
            self.first = step
            steps = torch.arange(step, step + self.steps, device=self.seed.device)
            self.block = self.draws.numbers(self.seed.expand(self.steps), steps)
        index, noise = self.block
        place = step - self.first
        return index[place], {name: values[place] for name, values in noise.items()}


def _values(asked: Draw) -> int:
    return asked.rows * asked.columns if isinstance(asked, Permutations) else math.prod(asked.shape)
