"""InfoVAE (Zhao et al. 2019): MMD pulls the latents of all images as a whole to the prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from disentangle_bench.models.draws import Draw, Normal
from disentangle_bench.models.objective import Call, Hyper, Log, Losses, Step
from disentangle_bench.models.vae import VAE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class InfoVAE(VAE):
    """Reconstruction + (1 - alpha) KL + (alpha + lambda - 1) MMD(q(z), p(z)) (Zhao et al. 2019, section 3).

    The squared maximum mean discrepancy has the kernel exp(-|z - z'|^2 / (2 latents)). The default alpha of
    1, without the KL term, is the paper's MMD-VAE. lambda weights nats against a discrepancy below 2; its
    default is this package's choice.
    """

    paper = "Zhao et al. 2019, arXiv:1706.02262"
    alpha = Hyper(1.0)
    lambda_ = Hyper(100.0)

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """The posterior's noise, and as many latents from the prior."""
        return {"posterior": Normal((batch, latents)), "prior": Normal((batch, latents))}

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        bound = self.negative_elbo(call, step)
        log, alpha = bound.log, self.alpha
        discrepancy = squared_mmd(bound.latents, step.noise["prior"])
        loss = log["reconstruction"] + (1 - alpha) * log["kl"] + (alpha + self.lambda_ - 1) * discrepancy
        return self.shared(loss), log | {"loss": loss, "mmd": discrepancy}


def squared_mmd(first: Tensor, second: Tensor) -> Tensor:
    """The squared maximum mean discrepancy of two samples [n, latents], each sample's pairs with itself included."""
    return (_kernel(first, first) + _kernel(second, second) - 2 * _kernel(first, second)).mean()


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """[n, n]: the Gaussian kernel with a variance of as many as there are latents."""
    return (-0.5 * (a[:, None] - b[None]).square().mean(2)).exp()
