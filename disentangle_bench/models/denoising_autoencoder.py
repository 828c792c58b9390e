"""Denoising autoencoder (Vincent et al. 2008, 2010): it reconstructs the clean image from a corrupted one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from disentangle_bench.models.autoencoder import Autoencoder
from disentangle_bench.models.draws import Draw, Normal, Uniform
from disentangle_bench.models.objective import Call, Hyper, Log, Losses, Step

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DenoisingAutoencoder(Autoencoder):
    """Reconstruction of the clean image from the code of a corrupted one (Vincent et al. 2010, section 3).

    `noise` "masking" sets each value to 0 with probability `corruption`; "gaussian" adds normal noise with that
    standard deviation. Codes that are scored are those of clean images.
    """

    paper = "Vincent et al. 2010, JMLR 11 (denoising autoencoders)"
    corruption = Hyper(0.25)
    noise: Literal["masking", "gaussian"] = "masking"

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """A value for each pixel and channel."""
        shape = (batch, *self.data.image_shape)
        return {"pixels": Uniform(shape) if self.noise == "masking" else Normal(shape)}

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        corrupted = self.corrupted(step.images, step.noise["pixels"], self.corruption)
        logits = call("decoder", self.encode(call, corrupted))
        loss = self.reconstruction(call, logits, step.images).mean()
        return self.shared(loss), {"loss": loss, "reconstruction": loss}

    def corrupted(self, images: Tensor, pixels: Tensor, corruption: Tensor) -> Tensor:
        """The images with noise, made of one drawn value for each of their values."""
        if self.noise == "masking":
            return images * (pixels >= corruption)
        return images + corruption * pixels
