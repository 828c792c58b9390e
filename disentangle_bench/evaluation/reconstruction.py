"""How well a model reconstructs, and what its likelihood is read against."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from disentangle_bench import randomness
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.pixels import as_floats
from disentangle_bench.evaluation.encode import ENCODING_BATCH, points_of
from disentangle_bench.evaluation.representation import Encoder
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.models.objective import Likelihood


def measure_reconstruction(
    model: TrainedModel, dataset: FactorDataset, points: int | str
) -> dict[str, float]:
    """Means over random points (or "all") of the objective's measures: `reconstruction_nats`, `mse`, `kl`, `elbo`.

    An objective with importance weights is given `iwae` as well, on a few points of its own.
    """
    measured = mean_measures(
        model, dataset, points_of(dataset, points, model.spec.seed, "reconstruction points")
    )
    if isinstance(model.objective, Likelihood):
        measured["iwae"] = importance_weighted_bound(model, dataset)
    return measured


def mean_measures(model: TrainedModel, dataset: FactorDataset, index: Tensor) -> dict[str, float]:
    """Means over the images at these positions of the objective's measures."""
    found = measures_of_images(model, dataset, index)
    return {name: sum(float(part.sum()) for part in parts) / len(index) for name, parts in found.items()}


def measures_of_images(model: TrainedModel, dataset: FactorDataset, index: Tensor) -> dict[str, list[Tensor]]:
    """The objective's measures of each of these images, float64 on the CPU, in batches."""
    found: dict[str, list[Tensor]] = {}
    for part, noise in _with_noise(model, index):
        for name, values in model.evaluate(dataset.images(part), noise).items():
            found.setdefault(name, []).append(values.double().cpu())
    return found


def reconstruction_bounds(
    likelihood: object, seed: int, dataset: FactorDataset, points: int | str
) -> dict[str, float | str | None]:
    """What `reconstruction_nats` of these points has to be read against: `likelihood`, `floor_nats`, `constant_nats`.

    The floor is what a perfect picture costs, a mean over the very points of `measure_reconstruction`: for the
    Bernoulli likelihood the entropy -p ln p - (1 - p) ln(1 - p) of each pixel p, for the normal one of unit variance
    ln(2 pi) / 2 a pixel. The constant cost is that of the best picture that is the same for every point, their mean:
    the entropy of the mean pixels, or half their variances above the floor. All summed over pixels and channels, in
    nats per image. None where a likelihood has no such numbers: a learned variance may shrink without end.
    """
    name = likelihood if isinstance(likelihood, str) else None  # anyone's model may mean something else by it
    found: dict[str, float | str | None] = {"likelihood": name, "floor_nats": None, "constant_nats": None}
    if name not in ("bernoulli", "gaussian"):
        return found
    index = points_of(dataset, points, seed, "reconstruction points")
    sums = torch.zeros(3, *dataset.image_shape, dtype=torch.float64, device=dataset.device)
    for part in index.split(ENCODING_BATCH):
        pixels = as_floats(dataset.images(part))
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
    index = points_of(dataset, images, model.spec.seed, "likelihood points")
    stream = randomness.key(torch.tensor(model.spec.seed), 0, "likelihood noise")
    noise = randomness.normal(stream, (len(index), samples, model.spec.network.latents))
    at_once = max(1, ENCODING_BATCH // samples)
    found = [
        model.log_weights(dataset.images(part), drawn).double()
        for part, drawn in zip(index.split(at_once), noise.split(at_once), strict=True)
    ]
    return float((torch.cat(found).logsumexp(1) - math.log(samples)).mean())


def _with_noise(model: TrainedModel, index: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the index, each with standard normal noise [n, latents] of its own."""
    seed = torch.tensor(model.spec.seed)
    for batch, part in enumerate(index.split(ENCODING_BATCH)):
        stream = randomness.key(seed, batch, "reconstruction noise")
        yield part, randomness.normal(stream, (len(part), model.spec.network.latents))


def decoded_reconstruction(
    encoder: Encoder, dataset: FactorDataset, points: int | str, seed: int
) -> dict[str, float]:
    """Means over the same points of `mse` and `reconstruction_nats` of somebody's decoder.

    The nats are those of the Bernoulli likelihood, as for this package's models: -x ln y - (1 - x) ln(1 - y), summed
    over pixels and channels. Raises ValueError for images of another shape or outside 0..1.
    """
    index = points_of(dataset, points, seed, "reconstruction points")
    sums = {"reconstruction_nats": 0.0, "mse": 0.0}
    for part in index.split(ENCODING_BATCH):
        images = as_floats(dataset.images(part)).to(encoder.device)
        decoded = encoder.decode(encoder.encode(images)).to(torch.float32)
        if decoded.shape != images.shape:
            raise ValueError(f"decoded images have the shape {list(decoded.shape)}, not {list(images.shape)}")
        if not bool(((decoded >= 0) & (decoded <= 1)).all()):
            raise ValueError("decoded images are not within 0..1")
        nats = functional.binary_cross_entropy(decoded, images, reduction="none")
        sums["reconstruction_nats"] += float(nats.double().sum())
        sums["mse"] += float((decoded - images).square().flatten(1).mean(1).double().sum())
    return {name: total / len(index) for name, total in sums.items()}
