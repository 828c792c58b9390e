"""What a step draws for every run: the positions of its images in the data set, and its objective's noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from disentangle_bench.models.draws import Draw
from disentangle_bench.models.objective import Objective
from disentangle_bench.train import randomness
from disentangle_bench.train.batches import Batches

Numbers = tuple[Tensor, dict[str, Tensor]]  # index and noise
Function = Callable[[Tensor, Tensor], Numbers]  # of seeds [runs] and step


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
        return self.batches.images_at(index, seeds, step, self.objective)
