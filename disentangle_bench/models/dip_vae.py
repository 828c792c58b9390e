"""DIP-VAE I and II (Kumar et al. 2018): the latents' covariance over the batch is pulled to the identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from disentangle_bench.models.objective import Call, Hyper, Log, Losses, Step
from disentangle_bench.models.vae import VAE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DIPVAE1(VAE):
    """VAE loss + lambda_od * sum of squared covariances + lambda_d * sum of (variance - 1)^2.

    The covariance is that of the posterior means. lambda_d is `diagonal` * lambda_od, so one list varies
    both, as in the 2019 study. Kumar et al. 2018, eq. 6.
    """

    paper = "Kumar et al. 2018, arXiv:1711.00848"
    lambda_od = Hyper(10.0)
    diagonal = Hyper(10.0)

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        bound = self.negative_elbo(call, step)
        off_diagonal, diagonal = self.departures(self.covariance(bound.mean, bound.log_variance))
        penalty = self.lambda_od * (off_diagonal + self.diagonal * diagonal)
        loss = bound.loss + penalty
        return self.shared(loss), bound.log | {"loss": loss, "penalty": penalty}

    def covariance(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """[latents, latents]: that of the means over the batch (divided by n, as in the 2019 study)."""
        centred = mean - mean.mean(0)
        return centred.T @ centred / len(mean)

    def departures(self, covariance: Tensor) -> tuple[Tensor, Tensor]:
        """The sums of squares off the diagonal, and of the diagonal's distances from 1."""
        diagonal = covariance.diagonal()
        off_diagonal = covariance.square().sum() - diagonal.square().sum()
        return off_diagonal, (diagonal - 1).square().sum()


@dataclass(frozen=True)
class DIPVAE2(DIPVAE1):
    """DIP-VAE I with the covariance of the sampled latents: that of the means plus the mean variance (eq. 7)."""

    diagonal = Hyper(1.0)

    def covariance(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """[latents, latents]: that of the latents under the aggregate posterior."""
        return super().covariance(mean, log_variance) + log_variance.exp().mean(0).diag()
