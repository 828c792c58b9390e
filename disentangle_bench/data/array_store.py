"""Images from an array, in memory, mapped from a file or on a device; and images that the CPU has, sent to a device."""

from __future__ import annotations

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import ImageStore

# What a device must have left after the images have moved there, so that training has room.
ROOM_LEFT = 4 << 30


class ArrayStore:
    """Images from an array uint8 [n, channels, height, width], which may be mapped from a file."""

    def __init__(self, array: Tensor) -> None:
        self.array = array

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height, width]."""
        return self.array.index_select(0, index)

    def to(self, device: torch.device) -> ArrayStore | HostStore:
        """The images on another device, or gathered here and sent there where they would not fit."""
        if self.array.device == device:
            return self
        if device.type == "cuda" and torch.cuda.mem_get_info(device)[0] < self.array.nbytes + ROOM_LEFT:
            return HostStore(self, device)
        return ArrayStore(self.array.to(device))


class HostStore:
    """The images of a store on the CPU, sent to a device a batch at a time."""

    def __init__(self, store: ImageStore, device: torch.device) -> None:
        self.store, self.device = store, device

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, channels, height, width] on the device. The index is fetched from there, which waits for it."""
        return self.store.images(index.cpu()).to(self.device)

    def to(self, device: torch.device) -> ImageStore:
        """The images on another device."""
        return self.store.to(device)
