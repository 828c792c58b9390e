"""Training batches in which two factors go together, while scoring stays on the full grid (Traeuble et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError, unknown_name


class CorrelatedPair:
    """Draws images whose factors `first` and `second` are correlated; every other factor is uniform.

    The pair's probability is proportional to exp(-(a - b)^2 / (2 sigma^2)), where a and b are the two factors'
    values scaled to 0..1 (Traeuble et al. 2021, section 3, with the factors' ranges made equal). A small `sigma`
    ties them together, a large one leaves them free; the paper uses .2, .4 and .7. Raises BenchError for an
    unknown factor, the same one twice, a `sigma` that is not positive, and a data set that is no full grid.
    """

    def __init__(self, dataset: FactorDataset, first: str, second: str, sigma: float) -> None:
        for factor in (first, second):
            if factor not in dataset.factor_names:
                raise unknown_name(f"factor of {dataset.name}", factor, dataset.factor_names)
        if first == second or not sigma > 0:
            raise BenchError(
                f"two different factors and a positive sigma are needed, not {first}, {second}, {sigma}"
            )
        if not dataset.full_grid:
            raise BenchError(
                f"{dataset.name} lacks some combinations of factors: they cannot be drawn at will"
            )
        self.dataset = dataset
        self.columns = tuple(dataset.factor_names.index(factor) for factor in (first, second))
        self.sizes = torch.tensor(dataset.factor_sizes, device=dataset.device)
        a, b = (
            torch.linspace(0, 1, dataset.factor_sizes[column], dtype=torch.float64, device=dataset.device)
            for column in self.columns
        )
        weights = torch.exp(-((a[:, None] - b) ** 2) / (2 * sigma**2))
        self.marginal = cumulative(weights.sum(dim=1))
        self.conditional = cumulative(weights)

    def index(self, uniforms: Tensor) -> Tensor:
        """int64 [n]: the images that these uniform numbers in [0, 1) [n, factors] choose, a column per factor.

        The host waits for nothing, so that a GPU can be given many steps at once.
        """
        sizes = self.sizes
        # A number just below 1 may round up to it, so that the last value is the limit.
        values = torch.minimum((uniforms.double() * sizes).long(), sizes - 1)
        first, second = self.columns
        a, b = (uniforms[:, column].double().contiguous() for column in self.columns)
        values[:, first] = torch.searchsorted(self.marginal, a, right=True).clamp_(max=len(self.marginal) - 1)
        rows = self.conditional[values[:, first]]
        values[:, second] = torch.searchsorted(rows, b[:, None], right=True)[:, 0]
        return self.dataset.place(torch.minimum(values, sizes - 1))


def cumulative(weights: Tensor) -> Tensor:
    """The cumulative distribution along the last axis."""
    total = weights.cumsum(dim=-1)
    return total / total[..., -1:]
