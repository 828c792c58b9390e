"""A model that knows nothing but the images it was fitted to: it shows what held-out combinations are for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from disentangle_bench.models.objective import Fitted

IMAGES = 48  # of tiny_data's squares


class Memory(nn.Module):
    """Training images [images, pixels], and of each square its row, column and brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.zeros(IMAGES, 256), requires_grad=False)

    def codes(self) -> Tensor:
        pictures = self.images.unflatten(1, (16, 16))
        light = pictures.amax((1, 2))
        places = torch.arange(16.0)
        row, column = (pictures.sum(other) @ places / pictures.sum((1, 2)) for other in (2, 1))
        return torch.stack([row / 4, column / 4, 3 * light], dim=1)


class Encoder(Memory):
    """The code of the nearest training image."""

    def forward(self, images: Tensor) -> Tensor:
        distance = (images.flatten(1)[:, None] - self.images).square().sum(2)
        return self.codes()[distance.argmin(1)]


class Decoder(Memory):
    """The training image whose code is nearest."""

    def forward(self, codes: Tensor) -> Tensor:
        distance = (codes[:, None] - self.codes()).square().sum(2)
        return self.images[distance.argmin(1)].unflatten(1, (1, 16, 16))


@dataclass(frozen=True)
class Nearest(Fitted):
    """Each image is taken for the training image that is nearest to it."""

    paper = "a model of the tests"
    fit_images: int = IMAGES

    def build(self, image_shape, size):
        return {"encoder": Encoder(), "decoder": Decoder()}

    def fit(self, images, size, seed):
        networks = self.build(None, None)
        rows = torch.arange(IMAGES).clamp(max=len(images) - 1)
        for network in networks.values():
            network.images.data = images[rows].flatten(1) / 255
        return networks

    def encode(self, call, images):
        return call("encoder", images)

    def decode(self, call, latents):
        return call("decoder", latents)

    def evaluate(self, call, images, noise):
        squares = (self.decode(call, self.encode(call, images)) - images).square().flatten(1)
        return {"reconstruction_nats": squares.sum(1), "mse": squares.mean(1)}
