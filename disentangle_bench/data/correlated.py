"""Training batches in which factors go together, while scoring stays on the full grid (Traeuble et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError, unknown_name

ALL = "*"  # in place of a tie's second factor: every other one


@dataclass(frozen=True)
class Tie:
    """Two factors that go together, or against each other (`inverse`); the closer, the smaller `sigma`.

    `second` "*" ties the first to every other factor: a confounder.
    """

    first: str
    second: str
    sigma: float
    inverse: bool = False


@dataclass(frozen=True)
class _Drawn:
    """How one tied factor is drawn: cumulative distributions [values], or [values of the parent, values]."""

    column: int
    parent: int | None
    cumulative: Tensor


class CorrelatedFactors:
    """Draws images whose tied factors are correlated; every other factor is uniform.

    The probability of an image is proportional to the product over ties of exp(-(a - b)^2 / (2 sigma^2)), where a and b
    are the two factors' values scaled to 0..1, and b is turned round to 1 - b for an inverse tie (Traeuble et al. 2021,
    section 3, with the factors' ranges made equal; several pairs, inverse ones and a confounder as in Roth et al. 2023,
    arXiv:2210.07347). A small `sigma` ties them together, a large one leaves them free; the former paper uses .2, .4
    and .7.

    Raises BenchError for an unknown factor, the same one twice, ties in a ring, a `sigma` that is not positive, and a
    data set that is no full grid.
    """

    def __init__(self, dataset: FactorDataset, ties: Sequence[Tie]) -> None:
        dataset.check_labelled("`correlated`")
        if not dataset.full_grid:
            raise BenchError(
                f"{dataset.name} lacks some combinations of factors: they cannot be drawn at will"
            )
        self.dataset = dataset
        self.sizes = torch.tensor(dataset.factor_sizes, device=dataset.device)
        weights: dict[tuple[int, int], Tensor] = {}
        edges = []
        for tie in _pairs(dataset, ties):
            first, second = (dataset.factor_names.index(name) for name in (tie.first, tie.second))
            a, b = (_unit(dataset, column) for column in (first, second))
            b = b.flip(0) if tie.inverse else b
            edges.append((first, second))
            weights[first, second] = torch.exp(-((a[:, None] - b) ** 2) / (2 * tie.sigma**2))
        self.drawn = tuple(_conditionals(dataset, weights, list(_from_the_roots(dataset, edges))))

    def index(self, uniforms: Tensor) -> Tensor:
        """int64 [n]: the images that these uniform numbers in [0, 1) [n, factors] choose, a column per factor.

        The host waits for nothing, so that a GPU can be given many steps at once.
        """
        sizes = self.sizes
        # A number just below 1 may round up to it, so that the last value is the limit.
        values = torch.minimum((uniforms.double() * sizes).long(), sizes - 1)
        for one in self.drawn:
            number = uniforms[:, one.column].double().contiguous()
            if one.parent is None:
                found = torch.searchsorted(one.cumulative, number, right=True)
            else:
                rows = one.cumulative[values[:, one.parent]]
                found = torch.searchsorted(rows, number[:, None], right=True)[:, 0]
            values[:, one.column] = found.clamp_(max=one.cumulative.shape[-1] - 1)
        return self.dataset.place(torch.minimum(values, sizes - 1))


def _pairs(dataset: FactorDataset, ties: Sequence[Tie]) -> Iterator[Tie]:
    """The ties as pairs of two factors, each checked for itself."""
    names = dataset.factor_names
    for tie in ties:
        everyone = tie.second == ALL and ALL not in names
        for factor in (tie.first, *([] if everyone else [tie.second])):
            if factor not in names:
                raise unknown_name(f"factor of {dataset.name}", factor, names)
        if tie.first == tie.second or not tie.sigma > 0:
            raise BenchError(
                "two different factors and a positive sigma are needed, not"
                f" {tie.first}, {tie.second}, {tie.sigma}"
            )
        others = [name for name in names if name != tie.first] if everyone else [tie.second]
        for other in others:
            yield Tie(tie.first, other, tie.sigma, tie.inverse)


def _unit(dataset: FactorDataset, column: int) -> Tensor:
    """The factor's values, scaled to 0..1."""
    return torch.linspace(0, 1, dataset.factor_sizes[column], dtype=torch.float64, device=dataset.device)


def _from_the_roots(
    dataset: FactorDataset, edges: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int | None]]:
    """(factor, the one that it hangs on), each after the latter; None for the first of those that hang together.

    Raises BenchError where ties make a ring, whose factors cannot be drawn one after the other.
    """
    done: set[int] = set()
    for root in [first for first, _ in edges]:
        waiting: list[tuple[int, int | None]] = [] if root in done else [(root, None)]
        while waiting:
            column, parent = waiting.pop(0)
            if column in done:
                raise BenchError(
                    f"{dataset.factor_names[column]} of {dataset.name} is tied to the same factors in two ways; leave"
                    " one of the ties out, so that they make no ring"
                )
            done.add(column)
            yield column, parent
            beside = [b if a == column else a for a, b in edges if column in (a, b)]
            waiting += [(other, column) for other in beside if other != parent]


def _conditionals(
    dataset: FactorDataset,
    weights: dict[tuple[int, int], Tensor],
    order: Sequence[tuple[int, int | None]],
) -> Iterator[_Drawn]:
    """How each tied factor is drawn, given the one that it hangs on; in this order.

    What hangs on a value weighs on it: these sums are passed on from the last factors to the first (the sum-product
    algorithm on a tree, which is exact).
    """
    passed = {column: torch.ones_like(_unit(dataset, column)) for column, _ in order}
    joint = {}
    for column, parent in reversed(order):
        if parent is not None:
            pair = weights.get((parent, column))
            pair = weights[column, parent].T if pair is None else pair
            joint[column] = pair * passed[column]
            passed[parent] = passed[parent] * joint[column].sum(dim=1)
    for column, parent in order:
        yield _Drawn(column, parent, cumulative(passed[column] if parent is None else joint[column]))


def cumulative(weights: Tensor) -> Tensor:
    """The cumulative distribution along the last axis."""
    total = weights.cumsum(dim=-1)
    return total / total[..., -1:]
