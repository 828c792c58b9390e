"""AnnealedVAE (Burgess et al. 2018): the KL term is held at a capacity that grows during training."""

from __future__ import annotations

from dataclasses import dataclass

from disentangle_bench.models.objective import Call, Hyper, Log, Losses, Step
from disentangle_bench.models.vae import VAE


@dataclass(frozen=True)
class AnnealedVAE(VAE):
    """Reconstruction + gamma * |KL - C| (Burgess et al. 2018, eq. 8).

    C, in nats, grows linearly from 0 to `capacity` over `annealing_steps` steps and then stays there.
    """

    paper = "Burgess et al. 2018, arXiv:1804.03599"
    capacity = Hyper(25.0)
    gamma = Hyper(1000.0)
    annealing_steps = Hyper(100_000.0)

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        log = self.negative_elbo(call, step).log
        capacity = self.capacity * (step.number / self.annealing_steps.clamp(min=1)).clamp(max=1)
        loss = log["reconstruction"] + self.gamma * (log["kl"] - capacity).abs()
        return self.shared(loss), log | {"loss": loss, "capacity": capacity}
