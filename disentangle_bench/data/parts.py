"""Parts of a data set that are no full grid: chosen images, held-out combinations of factors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset, ImageStore
from disentangle_bench.errors import BenchError, unknown_name


class RowsStore:
    """The images of another store at the positions `rows` int64 [n]."""

    def __init__(self, store: ImageStore, rows: Tensor) -> None:
        self.store, self.rows = store, rows

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height, width] for positions among the rows."""
        return self.store.images(self.rows.index_select(0, index))

    def to(self, device: torch.device) -> RowsStore:
        """The same rows with their pixels on another device."""
        return RowsStore(self.store.to(device), self.rows.to(device))


def pick(dataset: FactorDataset, rows: Tensor, label: str) -> FactorDataset:
    """The data set of the images at `rows` int64 [n], in that order, with a factor table.

    Its name is the whole's with `label` in brackets; the label must say which rows these are, since the
    fingerprint is made from it and the whole's.
    """
    return replace(
        dataset,
        name=f"{dataset.name}[{label}]",
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} [{label}]".encode()).hexdigest(),
        store=RowsStore(dataset.store, rows),
        table=dataset.factors(rows),
        measured={name: values[rows] for name, values in dataset.measured.items()},
    )


def hold_out(
    dataset: FactorDataset, values: Mapping[str, Sequence[int]]
) -> tuple[FactorDataset, FactorDataset]:
    """(the images to train on, the held-out ones): held out is what has one of `values` in every factor named.

    `hold_out(dataset, {"shape": [2], "posX": range(16, 32)})` holds out hearts on the right. Raises BenchError
    for an unknown factor, for values outside 0..size-1, where nothing would be left on either side, and where the
    factors of some images are not known.
    """
    dataset.check_labelled("hold_out")
    if not values:
        raise BenchError(f"no factor is named whose values would be held out of {dataset.name}")
    label = ",".join(f"{factor}={'+'.join(map(str, sorted(chosen)))}" for factor, chosen in values.items())
    return parted(dataset, having(dataset, values), label)


def parted(dataset: FactorDataset, held: Tensor, label: str) -> tuple[FactorDataset, FactorDataset]:
    """(the images to train on, the held-out ones) for `held` bool [images], which `label` says in words.

    Raises BenchError where nothing would be left on either side.
    """
    if bool(held.all()) or not bool(held.any()):
        left = "to train on" if bool(held.all()) else "unseen"
        raise BenchError(
            f"holding out {label} leaves nothing {left} of {dataset.name}'s {len(dataset)} images"
        )
    training = pick(dataset, held.logical_not().nonzero()[:, 0], f"without {label}")
    return training, pick(dataset, held.nonzero()[:, 0], f"only {label}")


def having(dataset: FactorDataset, values: Mapping[str, Sequence[int]]) -> Tensor:
    """bool [images]: which have one of `values` in every factor named.

    Raises BenchError for an unknown factor and for values outside 0..size-1.
    """
    held = torch.ones(len(dataset), dtype=torch.bool, device=dataset.device)
    factors = dataset.factors(torch.arange(len(dataset), device=dataset.device))
    for factor, chosen in values.items():
        if factor not in dataset.factor_names:
            raise unknown_name(f"factor of {dataset.name}", factor, dataset.factor_names)
        column = dataset.factor_names.index(factor)
        size = dataset.factor_sizes[column]
        if not chosen or not all(0 <= value < size for value in chosen):
            raise BenchError(
                f"{factor} of {dataset.name} has the values 0..{size - 1}, not all of {list(chosen)}"
            )
        held &= torch.isin(factors[:, column], torch.tensor(list(chosen), device=dataset.device))
    return held
