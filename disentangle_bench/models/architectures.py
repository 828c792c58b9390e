"""The encoder and decoder that a grid's [network] table asks for: convolutional, fully connected or with styles."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from disentangle_bench.models.forms import Linear
from disentangle_bench.models.networks import Decoder, Encoder, initialise
from disentangle_bench.models.objective import NetworkSize
from disentangle_bench.models.style_networks import StyleDecoder, StyleEncoder


def make_encoder(image_shape: tuple[int, int, int], size: NetworkSize, outputs: int) -> nn.Module:
    """Images [n, channels, height, width] to [n, outputs]."""
    encoders = {"conv": Encoder, "fc": FlatEncoder, "style": StyleEncoder}
    return encoders[size.architecture or "conv"](image_shape, size, outputs)


def make_decoder(image_shape: tuple[int, int, int], size: NetworkSize) -> nn.Module:
    """Latents [n, latents] to logits [n, channels, height, width]."""
    decoders = {"conv": Decoder, "fc": FlatDecoder, "style": StyleDecoder}
    return decoders[size.architecture or "conv"](image_shape, size)


class FlatEncoder(nn.Module):
    """Two layers of `hidden` rectified units (1200 in Locatello et al. 2019, appendix), then [n, outputs]."""

    def __init__(self, image_shape: tuple[int, int, int], size: NetworkSize, outputs: int) -> None:
        super().__init__()
        self.hidden = _layers((math.prod(image_shape), size.hidden, size.hidden))
        self.output = Linear(size.hidden, outputs)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to the encoder's outputs."""
        values = images.flatten(1)
        for layer in self.hidden:
            values = torch.relu(layer(values))
        return self.output(values)


class FlatDecoder(nn.Module):
    """Three layers of `hidden` tanh units (1200 in Locatello et al. 2019, appendix), then the image's logits."""

    def __init__(self, image_shape: tuple[int, int, int], size: NetworkSize) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.hidden = _layers((size.latents, size.hidden, size.hidden, size.hidden))
        self.output = Linear(size.hidden, math.prod(image_shape))
        initialise(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents to logits."""
        values = latents
        for layer in self.hidden:
            values = torch.tanh(layer(values))
        return self.output(values).unflatten(1, self.image_shape)


def _layers(widths: tuple[int, ...]) -> nn.ModuleList:
    return nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
