"""The standard study's networks: a convolutional encoder, its mirror as decoder, FactorVAE's discriminator.

Sizes: Locatello et al. 2019 (arXiv:1811.12359), appendix table of architectures; discriminator: Kim & Mnih 2018
(arXiv:1802.05983), appendix. The published encoder uses kernels 4, 4, 2, 2; many ports use 4 throughout.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from disentangle_bench.errors import BenchError
from disentangle_bench.models.convolution import DoublingConvolution, HalvingConvolution, with_relu_between
from disentangle_bench.models.forms import Linear
from disentangle_bench.models.objective import NetworkSize


class Encoder(nn.Module):
    """Images [n, channels, height, width] in 0..1 to [n, outputs]; each convolution halves the sides."""

    def __init__(self, image_shape: tuple[int, int, int], size: NetworkSize, outputs: int) -> None:
        super().__init__()
        channels, height, width = halved(image_shape, size)
        widths = (image_shape[0], *size.channels)
        self.convolutions = nn.ModuleList(
            HalvingConvolution(a, b, kernel)
            for (a, b), kernel in zip(pairwise(widths), size.kernels, strict=True)
        )
        self.hidden = Linear(channels * height * width, size.hidden)
        self.output = Linear(size.hidden, outputs)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to the encoder's outputs."""
        values = with_relu_between(self.convolutions, images)
        # Flattening turns the memory's order. Rectified behind it, values and their gradients lie alike.
        values = torch.relu(values.flatten(1))
        return self.output(torch.relu(self.hidden(values)))


class Decoder(nn.Module):
    """Latents [n, latents] to logits [n, channels, height, width]; the encoder's mirror, kernels 4 throughout."""

    def __init__(self, image_shape: tuple[int, int, int], size: NetworkSize) -> None:
        super().__init__()
        self.start = halved(image_shape, size)
        widths = (size.channels[-1], *size.channels[-2::-1], image_shape[0])
        self.hidden = Linear(size.latents, size.hidden)
        self.spread = Linear(size.hidden, math.prod(self.start))
        self.convolutions = nn.ModuleList(DoublingConvolution(a, b, 4) for a, b in pairwise(widths))
        initialise(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents to logits."""
        values = torch.relu(self.spread(torch.relu(self.hidden(latents)))).unflatten(1, self.start)
        return with_relu_between(self.convolutions, values)


class Discriminator(nn.Module):
    """Latents [n, latents] to two logits [n, 2]: from the joint posterior (0) or from its permuted dimensions (1)."""

    def __init__(self, latents: int, width: int, layers: int) -> None:
        super().__init__()
        widths = (latents, *[width] * layers)
        self.hidden = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.output = Linear(width, 2)
        initialise(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents to logits."""
        values = latents
        for layer in self.hidden:
            values = nn.functional.leaky_relu(layer(values), 0.2)
        return self.output(values)


class LogVariance(nn.Module):
    """A learned number [1], the log-variance of all pixels; it starts at 0, a variance of 1."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """The log-variance, whatever the inputs."""
        return self.value


class Codebook(nn.Module):
    """The values that each latent may take, [latents, values]; evenly spaced on -1/2..1/2 at first."""

    def __init__(self, latents: int, values: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.linspace(-0.5, 0.5, values).repeat(latents, 1))

    def forward(self, continuous: Tensor) -> Tensor:
        """Each entry of [n, latents] replaced by its latent's nearest value (the lower of two as near)."""
        nearest = (continuous.detach()[:, :, None] - self.values.detach()).abs().argmin(2)
        # A sum over a mask: a gather's gradient adds up in another order on each call on a GPU.
        places = torch.arange(self.values.shape[1], device=nearest.device)
        return (self.values * (nearest[:, :, None] == places)).sum(2)


def initialise(network: nn.Module) -> None:
    """Draw all weights from Glorot's uniform distribution and zero all biases, as the study's framework did."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)


def halved(image_shape: tuple[int, int, int], size: NetworkSize) -> tuple[int, int, int]:
    """Channels and sides after all convolutions. Raises BenchError where the images cannot be halved as often."""
    halvings = len(size.channels)
    sides = image_shape[1:]
    if any(side % 2**halvings for side in sides):
        raise BenchError(
            f"{halvings} network.channels halve an image as often;"
            f" {sides[0]} x {sides[1]} pixels {_advice(sides, size)}"
        )
    return size.channels[-1], sides[0] // 2**halvings, sides[1] // 2**halvings


def _advice(sides: tuple[int, ...], size: NetworkSize) -> str:
    """How often such images can be halved, and what to set for that."""
    most = next(times for times in range(64) if any(side % 2 ** (times + 1) for side in sides))
    if not most:
        return 'cannot be halved once: set network.architecture = "fc", or pad the images'
    channels, kernels = list(size.channels[:most]), list(size.kernels[:most])
    return (
        f"can be halved {most} times: set network.channels and network.kernels to at most {most} entries, such as"
        f" channels = {channels} and kernels = {kernels}"
    )
