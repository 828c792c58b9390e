"""VAE (Kingma & Welling 2014) and beta-VAE (Higgins et al. 2017); a VAE is a beta-VAE with beta = 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from disentangle_bench.models.draws import Draw, Normal, sample
from disentangle_bench.models.objective import Call, Hyper, Log, Losses, NetworkSize, Step
from disentangle_bench.models.reconstruction import Reconstruction

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class NegativeELBO:
    """The posterior of a batch, its samples [n, latents], the negative ELBO with its KL term weighted, and its log."""

    mean: Tensor
    log_variance: Tensor
    latents: Tensor
    loss: Tensor
    log: Log


@dataclass(frozen=True)
class VAE(Reconstruction):
    """Evidence lower bound: E_q[-log p(x|z)] + KL(q(z|x) || N(0, 1)) in nats (Kingma & Welling 2014, eq. 3)."""

    paper = "Kingma & Welling 2014, arXiv:1312.6114"
    generative = True

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """Encoder (means, then log-variances) and decoder (logits)."""
        return self.networks(image_shape, size, 2 * size.latents)

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """The posterior's noise."""
        return {"posterior": Normal((batch, latents))}

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        bound = self.negative_elbo(call, step)
        return self.shared(bound.loss), bound.log

    def negative_elbo(self, call: Call, step: Step) -> NegativeELBO:
        """The loss that all VAEs share, with a sample of each image's posterior."""
        mean, log_variance = self.training_posterior(call, step.images)
        latents = sample(mean, log_variance, step.noise["posterior"])
        reconstruction = self.reconstruction(call, call("decoder", latents), step.images).mean()
        kl_per_latent = kl_from_prior(mean, log_variance).mean(0)
        kl = kl_per_latent.sum()
        loss = reconstruction + self.kl_weight(step) * kl
        log = {"loss": loss, "reconstruction": reconstruction, "kl": kl, "kl_per_latent": kl_per_latent}
        return NegativeELBO(mean, log_variance, latents, loss, log)

    def kl_weight(self, step: Step) -> Tensor | float:
        """What multiplies the KL term."""
        return 1.0

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """The posterior means [n, latents]."""
        return self.posterior(call, images)[0]

    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Reconstruction of the posterior mean, KL, and the ELBO with one posterior sample an image."""
        mean, log_variance = self.posterior(call, images)
        sampled = call("decoder", sample(mean, log_variance, noise))
        kl = kl_from_prior(mean, log_variance).sum(1)
        elbo = -(self.reconstruction(call, sampled, images) + kl)
        return self.measures(call, images, mean) | {"kl": kl, "elbo": elbo}

    def log_weights(self, call: Call, images: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z|x) in nats [n, samples] (Burda et al. 2016, arXiv:1509.00519).

        z are posterior samples, made with standard normal noise [n, samples, latents].
        """
        mean, log_variance = (values[:, None] for values in self.posterior(call, images))
        latents = sample(mean, log_variance, noise)
        # log p(z) - log q(z|x); what the two normal densities have in common cancels.
        ratio = 0.5 * (noise.square() + log_variance - latents.square()).sum(2)
        repeated = images.repeat_interleave(noise.shape[1], dim=0)
        nats = self.reconstruction(call, call("decoder", latents.flatten(0, 1)), repeated)
        return ratio - nats.unflatten(0, noise.shape[:2])

    def posterior(self, call: Call, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of q(z|x), each [n, latents]."""
        mean, log_variance = call("encoder", images).chunk(2, dim=1)
        return mean, log_variance

    def training_posterior(self, call: Call, images: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior that the loss is of, where training knows more than each image by itself."""
        return self.posterior(call, images)


@dataclass(frozen=True)
class BetaVAE(VAE):
    """beta-VAE: the KL term of the VAE's loss is multiplied by beta (Higgins et al. 2017, eq. 4).

    With `warmup_steps`, beta grows linearly from 0 and reaches its value at that step (after Sonderby et
    al. 2016, arXiv:1602.02282).
    """

    paper = "Higgins et al. 2017, ICLR (beta-VAE)"
    beta = Hyper(4.0)
    warmup_steps: PositiveInt | None = None

    def kl_weight(self, step: Step) -> Tensor | float:
        """Beta, or as much of it as the warm-up has reached."""
        if self.warmup_steps is None:
            return self.beta
        return self.beta * (step.number / self.warmup_steps).clamp(max=1)


def kl_from_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, element by element."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)
