"""What a model is to the rest of the house: networks, a loss for each of them, codes and decoded images.

Written for ONE run. An objective never draws randomness, never holds an optimiser and never sees how many runs train
beside it; it calls its networks through `call(name, inputs)`, so that the trainer decides whose parameters are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor, nn

from disentangle_bench.models.draws import Draw

Call = Callable[[str, Tensor], Tensor]
Losses = dict[str, Tensor]
Log = dict[str, Tensor]


@dataclass(frozen=True)
class NetworkSize:
    """The sizes a grid's [network] table sets; defaults are the standard study's (Locatello et al. 2019)."""

    latents: int = 10
    channels: tuple[int, ...] = (32, 32, 64, 64)
    kernels: tuple[int, ...] = (4, 4, 2, 2)
    hidden: int = 256


@dataclass(frozen=True)
class Adam:
    """One network's own optimiser settings, where its paper departs from those of the grid's [training] table."""

    learning_rate: float
    betas: tuple[float, float]
    eps: float = 1e-8


class Objective(Protocol):
    """A model and its training objective for one run.

    A class of the tree is a frozen dataclass: its fields are options (how it is built), `hypers` are the numbers that
    may differ between runs of one stack, with the paper's defaults.
    """

    hypers: ClassVar[Mapping[str, float]]
    paper: ClassVar[str]

    @property
    def batches(self) -> int:
        """How many batches of images one step draws."""
        ...

    @property
    def pairs(self) -> bool:
        """Whether the second of two batches holds partners of the first's images, which share some of their factors."""
        ...

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """The networks by name, freshly initialised from torch's global generator (which the trainer seeds)."""
        ...

    def adam(self) -> Mapping[str, Adam]:
        """Optimiser settings for the networks that do not use the grid's."""
        ...

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """What one step needs drawn."""
        ...

    def losses(
        self,
        call: Call,
        images: Tensor,
        noise: Mapping[str, Tensor],
        hyper: Mapping[str, Tensor],
        step: Tensor,
    ) -> tuple[Losses, Log]:
        """The loss that each network descends (sum over pixels and latents, mean over the batch), and what to log.

        `images` float32 [batches * batch, channels, height, width] in 0..1. Networks with the same loss tensor share
        one backward pass; a network receives gradients from its own loss only, whatever else the graph touches.
        """
        ...

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Codes [n, latents]: the representation that is scored, the posterior mean where there is a posterior."""
        ...

    def decode(self, call: Call, latents: Tensor) -> Tensor:
        """Images [n, channels, height, width] in 0..1 for latents [n, latents]."""
        ...

    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Per-image measures [n], lower is better but for `elbo`: `reconstruction_nats`, `mse`, `kl`, `elbo`.

        `noise` is standard normal [n, latents], for what is an expectation over the posterior.
        """
        ...
