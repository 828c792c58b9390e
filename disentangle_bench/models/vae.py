"""VAE (Kingma & Welling 2014) and beta-VAE (Higgins et al. 2017); a VAE is a beta-VAE with beta = 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from disentangle_bench.models.draws import Draw, Normal
from disentangle_bench.models.objective import Call, Log, Losses, NetworkSize
from disentangle_bench.models.reconstruction import Reconstruction, squared_error

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class VAE(Reconstruction):
    """Evidence lower bound: E_q[-log p(x|z)] + KL(q(z|x) || N(0, 1)) in nats (Kingma & Welling 2014, eq. 3)."""

    hypers: ClassVar[Mapping[str, float]] = {}
    paper: ClassVar[str] = "Kingma & Welling 2014, arXiv:1312.6114"

    @property
    def generative(self) -> bool:
        """Yes: latents have a standard normal prior."""
        return True

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """Encoder (means, then log-variances) and decoder (logits)."""
        return self.networks(image_shape, size, 2 * size.latents)

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
        return self.shared(loss), log

    def negative_elbo(
        self, call: Call, images: Tensor, noise: Mapping[str, Tensor], hyper: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Log]:
        """A posterior sample [n, latents], the loss with the KL term weighted, and what to log."""
        mean, log_variance = self.posterior(call, images)
        latents = mean + noise["posterior"] * (0.5 * log_variance).exp()
        loss, log = self.sampled_loss(call, images, mean, log_variance, latents, hyper)
        return latents, loss, log

    def sampled_loss(
        self,
        call: Call,
        images: Tensor,
        mean: Tensor,
        log_variance: Tensor,
        latents: Tensor,
        hyper: Mapping[str, Tensor],
    ) -> tuple[Tensor, Log]:
        """The loss for this posterior and a sample of it, and what to log."""
        reconstruction = self.reconstruction(call, call("decoder", latents), images).mean()
        kl_per_latent = kl_from_prior(mean, log_variance).mean(0)
        kl = kl_per_latent.sum()
        loss = reconstruction + self.kl_weight(hyper) * kl
        log = {"loss": loss, "reconstruction": reconstruction, "kl": kl, "kl_per_latent": kl_per_latent}
        return loss, log

    def kl_weight(self, hyper: Mapping[str, Tensor]) -> Tensor | float:
        """What multiplies the KL term."""
        return 1.0

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """The posterior means [n, latents]."""
        return self.posterior(call, images)[0]

    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Reconstruction of the posterior mean, KL, and the ELBO with one posterior sample an image."""
        mean, log_variance = self.posterior(call, images)
        logits = call("decoder", mean)
        sampled = call("decoder", mean + noise * (0.5 * log_variance).exp())
        kl = kl_from_prior(mean, log_variance).sum(1)
        return {
            "reconstruction_nats": self.reconstruction(call, logits, images),
            "mse": squared_error(logits, images),
            "kl": kl,
            "elbo": -(self.reconstruction(call, sampled, images) + kl),
        }

    def log_weights(self, call: Call, images: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z|x) in nats [n, samples] (Burda et al. 2016, arXiv:1509.00519).

        z are posterior samples, made with standard normal noise [n, samples, latents].
        """
        mean, log_variance = (values[:, None] for values in self.posterior(call, images))
        latents = mean + noise * (0.5 * log_variance).exp()
        # log p(z) - log q(z|x); what the two normal densities have in common cancels.
        ratio = 0.5 * (noise.square() + log_variance - latents.square()).sum(2)
        repeated = images.repeat_interleave(noise.shape[1], dim=0)
        nats = self.reconstruction(call, call("decoder", latents.flatten(0, 1)), repeated)
        return ratio - nats.unflatten(0, noise.shape[:2])

    def posterior(self, call: Call, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances of q(z|x), each [n, latents]."""
        mean, log_variance = call("encoder", images).chunk(2, dim=1)
        return mean, log_variance


@dataclass(frozen=True)
class BetaVAE(VAE):
    """beta-VAE: the KL term of the VAE's loss is multiplied by beta (Higgins et al. 2017, eq. 4).

    With `warmup_steps`, beta grows in a straight line from 0 and is reached at that step (after Sonderby et al. 2016,
    arXiv:1602.02282).
    """

    hypers: ClassVar[Mapping[str, float]] = {"beta": 4.0}
    paper: ClassVar[str] = "Higgins et al. 2017, ICLR (beta-VAE)"
    warmup_steps: PositiveInt | None = None

    def losses(
        self,
        call: Call,
        images: Tensor,
        noise: Mapping[str, Tensor],
        hyper: Mapping[str, Tensor],
        step: Tensor,
    ) -> tuple[Losses, Log]:
        """The VAE's with beta, or with as much of it as the warm-up has reached."""
        if self.warmup_steps is not None:
            hyper = {**hyper, "beta": hyper["beta"] * (step / self.warmup_steps).clamp(max=1)}
        return super().losses(call, images, noise, hyper, step)

    def kl_weight(self, hyper: Mapping[str, Tensor]) -> Tensor | float:
        """Beta."""
        return hyper["beta"]


def kl_from_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, element by element."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)
