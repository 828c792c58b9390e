"""What every model with a decoder shares: how the images' likelihood is written and what a reconstruction costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from disentangle_bench.models.objective import Call, Losses, NetworkSize, Objective

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Reconstruction(Objective):
    """An encoder and a decoder, and -log p(x|z).

    `likelihood` is "bernoulli", "gaussian" (unit variance) or "gaussian_learned" (one variance for all pixels, learned
    along with the rest; Rybkin et al. 2021, arXiv:2006.13202, section 3).
    """

    likelihood: Literal["bernoulli", "gaussian", "gaussian_learned"] = "bernoulli"

    def networks(
        self, image_shape: tuple[int, int, int], size: NetworkSize, outputs: int
    ) -> dict[str, nn.Module]:
        """Encoder with `outputs` values an image, decoder (logits), and the learned variance if there is one."""
        from disentangle_bench.models.architectures import make_decoder, make_encoder

        networks: dict[str, nn.Module] = {
            "encoder": make_encoder(image_shape, size, outputs),
            "decoder": make_decoder(image_shape, size),
        }
        return networks | self.variance_network()

    def variance_network(self) -> dict[str, nn.Module]:
        """The network of the learned variance, where there is one."""
        from disentangle_bench.models.networks import LogVariance

        return {"variance": LogVariance()} if self.likelihood == "gaussian_learned" else {}

    def shared(self, loss: Tensor) -> Losses:
        """The same loss for encoder, decoder and learned variance."""
        losses = {"encoder": loss, "decoder": loss}
        return losses | ({"variance": loss} if self.likelihood == "gaussian_learned" else {})

    def reconstruction(self, call: Call, logits: Tensor, images: Tensor) -> Tensor:
        """-log p(x|z) in nats [n], where `logits` is what the decoder makes of z."""
        learned = self.likelihood == "gaussian_learned"
        return self.reconstruction_nats(logits, images, call("variance", logits) if learned else None)

    def reconstruction_nats(
        self, logits: Tensor, images: Tensor, log_variance: Tensor | None = None
    ) -> Tensor:
        """-log p(x|z) in nats [n], summed over pixels and channels.

        Bernoulli: cross-entropy of the logits. Gaussian: unit variance around sigmoid(logits), or the variance given,
        with its constant.
        """
        if self.likelihood == "bernoulli":
            from torch.nn import functional

            cost = functional.binary_cross_entropy_with_logits(logits, images, reduction="none")
        else:
            squares = (logits.sigmoid() - images).square()
            if log_variance is not None:
                squares = squares * (-log_variance).exp() + log_variance
            cost = 0.5 * squares + 0.5 * math.log(2 * math.pi)
        return cost.flatten(1).sum(1)

    def logits(self, call: Call, latents: Tensor) -> Tensor:
        """What the decoder makes of latents [n, latents]: logits [n, channels, height, width]."""
        return call("decoder", latents)

    def decode(self, call: Call, latents: Tensor) -> Tensor:
        """The likelihood's means [n, channels, height, width] in 0..1."""
        return self.logits(call, latents).sigmoid()

    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Reconstruction in nats and squared error."""
        return self.measures(call, images, self.encode(call, images))

    def measures(self, call: Call, images: Tensor, latents: Tensor) -> dict[str, Tensor]:
        """Reconstruction of these latents [n, latents] in nats, and its squared error as a mean over all values."""
        logits = self.logits(call, latents)
        return {
            "reconstruction_nats": self.reconstruction(call, logits, images),
            "mse": (logits.sigmoid() - images).square().flatten(1).mean(1),
        }
