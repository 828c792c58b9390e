"""A data set at a smaller size: each image averaged over blocks of pixels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from disentangle_bench.data.factor_dataset import FactorDataset, ImageStore


class SmallerStore:
    """The images of another store, each averaged over blocks of `block` x `block` pixels.

    Means are of whole numbers and rounded half up, so that they are the same on every device.
    """

    def __init__(self, store: ImageStore, block: int) -> None:
        self.store, self.block = store, block

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height / block, width / block]."""
        import torch

        images = self.store.images(index).to(torch.int32)
        # Four times as fast on a CPU as a sum over two dimensions of blocks.
        rows = torch.zeros((), dtype=torch.int32, device=images.device)
        for k in range(self.block):
            rows = rows + images[..., k :: self.block, :]
        sums = torch.zeros_like(rows[..., :: self.block])
        for k in range(self.block):
            sums = sums + rows[..., k :: self.block]
        area = self.block**2
        return ((2 * sums + area) // (2 * area)).to(torch.uint8)

    def to(self, device: torch.device) -> SmallerStore:
        """The same with its pixels on another device."""
        return SmallerStore(self.store.to(device), self.block)


def at_size(dataset: FactorDataset, size: int | None) -> FactorDataset:
    """The data set with images of `size` x `size` pixels; itself for None and for the size that it has.

    It is named so, as in `dsprites_rendered[32x32]`, and has a fingerprint of its own. Raises BenchError for a size
    that does not divide the sides.
    """
    if size is None:
        return dataset
    check_size(dataset.name, dataset.image_shape, size)
    channels, side, _ = dataset.image_shape
    if size == side:
        return dataset
    label = f"{size}x{size}"
    name = f"{dataset.name[:-1]},{label}]" if dataset.name.endswith("]") else f"{dataset.name}[{label}]"
    return replace(
        dataset,
        name=name,
        image_shape=(channels, size, size),
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} [{label}]".encode()).hexdigest(),
        store=SmallerStore(dataset.store, side // size),
    )


def check_size(name: str, image_shape: tuple[int, int, int], size: int) -> None:
    """Raise BenchError unless images of this shape can be averaged to `size` x `size` pixels."""
    _, height, width = image_shape
    if height != width:
        raise BenchError(
            f"{name} has images of {height} x {width} pixels; only square ones can be made smaller"
        )
    fitting = [side for side in range(4, height + 1) if height % side == 0]
    if isinstance(size, bool) or size not in fitting:
        raise BenchError(
            f"{name} cannot have size {size!r}: its images have {height} x {width} pixels, and a size that divides"
            f" them is needed ({', '.join(map(str, fitting))})"
        )
