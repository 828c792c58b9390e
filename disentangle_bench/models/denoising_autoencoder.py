"""Denoising autoencoder (Vincent et al. 2008, 2010): the clean image is reconstructed from a corrupted one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from disentangle_bench.models.autoencoder import Autoencoder
from disentangle_bench.models.draws import Draw, Normal, Uniform
from disentangle_bench.models.objective import Call, Log, Losses

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DenoisingAutoencoder(Autoencoder):
    """Reconstruction of the clean image from the code of a corrupted one (Vincent et al. 2010, section 3).

    `noise` "masking" sets each value to 0 with probability `corruption`; "gaussian" adds normal noise with that
    standard deviation. Codes that are scored are those of clean images. `image_shape` is told by the trainer.
    """

    hypers: ClassVar[Mapping[str, float]] = {"corruption": 0.25}
    paper: ClassVar[str] = "Vincent et al. 2010, JMLR 11 (denoising autoencoders)"
    noise: Literal["masking", "gaussian"] = "masking"
    image_shape: tuple[int, int, int] | None = None

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """A value for each pixel and channel. Raises ValueError where the image shape was not told."""
        if self.image_shape is None:
            raise ValueError("a denoising autoencoder must be told the image shape (objective.told_of_data)")
        shape = (batch, *self.image_shape)
        return {"pixels": Uniform(shape) if self.noise == "masking" else Normal(shape)}

    def losses(
        self,
        call: Call,
        images: Tensor,
        noise: Mapping[str, Tensor],
        hyper: Mapping[str, Tensor],
        step: Tensor,
    ) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        corrupted = self.corrupted(images, noise["pixels"], hyper["corruption"])
        logits = call("decoder", self.encode(call, corrupted))
        loss = self.reconstruction(call, logits, images).mean()
        return self.shared(loss), {"loss": loss, "reconstruction": loss}

    def corrupted(self, images: Tensor, pixels: Tensor, corruption: Tensor) -> Tensor:
        """The images with noise, made of one drawn value for each of their values."""
        if self.noise == "masking":
            return images * (pixels >= corruption)
        return images + corruption * pixels
