"""AnnealedVAE (Burgess et al. 2018): the KL term is held at a capacity that grows while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from disentangle_bench.models.objective import Call, Log, Losses
from disentangle_bench.models.vae import VAE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AnnealedVAE(VAE):
    """Reconstruction + gamma * |KL - C| (Burgess et al. 2018, eq. 8).

    C, in nats, grows in a straight line from 0 to `capacity` over `annealing_steps` steps and stays there.
    """

    hypers: ClassVar[Mapping[str, float]] = {"capacity": 25.0, "gamma": 1000.0, "annealing_steps": 100_000.0}
    paper: ClassVar[str] = "Burgess et al. 2018, arXiv:1804.03599"

    def losses(
        self,
        call: Call,
        images: Tensor,
        noise: Mapping[str, Tensor],
        hyper: Mapping[str, Tensor],
        step: Tensor,
    ) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        _, _, log = self.negative_elbo(call, images, noise, hyper)
        capacity = hyper["capacity"] * (step / hyper["annealing_steps"].clamp(min=1)).clamp(max=1)
        loss = log["reconstruction"] + hyper["gamma"] * (log["kl"] - capacity).abs()
        return self.shared(loss), log | {"loss": loss, "capacity": capacity}
