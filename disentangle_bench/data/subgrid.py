"""A part of a data set that is a full grid of factors again: every k-th value of some factors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from disentangle_bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from disentangle_bench.data.factor_dataset import FactorDataset, ImageStore, Symmetry


class SubgridStore:
    """The images of another store at 0, k, 2k, ... along each factor.

    `sizes` are the sub-grid's factor sizes; `strides` say how far apart neighbours along each factor lie in
    `store`.
    """

    def __init__(self, store: ImageStore, sizes: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.store, self.sizes, self.strides = store, sizes, strides

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height, width] for positions in the sub-grid."""
        return self.store.images(self.whole(index))

    def whole(self, index: Tensor) -> Tensor:
        """int64 [n]: where these positions in the sub-grid are in the whole."""
        import torch

        whole = torch.zeros_like(index)
        for size, stride in zip(reversed(self.sizes), reversed(self.strides), strict=True):
            whole += index % size * stride
            index = index // size
        return whole

    def to(self, device: torch.device) -> SubgridStore:
        """The same part with its pixels on another device."""
        return SubgridStore(self.store.to(device), self.sizes, self.strides)


def subgrid(dataset: FactorDataset, every: Mapping[str, int]) -> FactorDataset:
    """The data set of the values 0, k, 2k, ... of each factor that `every` maps to a k, and all other values.

    It is named for what was kept, as in `dsprites_rendered[orientation/5,posX/4]`. A k of 1 keeps
    everything; a k that leaves a single value is allowed, since a factor held still is a fair question.
    Raises BenchError for an unknown factor, and for a k that is no whole number from 1 to the factor's size.
    """
    if every:
        dataset.check_labelled("`every`")
    for factor, k in every.items():
        check_step(dataset.name, dataset.factor_names, dataset.factor_sizes, factor, k)
    steps = [every.get(factor, 1) for factor in dataset.factor_names]
    if all(k == 1 for k in steps):
        return dataset
    dataset = replace(dataset, symmetry=_thinned(dataset.symmetry, every))
    label = ",".join(f"{factor}/{k}" for factor, k in zip(dataset.factor_names, steps, strict=True) if k > 1)
    sizes = tuple(-(-size // k) for size, k in zip(dataset.factor_sizes, steps, strict=True))
    labels = {factor: names[:: every.get(factor, 1)] for factor, names in dataset.labels.items()}
    if dataset.table is not None:
        import torch

        from disentangle_bench.data.parts import pick

        divisors = torch.tensor(steps, device=dataset.device)
        rows = (dataset.table % divisors == 0).all(dim=1).nonzero()[:, 0]
        part = pick(dataset, rows, label)
        return replace(part, factor_sizes=sizes, table=dataset.table[rows] // divisors, labels=labels)
    strides, stride = [], 1
    for size, k in zip(reversed(dataset.factor_sizes), reversed(steps), strict=True):
        strides.append(stride * k)
        stride *= size
    store = SubgridStore(dataset.store, sizes, tuple(reversed(strides)))
    return replace(
        dataset,
        name=f"{dataset.name}[{label}]",
        factor_sizes=sizes,
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} [{label}]".encode()).hexdigest(),
        store=store,
        labels=labels,
        measured=_kept(dataset.measured, store),
    )


def _kept(measured: Mapping[str, Tensor], store: SubgridStore) -> dict[str, Tensor]:
    """The measured values of the images that are kept."""
    import torch

    return {
        name: values[store.whole(torch.arange(math.prod(store.sizes), device=values.device))]
        for name, values in measured.items()
    }


def _thinned(symmetry: Symmetry | None, every: Mapping[str, int]) -> Symmetry | None:
    """The symmetry of the values that are kept."""
    if symmetry is None:
        return None
    rows, columns = every.get(symmetry.by, 1), every.get(symmetry.factor, 1)
    return replace(symmetry, seen=symmetry.seen[::rows, ::columns])


def check_step(
    name: str, factor_names: Sequence[str], factor_sizes: Sequence[int], factor: str, k: int
) -> None:
    """Raise BenchError unless every k-th value of this factor of the data set `name` can be kept."""
    if factor not in factor_names:
        raise unknown_name(f"factor of {name}", factor, factor_names)
    size = factor_sizes[factor_names.index(factor)]
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= size:
        raise BenchError(
            f"every k-th of the {size} values of {factor}: k is a whole number 1..{size}, not {k!r}"
        )
