"""A trained model at work: encode, decode, reconstruct, sample, and measure how well it reconstructs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.pixels import unit_floats
from disentangle_bench.errors import BenchError
from disentangle_bench.models.objective import Fitted, Likelihood, Objective
from disentangle_bench.spec import RunSpec
from disentangle_bench.train import randomness
from disentangle_bench.train.precision import PRECISIONS, float32_products

ENCODING_BATCH = 512


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

    def pixels(self, images: Tensor) -> Tensor:
        """Images as the networks see them: float32 in 0..1."""
        return self._input(images)

    def _call(self, name: str, inputs: Tensor) -> Tensor:
        return self.networks[name](inputs)

    def _input(self, images: Tensor) -> Tensor:
        return unit_floats(images, self.image_shape, self.device)


@contextmanager
def _exact() -> Iterator[None]:
    """No gradients, and float32 that is float32: torch lets a GPU's convolutions round to 10 bits by default."""
    with torch.no_grad(), float32_products(PRECISIONS["float32"]):
        yield


def encode_dataset(
    encode: Callable[[Tensor], Tensor],
    dataset: FactorDataset,
    points: int | str,
    seed: int,
    on_points: Callable[[int], None] = lambda n: None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Codes [points, latents] and factors [points, factors] of the whole data set ("all"), or of random points of it.

    `encode` maps uint8 images to codes. Random points are drawn without replacement, a function of `seed`.
    """
    index = _points(dataset, points, seed, "scoring points")
    codes = []
    for part in index.split(ENCODING_BATCH):
        codes.append(encode(dataset.images(part)))
        on_points(len(part))
    found = torch.cat(codes)
    refuse_odd_codes(found, (len(index),))
    return found.cpu().numpy(), dataset.factors(index).cpu().numpy()


def refuse_odd_codes(codes: Tensor, rows: tuple[int, ...]) -> None:
    """Raise ValueError unless the codes are real numbers [*rows, latents]; a model is anyone's code."""
    if codes.ndim != len(rows) + 1 or tuple(codes.shape[:-1]) != rows or not codes.shape[-1]:
        raise ValueError(f"the model's codes have the shape {list(codes.shape)}, not {[*rows, 'latents']}")
    if codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"the model's codes are {codes.dtype}, not real numbers")


def measure_reconstruction(
    model: TrainedModel, dataset: FactorDataset, points: int | str
) -> dict[str, float]:
    """Means over random points (or "all") of the objective's measures: `reconstruction_nats`, `mse`, `kl`, `elbo`.

    An objective with importance weights is given `iwae` as well, on a few points of its own.
    """
    index = _points(dataset, points, model.spec.seed, "reconstruction points")
    sums: dict[str, float] = {}
    for part, noise in _with_noise(model, index):
        for name, values in model.evaluate(dataset.images(part), noise).items():
            sums[name] = sums.get(name, 0.0) + float(values.double().sum())
    measured = {name: total / len(index) for name, total in sums.items()}
    if isinstance(model.objective, Likelihood):
        measured["iwae"] = importance_weighted_bound(model, dataset)
    return measured


def reconstruction_bounds(
    model: TrainedModel, dataset: FactorDataset, points: int | str
) -> dict[str, float | str | None]:
    """What `reconstruction_nats` of these points has to be read against: `likelihood`, `floor_nats`, `constant_nats`.

    The floor is what a perfect picture costs, a mean over the very points of `measure_reconstruction`: for the
    Bernoulli likelihood the entropy -p ln p - (1 - p) ln(1 - p) of each pixel p, for the normal one of unit variance
    ln(2 pi) / 2 a pixel. The constant cost is that of the best picture that is the same for every point, their mean:
    the entropy of the mean pixels, or half their variances above the floor. All summed over pixels and channels, in
    nats per image. None where a likelihood has no such numbers: a learned variance may shrink without end.
    """
    likelihood = getattr(model.objective, "likelihood", None)
    name = likelihood if isinstance(likelihood, str) else None  # anyone's model may mean something else by it
    found: dict[str, float | str | None] = {"likelihood": name, "floor_nats": None, "constant_nats": None}
    if name not in ("bernoulli", "gaussian"):
        return found
    index = _points(dataset, points, model.spec.seed, "reconstruction points")
    sums = torch.zeros(3, *dataset.image_shape, dtype=torch.float64, device=dataset.device)
    for part in index.split(ENCODING_BATCH):
        pixels = model.pixels(dataset.images(part))
        sums += torch.stack([pixels.sum(0), pixels.square().sum(0), _entropy(pixels).sum(0)])
    mean, square, entropy = (sums / len(index)).cpu()
    if name == "bernoulli":
        return found | {"floor_nats": float(entropy.sum()), "constant_nats": float(_entropy(mean).sum())}
    floor = 0.5 * math.log(2 * math.pi) * mean.numel()
    return found | {"floor_nats": floor, "constant_nats": floor + 0.5 * float((square - mean.square()).sum())}


def _entropy(pixels: Tensor) -> Tensor:
    """Of a pixel that is 1 with this probability, in nats."""
    return torch.special.entr(pixels) + torch.special.entr(1 - pixels)


def importance_weighted_bound(
    model: TrainedModel, dataset: FactorDataset, images: int = 64, samples: int = 64
) -> float:
    """A lower bound on log p(x) in nats, mean over random images (Burda et al. 2016, arXiv:1509.00519, L_K).

    For each image log of the mean of K = `samples` importance weights; higher is better, and it rises with K from the
    ELBO (K = 1) to log p(x).
    """
    index = _points(dataset, images, model.spec.seed, "likelihood points")
    stream = randomness.key(torch.tensor(model.spec.seed), 0, "likelihood noise")
    noise = randomness.normal(stream, (len(index), samples, model.spec.network.latents))
    at_once = max(1, ENCODING_BATCH // samples)
    found = [
        model.log_weights(dataset.images(part), drawn).double()
        for part, drawn in zip(index.split(at_once), noise.split(at_once), strict=True)
    ]
    return float((torch.cat(found).logsumexp(1) - math.log(samples)).mean())


def _points(dataset: FactorDataset, points: int | str, seed: int, purpose: str) -> Tensor:
    count = len(dataset) if points == "all" else int(points)
    stream = randomness.key(torch.tensor(seed), 0, purpose)
    return randomness.sample_without_replacement(stream, count, len(dataset)).to(dataset.device)


def _with_noise(model: TrainedModel, index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the index, each with standard normal noise [n, latents] of its own."""
    seed = torch.tensor(model.spec.seed)
    for batch, part in enumerate(index.split(ENCODING_BATCH)):
        stream = randomness.key(seed, batch, "reconstruction noise")
        yield part, randomness.normal(stream, (len(part), model.spec.network.latents))
