"""Which images of a data set training sees and which it never does, as the data set's entry in a grid asks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from disentangle_bench import randomness
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.parts import having, hold_out, parted
from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.specs import DatasetSpec, SplitSpec


def seen_and_unseen(spec: DatasetSpec, dataset: FactorDataset) -> tuple[FactorDataset, FactorDataset] | None:
    """(the images to train on, those that training never sees); None where the entry holds nothing out.

    Raises BenchError where what is held out does not fit the data set, or nothing is left on one side.
    """
    if spec.hold_out is not None:
        return hold_out(dataset, spec.hold_out)
    if spec.split is not None:
        dataset.check_labelled("a split")
    return None if spec.split is None else parted(dataset, held_out(spec.split, dataset), spec.split.label)


def held_out(split: SplitSpec, dataset: FactorDataset) -> Tensor:
    """bool [images]: what training never sees, about `split.share` of all images, the same for every run.

    random: so many of all combinations of values, drawn without replacement; images of one combination stay together.
    composition: the images whose factors all have one of their last values, so that training sees each of these
    values, and never all factors' together. extrapolation: those of which any factor has one of its last values.
    interpolation: those of which any factor has one of so many inner values, evenly spaced. `held_values` says how
    many values of each factor these are.

    After the splits of Schott et al. 2022 (arXiv:2107.08221) and Montero et al. 2021 (ICLR), whose choice of values is
    made by hand for each data set. Raises BenchError for unknown factors and for such of too few values.
    """
    if split.kind == "random":
        return _random(split.share, dataset)
    values = {factor: held_values(split, dataset, factor) for factor in split.factors}
    if split.kind == "composition":
        held = having(dataset, values)
        # A data set that lacks combinations may have a value nowhere else.
        _check_each_is_seen(split, dataset, held)
        return held
    return torch.stack([having(dataset, {factor: chosen}) for factor, chosen in values.items()]).any(dim=0)


def held_values(split: SplitSpec, dataset: FactorDataset, factor: str) -> list[int]:
    """The values of this factor that a split which is not random is about.

    Of n factors each gives the share q of its values: of a full grid share = q**n of the images have one of them in
    every factor (composition), and share = 1 - (1 - q)**n in any (the others). Of s values these are the last
    k = floor(q s + 1/2), at least one and never all; or the middles of k equal parts of the inner values 1..s-2, so
    that both ends are always seen.
    """
    if factor not in dataset.factor_names:
        raise unknown_name(f"factor of {dataset.name}", factor, dataset.factor_names)
    size = dataset.factor_sizes[dataset.factor_names.index(factor)]
    inner = split.kind == "interpolation"
    least = 3 if inner else 2
    if size < least:
        raise BenchError(
            f"a split by {split.kind} needs factors of at least {least} values; {factor} of {dataset.name} has {size}"
        )
    number = len(split.factors)
    joint = split.kind == "composition"
    share = split.share ** (1 / number) if joint else 1 - (1 - split.share) ** (1 / number)
    # Rounded, so that a root which falls short of a half by its last digit gives the same number of values.
    wanted = math.floor(round(share * size, 9) + 0.5)
    count = min(max(wanted, 1), size - (2 if inner else 1))
    if inner:
        return [1 + (2 * place + 1) * (size - 2) // (2 * count) for place in range(count)]
    return list(range(size - count, size))


def _random(share: float, dataset: FactorDataset) -> Tensor:
    """bool [images]: so many of the combinations that there are, drawn without replacement."""
    combination = torch.arange(len(dataset))
    if dataset.table is not None:
        combination = torch.unique(dataset.table.cpu(), dim=0, return_inverse=True)[1]
    number = int(combination.max()) + 1
    stream = randomness.key(torch.tensor(0), 0, "random split")
    drawn = torch.zeros(number, dtype=torch.bool)
    drawn[randomness.sample_without_replacement(stream, math.floor(share * number + 0.5), number)] = True
    return drawn[combination].to(dataset.device)


def _check_each_is_seen(split: SplitSpec, dataset: FactorDataset, held: Tensor) -> None:
    """Raise BenchError where a value occurs in no image that training sees: a data set may lack combinations."""
    factors = dataset.factors(torch.arange(len(dataset), device=dataset.device))
    for factor in split.factors:
        column = factors[:, dataset.factor_names.index(factor)]
        missing = column[held & ~torch.isin(column, column[~held])]
        if len(missing):
            raise BenchError(
                f"{dataset.name} has {factor} = {int(missing.min())} only among what {split.label} holds out; by"
                " composition training sees each value: choose other factors, or a smaller share"
            )
