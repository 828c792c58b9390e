"""What every data set must hold: `check_dataset` asks it of one that is loaded, `CHECKS` are its questions one by one.

A quick part of it is asked of every data set whenever one is loaded (`check_loaded`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.factor_table import check_measured, check_table
from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.data.source import DataSource

A_FEW = 16


def check_dataset(dataset: FactorDataset) -> None:
    """Raise BenchError with the reason where the data set, as `load_dataset` gives it, is not as every one must be."""
    for check in CHECKS:
        check(dataset)


def check_loaded(source: DataSource, dataset: object) -> None:
    """Raise BenchError unless this is the data set that the source speaks of, with images as they must be."""
    if not isinstance(dataset, FactorDataset):
        raise BenchError(
            f"data set {source.name!r} loads {type(dataset).__name__!r}: it must be a FactorDataset"
        )
    for fact in ("factor_names", "factor_sizes", "image_shape"):
        said, found = tuple(getattr(source, fact)), tuple(getattr(dataset, fact))
        if said != found:
            raise BenchError(
                f"data set {source.name!r}: its source says {fact} {said}, what it loads has {found}"
            )
    images_are_bytes(dataset)


def images_are_bytes(dataset: FactorDataset) -> None:
    """Images are uint8 [n, channels, height, width] and use 0 to 255; a factor table is one of whole numbers."""
    if dataset.table is not None:
        check_table(dataset.name, dataset.factor_names, dataset.factor_sizes, dataset.table)
    check_measured(dataset.name, dataset.factor_names, dataset.measured, len(dataset), dataset.table)
    few = some_images(dataset, A_FEW)
    if len(few) and int(few.max()) == 1:
        raise BenchError(
            f"data set {dataset.name!r}: the pixels of its images are 0 and 1; white is 255, so multiply them by 255"
        )


def images_repeat(dataset: FactorDataset) -> None:
    """An index has one image: asked for again, alone, twice at once or in another order it is the same."""
    index = spread(dataset, A_FEW)
    images = dataset.images(index)
    alone = torch.cat([dataset.images(int(i)) for i in index])
    backwards = dataset.images(torch.cat([index, index]).flip(0)).flip(0)
    if not torch.equal(images, alone) or not torch.equal(torch.cat([images, images]), backwards):
        raise BenchError(
            f"data set {dataset.name!r}: an image changes with what else is asked for, or from one time to the next;"
            " it must be a function of its index alone"
        )


def factors_name_images(dataset: FactorDataset) -> None:
    """Known factors lie in 0..size-1, and lead back to an image that has them: the same one in a full grid."""
    known = dataset.labelled
    index = spread(dataset, 1000) if known is None else known[:1000]
    factors = dataset.factors(index)
    sizes = torch.tensor(dataset.factor_sizes, device=dataset.device)
    if bool(((factors < 0) | (factors >= sizes)).any()):
        raise BenchError(
            f"data set {dataset.name!r}: a factor is outside 0..size-1; the sizes are {dataset.factor_sizes}"
        )
    found = dataset.index(factors)
    same = torch.equal(found, index) if dataset.full_grid else torch.equal(dataset.factors(found), factors)
    if not same:
        raise BenchError(f"data set {dataset.name!r}: its factors do not lead back to its images")


def factors_show(dataset: FactorDataset) -> None:
    """Every factor of a full grid shows: some image changes as the factor runs through its values."""
    if not dataset.full_grid:
        return
    starts = dataset.factors(spread(dataset, A_FEW))
    for column, (name, size) in enumerate(zip(dataset.factor_names, dataset.factor_sizes, strict=True)):
        swept = starts.repeat_interleave(size, dim=0)
        swept[:, column] = torch.arange(size, device=dataset.device).repeat(len(starts))
        images = dataset.images(dataset.index(swept)).reshape(len(starts), size, -1)
        if size > 1 and bool((images == images[:, :1]).all()):
            raise BenchError(
                f"data set {dataset.name!r}: no image that was looked at changes with the factor {name!r}; images come"
                " in the order of their factors, the last one fastest"
            )


def values_are_told(dataset: FactorDataset) -> None:
    """`labels` name each value of their factors, and images are equal where `symmetry` says so."""
    sizes = dict(zip(dataset.factor_names, dataset.factor_sizes, strict=True))
    for factor, labels in dataset.labels.items():
        if sizes.get(factor) != len(labels):
            raise BenchError(
                f"data set {dataset.name!r}: labels has {len(labels)} names for {factor!r}; the factors and how many"
                f" values they have are {sizes}"
            )
    symmetry = dataset.symmetry
    if symmetry is None:
        return
    wanted = (sizes.get(symmetry.by), sizes.get(symmetry.factor))
    if tuple(symmetry.seen.shape) != wanted:
        raise BenchError(
            f"data set {dataset.name!r}: what is seen of {symmetry.factor!r} by {symmetry.by!r} is a table of"
            f" {tuple(symmetry.seen.shape)}, not {wanted}"
        )
    if dataset.full_grid and not dataset.nuisance:
        _check_symmetry(dataset, symmetry.factor, symmetry.by, symmetry.seen)


def _check_symmetry(dataset: FactorDataset, factor: str, by: str, seen: Tensor) -> None:
    """Raise BenchError where a value's first image is not that of another value that is seen as the same."""
    column, row = dataset.factor_names.index(factor), dataset.factor_names.index(by)
    for number, values in enumerate(seen):
        factors = torch.zeros(len(values), len(dataset.factor_names), dtype=torch.int64)
        factors[:, row], factors[:, column] = number, torch.arange(len(values))
        images = dataset.images(dataset.index(factors))
        for value in values.unique():
            alike = images[(values == value).to(images.device)]
            if not torch.equal(alike, alike[:1].expand_as(alike)):
                raise BenchError(
                    f"data set {dataset.name!r}: values of {factor!r} that are seen as the same where {by!r} is"
                    f" {number} have different images"
                )


def devices_agree(dataset: FactorDataset) -> None:
    """A GPU, where there is one, gives the same images, and gives them there."""
    index = spread(dataset, A_FEW)
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        images = dataset.to(device).images(index.to(device))
        if images.device.type != device or not torch.equal(images.cpu(), dataset.images(index).cpu()):
            raise BenchError(f"data set {dataset.name!r}: on {device} its images are others, or elsewhere")


CHECKS = (images_are_bytes, images_repeat, factors_name_images, factors_show, values_are_told, devices_agree)


def spread(dataset: FactorDataset, count: int) -> Tensor:
    """int64 [at most `count`]: indices from the first image to the last, evenly spread."""
    places = torch.linspace(0, len(dataset) - 1, min(len(dataset), count), dtype=torch.float64)
    return places.long().to(dataset.device)


def some_images(dataset: FactorDataset, count: int) -> Tensor:
    """At most so many of its images, evenly spread. Raises BenchError where they cannot be had."""
    try:
        return dataset.images(spread(dataset, count))
    except BenchError:
        raise
    except (Exception, SystemExit) as error:  # anyone's code
        reason = f"{type(error).__name__}: {error}"
        raise BenchError(f"data set {dataset.name!r}: its images cannot be had: {reason}") from error
