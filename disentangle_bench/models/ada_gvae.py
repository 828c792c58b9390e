"""Ada-GVAE (Locatello et al. 2020): weak supervision by pairs of images that share some of their factors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from disentangle_bench.models.draws import Draw, Normal
from disentangle_bench.models.objective import Call, Hyper
from disentangle_bench.models.vae import BetaVAE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AdaGVAE(BetaVAE):
    """beta-VAE on both images of a pair, with averaged posteriors in the latents that seem shared.

    A latent counts as shared if the KL divergence between the two posteriors is below the midpoint between
    the smallest and the largest over latents. In shared latents both means and both variances are averaged,
    as in GVAE. The model does not know how many factors differ. Locatello et al. 2020, section 4.
    """

    paper = "Locatello et al. 2020, arXiv:2002.02886"
    beta = Hyper(1.0)
    batches = 2  # images and their partners
    pairs = True

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """The posteriors' noise, for images and partners."""
        return {"posterior": Normal((2 * batch, latents))}

    def training_posterior(self, call: Call, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances [2 * batch, latents], averaged over each pair in its shared latents."""
        return self.averaged(*self.posterior(call, images))

    def averaged(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances [2 * n, latents] with each pair's shared latents made the same."""
        first, second = mean.chunk(2)
        first_variance, second_variance = log_variance.exp().chunk(2)
        shared = shared_latents(first, first_variance, second, second_variance).repeat(2, 1)
        mean = (0.5 * (first + second)).repeat(2, 1).where(shared, mean)
        variance = (0.5 * (first_variance + second_variance)).repeat(2, 1)
        return mean, variance.log().where(shared, log_variance)


def shared_latents(first: Tensor, first_variance: Tensor, second: Tensor, second_variance: Tensor) -> Tensor:
    """bool [n, latents]: whether KL(first || second) of the latent is below the middle of its range in the pair."""
    ratio = first_variance / second_variance
    divergence = 0.5 * (ratio + (second - first).square() / second_variance - 1 - ratio.log())
    middle = 0.5 * (divergence.amax(1, keepdim=True) + divergence.amin(1, keepdim=True))
    return divergence < middle
