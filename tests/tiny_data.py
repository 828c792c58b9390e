"""A data set small enough for any test: a bright square on a 16 x 16 image, 4 x 4 places and 3 brightnesses."""

from pathlib import Path

import torch
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.source import DataSource
from disentangle_bench.models.vae import BetaVAE


class Squares(DataSource):
    name = "squares"
    factor_names = ("row", "column", "light")
    factor_sizes: tuple[int, ...] = (4, 4, 3)
    image_shape = (1, 16, 16)
    fingerprint = "squares-1"

    def images(self, index: Tensor) -> Tensor:
        row, column, light = self.factors(index).T
        place = torch.arange(16, device=index.device) // 4
        inside = (place[None, :, None] == row[:, None, None]) & (place[None, None] == column[:, None, None])
        return (inside * (85 * (light + 1))[:, None, None]).to(torch.uint8)[:, None]

    def to(self, device: torch.device) -> "Squares":
        return self


SQUARES = Squares()


def squares() -> FactorDataset:
    """The squares: factors row 4, column 4, light 3."""
    return SQUARES.load(data_dir=Path())


class Exploding(BetaVAE):
    """A beta-VAE whose KL term overflows float32."""

    def kl_weight(self, step):
        return self.beta * 1e38 * 1e38


def brightness(images: Tensor) -> Tensor:
    """An encoder: the brightest pixel of each image."""
    return images.amax((1, 2, 3))[:, None]


def crashing_metric(codes, factors):
    raise RuntimeError("this metric always fails")


GRID = """
name = "tiny"
seeds = 2
metrics = ["mig", "factor_vae"]
datasets = [{ name = "tiny_data:SQUARES" }]
models = [{ name = "vae" }, { name = "factor_vae", gamma = [5, 10], discriminator_width = 16 }]
network = { latents = 3, channels = [4, 4, 4, 4], hidden = 16 }
training = { steps = 6, batch_size = 8, learning_rate = 1e-3 }
scoring = { reconstruction_points = 16 }
"""


class Shifted(Squares):
    """The squares in three equal channels, where the one in row r is called one of row r + 2, modulo 4."""

    name = "shifted"
    image_shape = (3, 16, 16)
    fingerprint = "shifted-1"

    def images(self, index: Tensor) -> Tensor:
        row, column, light = self.factors(index).T
        return SQUARES.images((row + 2) % 4 * 12 + column * 3 + light).expand(-1, 3, -1, -1)


class Renamed(Squares):
    """The squares, whose rows have another name."""

    name = "renamed"
    factor_names = ("height", "column", "light")
    fingerprint = "renamed-1"


SHIFTED, RENAMED = Shifted(), Renamed()
