"""FactorVAE (Kim & Mnih 2018): a VAE with a penalty on the total correlation of its latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveFloat, PositiveInt

from disentangle_bench.models.draws import Draw, Normal, Permutations, sample
from disentangle_bench.models.objective import Adam, Call, Hyper, Log, Losses, NetworkSize, Step
from disentangle_bench.models.vae import VAE

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class FactorVAE(VAE):
    """VAE loss + gamma * TC, with TC estimated by a discriminator (Kim & Mnih 2018, eq. 2, 3, algorithm 2).

    `discriminator_batch` says where the discriminator's permuted latents come from. "second" draws a second
    batch of images, as in the paper's algorithm 2. "same" permutes the latents of the first batch, as in
    the 2019 study.
    """

    paper = "Kim & Mnih 2018, arXiv:1802.05983"
    gamma = Hyper(10.0)

    discriminator_batch: Literal["second", "same"] = "second"
    discriminator_width: PositiveInt = 1000
    discriminator_layers: PositiveInt = 6
    discriminator_learning_rate: PositiveFloat = 1e-4

    @property
    def batches(self) -> int:
        """Batches of images that one step draws."""
        return 2 if self.discriminator_batch == "second" else 1

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """The VAE's networks first, so that they start as the VAE of the same seed does, then the discriminator."""
        from disentangle_bench.models.networks import Discriminator

        networks = super().build(image_shape, size)
        networks["discriminator"] = Discriminator(
            size.latents, self.discriminator_width, self.discriminator_layers
        )
        return networks

    def adam(self) -> Mapping[str, Adam]:
        """The paper's settings for the discriminator."""
        return {"discriminator": Adam(self.discriminator_learning_rate, betas=(0.5, 0.9))}

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """The posterior's noise, that of the second batch, and a permutation of the batch for each latent."""
        return {
            "posterior": Normal((batch, latents)),
            "second_posterior": Normal((batch, latents)),
            "permutations": Permutations(batch, latents),
        }

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """The VAE's loss plus gamma * TC for encoder and decoder; for the discriminator, joint against permuted.

        One call judges both kinds of latents. The step keeps the two losses apart: it differentiates each network in
        its own loss only, so that the discriminator's never reaches the VAE, and TC never moves the discriminator.
        """
        import torch

        first_batch = step.images[: len(step.noise["posterior"])]
        bound = self.negative_elbo(call, replace(step, images=first_batch))
        permuted = self.permuted(call, step, bound.latents).detach()

        joint, marginals = call("discriminator", torch.cat([bound.latents, permuted])).chunk(2)
        total_correlation = (joint[:, 0] - joint[:, 1]).mean()
        loss = bound.loss + self.gamma * total_correlation

        discriminator_loss = 0.5 * (_cross_entropy(joint, 0) + _cross_entropy(marginals, 1))
        log = bound.log | {"loss": loss, "tc": total_correlation, "discriminator_loss": discriminator_loss}
        return self.shared(loss) | {"discriminator": discriminator_loss}, log

    def permuted(self, call: Call, step: Step, latents: Tensor) -> Tensor:
        """Latents [batch, latents] with each dimension permuted over the batch: samples of the product of marginals."""
        import torch

        if self.discriminator_batch == "second":
            with torch.no_grad():
                mean, log_variance = self.posterior(call, step.images[len(latents) :])
                latents = sample(mean, log_variance, step.noise["second_posterior"])
        return latents.gather(0, step.noise["permutations"])


def _cross_entropy(logits: Tensor, label: int) -> Tensor:
    return -logits.log_softmax(dim=1)[:, label].mean()
