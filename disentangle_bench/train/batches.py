"""Which images a step trains on: all alike, without held-out combinations, with factors tied together, in pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle_bench import randomness
from disentangle_bench.data.correlated import CorrelatedFactors, Tie
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.models.objective import Objective
from disentangle_bench.specs import DatasetSpec
from disentangle_bench.splits import seen_and_unseen


class Batches:
    """Random batches of a data set as its grid entry asks; scoring does not use it and sees the whole set.

    Raises BenchError where the entry's held-out values or correlated factors do not fit the data set.
    """

    def __init__(self, spec: DatasetSpec, dataset: FactorDataset) -> None:
        self.dataset = dataset
        self.ties: CorrelatedFactors | None = None
        if (parts := seen_and_unseen(spec, dataset)) is not None:
            self.dataset, _ = parts
        if spec.correlated is not None:
            self.ties = CorrelatedFactors(dataset, [Tie(**tie.model_dump()) for tie in spec.correlated])

    def check(self, objective: Objective) -> None:
        """Raise BenchError where the objective trains on pairs that these images do not make up."""
        if objective.pairs:
            self.dataset.check_labelled(f"{type(objective).__name__}, which trains on pairs of images,")
        if objective.pairs and not (self.dataset.full_grid and len(self.dataset.factor_names) > 1):
            raise BenchError(
                f"{type(objective).__name__} trains on pairs of images that share some factors; {self.dataset.name}"
                " must have every combination of at least two factors for that"
            )

    def images(self, index: Tensor, seed: Tensor, step: Tensor | int, pairs: bool) -> Tensor:
        """uint8 [*index.shape, channels, height, width]: what one step trains on, where `index` is drawn for it.

        A function of (seed, step), for one seed or a stack of them [runs]. The host waits for nothing here and no
        shape depends on data, so that a CUDA graph can hold it.
        """
        if pairs:
            index = self._paired(index, seed, step)
        return self.dataset.images(index.flatten()).unflatten(0, index.shape)

    def training_images(self, seed: Tensor, count: int) -> Tensor:
        """uint8 [n, channels, height, width]: random images to fit a model to; all of them where there are no more.

        Drawn without replacement, but for correlated factors, where an image comes up as often as in training.
        """
        if self.ties is not None:
            return self.dataset.images(self.index(seed.to(self.dataset.device), 0, count))
        stream = randomness.key(seed, 0, "images to fit")
        index = randomness.sample_without_replacement(stream, count, len(self.dataset))
        return self.dataset.images(index.to(self.dataset.device))

    def index(self, seed: Tensor, step: Tensor | int, count: int) -> Tensor:
        """int64 [*seed.shape, count]: positions in `dataset`, drawn with replacement."""
        stream = randomness.key(seed, step, "batch")
        if self.ties is None:
            return randomness.integers(stream, count, len(self.dataset))
        factors = len(self.dataset.factor_names)
        uniforms = randomness.uniform(stream, count * factors).reshape(-1, factors)
        return self.ties.index(uniforms).reshape(*seed.shape, count)

    def _paired(self, index: Tensor, seed: Tensor, step: Tensor | int) -> Tensor:
        """The index [..., 2 * n] with its second half made partners of the first: they share all factors but k.

        Locatello et al. 2020 (arXiv:2002.02886), section 3: k is uniform on 1..factors-1 for each pair, which factors
        are not shared is random, and those are the second image's own (they may agree by chance).
        """
        factors = len(self.dataset.factor_names)
        values = self.dataset.factors(index.flatten()).reshape(*seed.shape, 2, -1, factors)
        first, second = values.unbind(-3)
        stream = randomness.key(seed, step, "pairs")
        words = randomness.words(stream, first.shape[-2] * factors).reshape(first.shape)
        changed = 1 + randomness.integers(
            randomness.key(seed, step, "factors changed"), first.shape[-2], factors - 1
        )
        order = words.argsort(dim=-1, stable=True)  # a random permutation of the factors
        partners = torch.where(order < changed[..., None], second, first)
        return torch.stack(
            [
                index.unflatten(-1, (2, -1))[..., 0, :],
                self.dataset.place(partners.reshape(-1, factors)).reshape(first.shape[:-1]),
            ],
            dim=-2,
        ).flatten(-2)
