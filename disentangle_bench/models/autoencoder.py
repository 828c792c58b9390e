"""Autoencoders without a prior: plain, and sparse by an L1 or a KL penalty on the code."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from disentangle_bench.models.objective import Call, Hyper, Log, Losses, NetworkSize, Step
from disentangle_bench.models.reconstruction import Reconstruction

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Autoencoder(Reconstruction):
    """Reconstruction alone: the code is the encoder's output, without noise and without a prior.

    After Hinton & Salakhutdinov 2006, with the standard study's networks and cross-entropy over the pixels.
    """

    paper = "Hinton & Salakhutdinov 2006, Science 313"

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """Encoder (codes) and decoder (logits)."""
        return self.networks(image_shape, size, size.latents)

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder and decoder: the reconstruction's."""
        logits = call("decoder", self.encode(call, step.images))
        reconstruction = self.reconstruction(call, logits, step.images).mean()
        return self.shared(reconstruction), {"loss": reconstruction, "reconstruction": reconstruction}

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Codes [n, latents]."""
        return call("encoder", images)


@dataclass(frozen=True)
class SparseAutoencoder(Autoencoder):
    """Reconstruction + sparsity * penalty; the code may be wider than its input (over-complete).

    With `penalty` "l1" it is the sum of absolute codes, mean over the batch. With "kl" codes are sigmoids,
    and the mean of each over the batch is held near `target`: sum over codes of KL(target || mean) (Ng
    2011, CS294A lecture notes, section 3).
    """

    paper = "Ng 2011, CS294A lecture notes (sparse autoencoder)"
    sparsity = Hyper(1.0)
    penalty: Literal["l1", "kl"] = "l1"
    target: Annotated[float, Field(gt=0, lt=1)] = 0.05

    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """One loss for encoder and decoder."""
        codes = self.encode(call, step.images)
        reconstruction = self.reconstruction(call, call("decoder", codes), step.images).mean()
        penalty = codes.abs().sum(1).mean() if self.penalty == "l1" else self.divergence(codes.mean(0)).sum()
        loss = reconstruction + self.sparsity * penalty
        return self.shared(loss), {"loss": loss, "reconstruction": reconstruction, "penalty": penalty}

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Codes [n, latents]; between 0 and 1 under the KL penalty."""
        codes = call("encoder", images)
        return codes if self.penalty == "l1" else codes.sigmoid()

    def divergence(self, activity: Tensor) -> Tensor:
        """KL(target || activity) of two coins, in nats, element by element."""
        import torch
        from torch.nn import functional

        active = activity.clamp(1e-6, 1 - 1e-6)  # a code that is always on or off would cost infinity
        cross = functional.binary_cross_entropy(
            active, torch.full_like(active, self.target), reduction="none"
        )
        return cross - _entropy(self.target)


def _entropy(probability: float) -> float:
    """Of a coin, in nats."""
    return -sum(p * math.log(p) for p in (probability, 1 - probability))
