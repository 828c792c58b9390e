"""VAE (Kingma & Welling 2014) and beta-VAE (Higgins et al. 2017); a VAE is a beta-VAE with beta = 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from disentangle_bench.models.draws import Draw, Normal
from disentangle_bench.models.networks import Decoder, Encoder
from disentangle_bench.models.objective import Adam, Call, Log, Losses, NetworkSize


@dataclass(frozen=True)
class VAE:
    """Evidence lower bound: E_q[-log p(x|z)] + KL(q(z|x) || N(0, 1)) in nats (Kingma & Welling 2014, eq. 3)."""

    hypers: ClassVar[Mapping[str, float]] = {}
    paper: ClassVar[str] = "Kingma & Welling 2014, arXiv:1312.6114"
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"

    @property
    def batches(self) -> int:
        """One batch a step."""
        return 1

    @property
    def pairs(self) -> bool:
        """No: images are drawn independently."""
        return False

    @property
    def generative(self) -> bool:
        """Yes."""
        return True

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """Encoder (means, then log-variances) and decoder (logits)."""
        return {
            "encoder": Encoder(image_shape, size, 2 * size.latents),
            "decoder": Decoder(image_shape, size),
        }

    def adam(self) -> Mapping[str, Adam]:
        """Nothing of its own: the grid's settings."""
        return {}

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """The posterior's noise."""
        return {"posterior": Normal((batch, latents))}

    def losses(
        self,
        call: Call,
        images: Tensor,
        noise: Mapping[str, Tensor],
        hyper: Mapping[str, Tensor],
        step: Tensor,
    ) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        _, loss, log = self.negative_elbo(call, images, noise, hyper)
        return {"encoder": loss, "decoder": loss}, log

    def negative_elbo(
        self, call: Call, images: Tensor, noise: Mapping[str, Tensor], hyper: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Log]:
        """A posterior sample [n, latents], the loss with the KL term weighted, and what to log."""
        mean, log_variance = self.posterior(call, images)
        latents = mean + noise["posterior"] * torch.exp(0.5 * log_variance)
        reconstruction = self.reconstruction_nats(call("decoder", latents), images).mean()
        kl_per_latent = kl_from_prior(mean, log_variance).mean(0)
        kl = kl_per_latent.sum()
        loss = reconstruction + self.kl_weight(hyper) * kl
        log = {"loss": loss, "reconstruction": reconstruction, "kl": kl, "kl_per_latent": kl_per_latent}
        return latents, loss, log

    def kl_weight(self, hyper: Mapping[str, Tensor]) -> Tensor | float:
        """What multiplies the KL term."""
        return 1.0

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """The posterior means [n, latents]."""
        return self.posterior(call, images)[0]

    def decode(self, call: Call, latents: Tensor) -> Tensor:
        """The likelihood's means [n, channels, height, width] in 0..1."""
        return torch.sigmoid(call("decoder", latents))

    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Reconstruction of the posterior mean, KL, and the ELBO with one posterior sample an image."""
        mean, log_variance = self.posterior(call, images)
        logits = call("decoder", mean)
        sampled = call("decoder", mean + noise * torch.exp(0.5 * log_variance))
        kl = kl_from_prior(mean, log_variance).sum(1)
        return {
            "reconstruction_nats": self.reconstruction_nats(logits, images),
            "mse": (torch.sigmoid(logits) - images).square().flatten(1).mean(1),
            "kl": kl,
            "elbo": -(self.reconstruction_nats(sampled, images) + kl),
        }

    def posterior(self, call: Call, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of q(z|x), each [n, latents]."""
        mean, log_variance = call("encoder", images).chunk(2, dim=1)
        return mean, log_variance

    def reconstruction_nats(self, logits: Tensor, images: Tensor) -> Tensor:
        """-log p(x|z) in nats [n], summed over pixels and channels.

        Bernoulli: cross-entropy of the logits. Gaussian: unit variance around sigmoid(logits), its constant included.
        """
        if self.likelihood == "bernoulli":
            cost = functional.binary_cross_entropy_with_logits(logits, images, reduction="none")
        else:
            cost = 0.5 * (torch.sigmoid(logits) - images).square() + 0.5 * math.log(2 * math.pi)
        return cost.flatten(1).sum(1)


@dataclass(frozen=True)
class BetaVAE(VAE):
    """beta-VAE: the KL term of the VAE's loss is multiplied by beta (Higgins et al. 2017, eq. 4)."""

    hypers: ClassVar[Mapping[str, float]] = {"beta": 4.0}
    paper: ClassVar[str] = "Higgins et al. 2017, ICLR (beta-VAE)"

    def kl_weight(self, hyper: Mapping[str, Tensor]) -> Tensor | float:
        """Beta."""
        return hyper["beta"]


def kl_from_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, element by element."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)
