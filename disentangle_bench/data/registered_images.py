"""The data sets that have names and no factors: images alone, as torchvision knows their files.

A class label, or an attribute of a face, is no factor of variation: it does not say how one image differs from another.
Loaders need torch, and each is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.data.official import FILES, FileFacts
from disentangle_bench.data.source import DataSource

if TYPE_CHECKING:
    from torch import Tensor

    from disentangle_bench.data.factor_dataset import ImageStore, Notify


class ImagesAlone(DataSource):
    """So many images (`number`), and no factors."""

    factor_names = ()
    factor_sizes = ()
    provenance = "official"
    number: int

    @property
    def table(self) -> Tensor:  # type: ignore[override]
        """int64 [images, 0], which says how many there are."""
        import torch

        return torch.empty(self.number, 0, dtype=torch.int64)


class MNIST(ImagesAlone):
    """MNIST or Fashion-MNIST as published, training and test images together, at 32 x 32."""

    image_shape = (1, 32, 32)
    parts: Sequence[int] = (60_000, 10_000)

    def __init__(self, name: str) -> None:
        self.name = self.published = name
        self.files: Sequence[FileFacts] = FILES[name]

    @property
    def number(self) -> int:  # type: ignore[override]
        """Of images."""
        return sum(self.parts)

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The images, mapped from their cache file, and their hash."""
        from disentangle_bench.data.mnist import open_official

        return open_official(self.files, self.parts, data_dir, notify, self.name)


class CelebA(ImagesAlone):
    """CelebA's aligned faces as published, at 64 x 64."""

    name, published = "celeba", "celeba"
    image_shape = (3, 64, 64)
    number = 202_599
    files: Sequence[FileFacts] = FILES["celeba"]

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The images, mapped from their cache file, and their hash."""
        from disentangle_bench.data.celeba import open_official

        return open_official(self.files, self.number, data_dir, notify)


DIGITS = MNIST("mnist")
CLOTHES = MNIST("fashion_mnist")
