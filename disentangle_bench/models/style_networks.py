"""Networks whose decoder is told of the latents by styles: scales and shifts of a learned image's channels.

After the networks of QLAE (Hsu et al. 2023, arXiv:2305.18378, appendix), whose decoder follows StyleGAN's generator
(Karras et al. 2019, arXiv:1812.04948). Theirs have twelve convolutions, without biases, and one more to make pixels;
these have as many as a grid's [network] table says, so that runs can differ from standard ones in the kind alone.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from disentangle_bench.errors import BenchError
from disentangle_bench.models.convolution import DoublingConvolution, HalvingConvolution
from disentangle_bench.models.forms import Linear
from disentangle_bench.models.networks import halved, initialise
from disentangle_bench.models.objective import NetworkSize


class StyleEncoder(nn.Module):
    """Images [n, channels, height, width] in 0..1 to [n, outputs]: convolutions, normalised, and two layers more."""

    def __init__(self, image_shape: tuple[int, int, int], size: NetworkSize, outputs: int) -> None:
        super().__init__()
        channels, height, width = halved(image_shape, size)
        if height * width == 1:
            raise BenchError(
                f"{len(size.channels)} network.channels halve the image to one pixel, of which the architecture "
                '"style" can make no mean and variance'
            )
        widths = (image_shape[0], *size.channels)
        # A bias would be gone after the normalisation.
        self.convolutions = nn.ModuleList(
            HalvingConvolution(a, b, kernel, bias=False)
            for (a, b), kernel in zip(pairwise(widths), size.kernels, strict=True)
        )
        self.hidden = Linear(channels * height * width, size.hidden)
        self.features = Linear(size.hidden, size.hidden)
        self.output = Linear(size.hidden, outputs)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to the encoder's outputs."""
        values = images
        for convolution in self.convolutions:
            values = functional.leaky_relu(functional.instance_norm(convolution(values)))
        return self.output(torch.relu(self.features(torch.relu(self.hidden(values.flatten(1))))))


class StyleDecoder(nn.Module):
    """Latents [n, latents] to logits [n, channels, height, width], from one learned image that all latents share.

    Two layers of `hidden` units make features of the latents; from these each convolution but the last has a scale and
    a shift for each of its normalised channels, neither below zero.
    """

    def __init__(self, image_shape: tuple[int, int, int], size: NetworkSize) -> None:
        super().__init__()
        start = halved(image_shape, size)
        widths = (size.channels[-1], *size.channels[-2::-1])
        self.hidden = Linear(size.latents, size.hidden)
        self.features = Linear(size.hidden, size.hidden)
        self.convolutions = nn.ModuleList(DoublingConvolution(a, b, 4) for a, b in pairwise(widths))
        self.styles = nn.ModuleList(Linear(size.hidden, 2 * width) for width in widths[1:])
        self.output = DoublingConvolution(widths[-1], image_shape[0], 4)
        initialise(self)
        self.image = nn.Parameter(torch.full(start, 0.1))

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents to logits."""
        features = torch.relu(self.features(torch.relu(self.hidden(latents))))
        values = self.image.expand(len(latents), *self.image.shape)
        for convolution, style in zip(self.convolutions, self.styles, strict=True):
            scale, shift = torch.relu(style(features))[:, :, None, None].chunk(2, dim=1)
            values = functional.instance_norm(functional.leaky_relu(convolution(values))) * scale + shift
        return self.output(values)
