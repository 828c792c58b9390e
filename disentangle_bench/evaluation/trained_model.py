"""A trained model at work: encode, decode, reconstruct, sample, and measure how well it reconstructs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disentangle_bench import randomness
from disentangle_bench.data.pixels import unit_floats
from disentangle_bench.errors import BenchError
from disentangle_bench.models.objective import Fitted, Likelihood, Objective
from disentangle_bench.models.vae import VAE, kl_from_prior
from disentangle_bench.precision import PRECISIONS, float32_products
from disentangle_bench.specs import RunSpec


@dataclass(frozen=True)
class TrainedModel:
    """One run's networks with the objective that knows how to use them. All methods answer on `device`.

    `image_shape` (channels, height, width) is what the networks were built for. The networks are in eval mode.
    """

    spec: RunSpec
    objective: Objective | Fitted
    networks: dict[str, nn.Module]
    device: torch.device
    image_shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        for network in self.networks.values():
            network.eval()

    def encode(self, images: Tensor) -> Tensor:
        """Codes float32 [n, latents] for images [n, channels, height, width], uint8 0..255 or float 0..1.

        Raises BenchError for images of another shape and for numbers that would have to be guessed at.
        """
        with _exact():
            return self.objective.encode(self._call, self._input(images))

    def decode(self, latents: Tensor) -> Tensor:
        """Images float32 [n, channels, height, width] in 0..1 for latents [n, latents]."""
        with _exact():
            return self.objective.decode(
                self._call, torch.as_tensor(latents, dtype=torch.float32).to(self.device)
            )

    def reconstruct(self, images: Tensor) -> Tensor:
        """The decoded codes of these images (as for `encode`), float32 [n, channels, height, width] in 0..1."""
        return self.decode(self.encode(images))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """`n` images decoded from the standard normal prior, the same for the same seed.

        Raises BenchError for a model without a prior.
        """
        if not self.objective.generative:
            raise BenchError(f"{self.spec.model} has no prior to sample from; VAEs have")
        stream = randomness.key(torch.tensor(seed), 0, "prior samples")
        return self.decode(randomness.normal(stream, (n, self.spec.network.latents)))

    def evaluate(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """The objective's per-image measures [n], such as `reconstruction_nats`; `noise` [n, latents]."""
        with _exact():
            return self.objective.evaluate(self._call, self._input(images), noise.to(self.device))

    def divergence(self, images: Tensor) -> Tensor | None:
        """KL of each latent's posterior from the prior in nats, [n, latents]; None for a model that is no VAE."""
        if not isinstance(self.objective, VAE):
            return None
        with _exact():
            return kl_from_prior(*self.objective.posterior(self._call, self._input(images)))

    def log_weights(self, images: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z|x) in nats [n, samples] for z drawn with `noise` [n, samples, latents].

        Raises BenchError for an objective without importance weights.
        """
        if not isinstance(self.objective, Likelihood):
            raise BenchError(f"{self.spec.model} says nothing of how likely an image is")
        with _exact():
            return self.objective.log_weights(self._call, self._input(images), noise.to(self.device))

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Every parameter and buffer by `network.name`, as numpy arrays."""
        return {
            f"{name}.{key}": value.detach().cpu().numpy()
            for name, network in self.networks.items()
            for key, value in network.state_dict().items()
        }

    def load_weights(self, weights: dict[str, NDArray[np.float32]]) -> None:
        """Take the weights that `weights()` gave. Raises ValueError where names or shapes do not match."""
        for name, network in self.networks.items():
            own = {
                key.removeprefix(f"{name}."): torch.from_numpy(value.copy())
                for key, value in weights.items()
                if key.startswith(f"{name}.")
            }
            try:
                network.load_state_dict(own)
            except RuntimeError as error:
                raise ValueError(f"the weights do not fit the network {name!r}: {error}") from error

    def _call(self, name: str, inputs: Tensor) -> Tensor:
        return self.networks[name](inputs)

    def _input(self, images: Tensor) -> Tensor:
        return unit_floats(images, self.image_shape, self.device)


@contextmanager
def _exact() -> Iterator[None]:
    """No gradients, and float32 that is float32: torch lets a GPU's convolutions round to 10 bits by default."""
    with torch.no_grad(), float32_products(PRECISIONS["float32"]):
        yield
