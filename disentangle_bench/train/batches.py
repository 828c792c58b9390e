"""Which images a step trains on: all alike, without held-out combinations, or with two factors that go together."""

from __future__ import annotations

from torch import Tensor

from disentangle_bench.data.correlated import CorrelatedPair
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.parts import hold_out
from disentangle_bench.spec import DatasetSpec
from disentangle_bench.train import randomness


class Batches:
    """Random batches of a data set as its grid entry asks; scoring does not use it and sees the whole set.

    Raises BenchError where the entry's held-out values or correlated factors do not fit the data set.
    """

    def __init__(self, spec: DatasetSpec, dataset: FactorDataset) -> None:
        self.dataset = dataset
        self.pair: CorrelatedPair | None = None
        if spec.hold_out is not None:
            self.dataset, _ = hold_out(dataset, spec.hold_out)
        if spec.correlated is not None:
            pair = spec.correlated
            self.pair = CorrelatedPair(dataset, pair.first, pair.second, pair.sigma)

    def images(self, seed: Tensor, step: int, count: int) -> Tensor:
        """uint8 [count, channels, height, width], a function of (seed, step), drawn with replacement."""
        stream = randomness.key(seed, step, "batch")
        if self.pair is None:
            return self.dataset.images(randomness.integers(stream, count, len(self.dataset)))
        factors = len(self.dataset.factor_names)
        uniforms = randomness.uniform(stream, count * factors).reshape(count, factors)
        return self.dataset.images(self.pair.index(uniforms))
