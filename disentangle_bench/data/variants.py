"""Nuisance variants after the 2019 study (Locatello et al.): random colours, and random or painted backgrounds.

There, colour, noise and window are drawn afresh whenever an image is used. Here they are a function of a seed and the
image's position, so that an image is the same on every use, on every device and in every run; over a whole data set
they are distributed as there, up to the step of the grey levels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset, ImageStore


class ColorStore:
    """Another store's images, each with its three channels dimmed by factors of its own from .5 to 1."""

    def __init__(self, store: ImageStore, seed: int) -> None:
        self.store, self.seed = store, seed

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, 3, height, width]."""
        factors = (128 + (random_bytes(index, 4, self.seed)[:, :3] >> 1)) / 255
        # No product comes nearer than 1/510 to a half, so that every device rounds it the same way.
        return (self.store.images(index) * factors[:, :, None, None]).round_().to(torch.uint8)

    def to(self, device: torch.device) -> ColorStore:
        """The same images on another device."""
        return ColorStore(self.store.to(device), self.seed)


class NoisyStore:
    """Another store's images with uniform noise, 0 to 255, added to every pixel and channel and cut at 255."""

    def __init__(self, store: ImageStore, seed: int) -> None:
        self.store, self.seed = store, seed

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, 3, height, width]."""
        images = self.store.images(index)
        shape = (len(images), 3, *images.shape[2:])
        noise = random_bytes(index, math.prod(shape[1:]), self.seed).view(shape)
        return images + torch.minimum(noise, 255 - images)

    def to(self, device: torch.device) -> NoisyStore:
        """The same images on another device."""
        return NoisyStore(self.store.to(device), self.seed)


class ScreamStore:
    """Sprites that invert what lies behind them: a window of a picture, mixed half and half with a random colour.

    `picture` is uint8 [3, height, width], higher and wider than the images, on the store's device.
    """

    def __init__(self, store: ImageStore, seed: int, picture: Tensor) -> None:
        self.store, self.seed, self.picture = store, seed, picture

    def images(self, index: Tensor) -> Tensor:
        """uint8 [n, 3, height, width]."""
        sprites = self.store.images(index)
        drawn = random_bytes(index, 8, self.seed).int()
        sides, window = self.picture.shape[1:], sprites.shape[2:]
        row, column = (
            # As in the study, the last row and column of the picture are never drawn.
            ((drawn[:, 2 * k] << 8 | drawn[:, 2 * k + 1]) * (sides[k] - window[k]) >> 16)[:, None]
            + torch.arange(window[k], device=index.device)
            for k in range(2)
        )
        place = row[:, :, None] * sides[1] + column[:, None, :]
        behind = self.picture.flatten(1)[:, place].transpose(0, 1).int()
        # Half up.
        mixed = behind + drawn[:, 4:7, None, None] + 1 >> 1
        return torch.where(sprites == 255, 255 - mixed, mixed).to(torch.uint8)

    def to(self, device: torch.device) -> ScreamStore:
        """The same images on another device."""
        return ScreamStore(self.store.to(device), self.seed, self.picture.to(device))


def random_bytes(index: Tensor, count: int, seed: int) -> Tensor:
    """uint8 [n, count], `count` a multiple of 4: bytes that only the seed and each index decide."""
    seeded = int.from_bytes(hashlib.sha256(f"variant {seed}".encode()).digest()[:3], "big")
    own = scrambled(scrambled(index.to(torch.int32)) ^ seeded)
    places = scrambled(torch.arange(count // 4, dtype=torch.int32, device=index.device))
    return scrambled(own[:, None] ^ places).view(torch.uint8).view(len(index), count)


def scrambled(numbers: Tensor) -> Tensor:
    """A hash of each 32-bit number: every input bit moves about half of the output's bits.

    Shifts and multiplications modulo 2^32, with C. Wellons' constants for a low bias.
    """
    numbers = numbers ^ (numbers >> 16 & 0xFFFF)
    numbers = numbers * 0x7FEB352D
    numbers = numbers ^ (numbers >> 15 & 0x1FFFF)
    numbers = numbers * -0x7B935975  # 0x846ca68b as a signed number
    return numbers ^ (numbers >> 16 & 0xFFFF)


@dataclass(frozen=True)
class Variant:
    """What a variant is called, what it varies, and the store that does it; `content` is a hash of its picture."""

    prefix: str
    nuisance: str
    store: Callable[[ImageStore, int], ImageStore]
    content: str = ""


COLOR = Variant("color", "each image's colour: its channels dimmed by random factors of .5 to 1", ColorStore)
NOISY = Variant("noisy", "noise: a random value of 0 to 255 added to every pixel and channel", NoisyStore)
VARIANTS = {variant.prefix: variant for variant in (COLOR, NOISY)}


def scream(picture: Tensor) -> Variant:
    """The variant with windows of `picture` uint8 [3, height, width] behind the sprites.

    In the study that is a painting, The Scream, of at most 350 x 274 pixels.
    """
    return Variant(
        "scream",
        "the background: a window of a picture mixed with a random colour, which sprites invert",
        lambda store, seed: ScreamStore(store, seed, picture),
        hashlib.sha256(picture.contiguous().numpy().tobytes()).hexdigest(),
    )


def vary(dataset: FactorDataset, variant: Variant, seed: int = 0) -> FactorDataset:
    """The variant of a data set, with three channels and the nuisance named; its factors are the same."""
    label = " ".join([variant.prefix, f"seed {seed}", *([variant.content] if variant.content else [])])
    return replace(
        dataset,
        name=f"{variant.prefix}_{dataset.name}",
        image_shape=(3, *dataset.image_shape[1:]),
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} {label}".encode()).hexdigest(),
        store=variant.store(dataset.store, seed),
        nuisance=variant.nuisance,
    )
