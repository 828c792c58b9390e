"""QLAE (Hsu et al. 2023): an autoencoder in which each latent takes one of a few learned values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from disentangle_bench.models.autoencoder import Autoencoder
from disentangle_bench.models.objective import Adam, Call, Hyper, Log, Losses, NetworkSize, Step

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class QLAE(Autoencoder):
    """Reconstruction + quantization + commitment, with strong weight decay (Hsu et al. 2023, section 3).

    Each latent is replaced by the nearest of its own `values` scalars. Gradients pass straight through to
    the encoder. The quantization term pulls the scalars to the encoder's outputs, the commitment term pulls
    the outputs to the scalars. The paper averages all three terms over pixels and latents. Here that loss
    is multiplied by the number of pixels: the reconstruction is a sum over pixels, as everywhere in this
    package, and the weights are the paper's.
    """

    paper = "Hsu et al. 2023, arXiv:2305.18378"
    quantization = Hyper(0.01)
    commitment = Hyper(0.01)
    values: PositiveInt = 10
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.1

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """Encoder, decoder, and each latent's values."""
        from disentangle_bench.models.networks import Codebook

        return super().build(image_shape, size) | {"codebook": Codebook(size.latents, self.values)}

    def adam(self) -> Mapping[str, Adam]:
        """The paper's AdamW for the two networks and, without decay, for the values."""
        betas = (0.9, 0.999)
        decayed = Adam(self.learning_rate, betas, weight_decay=self.weight_decay)
        return {"encoder": decayed, "decoder": decayed, "codebook": Adam(self.learning_rate, betas)}

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder, decoder and codebook."""
        continuous = call("encoder", step.images)
        quantized = call("codebook", continuous.detach())
        passed = continuous + (quantized - continuous).detach()
        reconstruction = self.reconstruction(call, call("decoder", passed), step.images).mean()
        quantization = (continuous.detach() - quantized).square().mean()
        commitment = (continuous - quantized.detach()).square().mean()
        pixels = math.prod(step.images.shape[1:])
        distances = self.quantization * quantization + self.commitment * commitment
        loss = reconstruction + pixels * distances
        log = {"loss": loss, "reconstruction": reconstruction, "commitment": commitment}
        return self.shared(loss) | {"codebook": loss}, log

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Quantized codes [n, latents]."""
        return call("codebook", call("encoder", images))
