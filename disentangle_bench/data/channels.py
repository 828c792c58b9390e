"""Images in as many channels as a network takes: grey ones repeated, coloured ones averaged."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from disentangle_bench.data.factor_dataset import FactorDataset, ImageStore

Shape = tuple[int, int, int]


class ChannelStore:
    """The images of another store in one channel or in three.

    Three channels become their mean, rounded half up; one becomes three that are equal. So a grey image that was made
    three channels of becomes itself again.
    """

    def __init__(self, store: ImageStore, channels: int) -> None:
        self.store, self.channels = store, channels

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height, width]."""
        import torch

        images = self.store.images(index)
        if self.channels == 3:
            return images.expand(-1, 3, -1, -1)
        sums = images.to(torch.int32).sum(1, keepdim=True)
        return ((2 * sums + 3) // 6).to(torch.uint8)

    def to(self, device: torch.device) -> ChannelStore:
        """The same with its pixels on another device."""
        return ChannelStore(self.store.to(device), self.channels)


def in_shape(dataset: FactorDataset, image_shape: Shape) -> FactorDataset:
    """The data set with images of this shape (channels, height, width), as `ChannelStore` makes them.

    Itself where it has the shape. Its fingerprint changes with its pixels. Raises BenchError as `check_shape` does.
    """
    check_shape(dataset.name, dataset.image_shape, image_shape)
    if dataset.image_shape == image_shape:
        return dataset
    fingerprint = hashlib.sha256(f"{dataset.fingerprint} [{image_shape[0]} channels]".encode()).hexdigest()
    store = ChannelStore(dataset.store, image_shape[0])
    return replace(dataset, image_shape=image_shape, fingerprint=fingerprint, store=store)


def check_shape(name: str, own: Shape, wanted: Shape) -> None:
    """Raise BenchError unless images of the shape `own` can be had as `wanted`: sides equal, channels 1 or 3."""
    if own[1:] != wanted[1:]:
        raise BenchError(
            f"{name} has images of {own[1]} x {own[2]} pixels, and the networks take {wanted[1]} x {wanted[2]}; give"
            " both data sets the same size, for example size = 32"
        )
    if own[0] != wanted[0] and {own[0], wanted[0]} != {1, 3}:
        raise BenchError(
            f"{name} has images of {own[0]} channels, and the networks take {wanted[0]}; only 1 and 3 can be made of"
            " each other"
        )
