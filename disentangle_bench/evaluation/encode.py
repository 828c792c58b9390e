"""From images to codes: a data set encoded by one model, or by many at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from disentangle_bench import randomness
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.evaluation.tables import Truth, truth_of
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.metrics.metric import Factors
from disentangle_bench.models.forms import use_form
from disentangle_bench.precision import PRECISIONS, caller, float32_products

ENCODING_BATCH = 512
IMAGES_TIMES_RUNS = 32_768  # encoded in one go: some gigabytes of activations at 64 x 64 pixels


def encode_stack(
    models: Sequence[TrainedModel],
    dataset: FactorDataset,
    on_points: Callable[[int], None] = lambda n: None,
) -> tuple[NDArray[np.float32], Factors | Truth]:
    """Codes [models, points, latents] and factors [points, factors] of every image that is scored, in float32.

    Those are all, in their order, or the images whose factors are known. The models are of one program and on the
    device of `dataset`. Raises ValueError for codes of another shape.
    """
    networks = copy.deepcopy(models[0].networks)
    use_form(networks.values())
    weights = {
        name: {
            key: torch.stack(
                [dict(model.networks[name].named_parameters())[key].detach() for model in models]
            )
            for key, _ in network.named_parameters()
        }
        for name, network in networks.items()
    }

    def encode(weights: dict[str, dict[str, Tensor]], images: Tensor) -> Tensor:
        return models[0].objective.encode(caller(networks, weights, PRECISIONS["float32"]), images)

    known = dataset.labelled
    index = torch.arange(len(dataset), device=dataset.device) if known is None else known
    codes = []
    with torch.no_grad(), float32_products(PRECISIONS["float32"]):
        for part in index.split(max(1, IMAGES_TIMES_RUNS // len(models))):
            images = dataset.images(part).to(torch.float32) / 255
            codes.append(vmap(encode, in_dims=(0, None))(weights, images).cpu())
            on_points(len(part))
    found = torch.cat(codes, dim=1)
    refuse_odd_codes(found, (len(models), len(index)))
    return found.numpy(), truth_of(dataset, index)


def encode_dataset(
    encode: Callable[[Tensor], Tensor],
    dataset: FactorDataset,
    points: int | str,
    seed: int,
    on_points: Callable[[int], None] = lambda n: None,
) -> tuple[NDArray[np.float32], Factors | Truth]:
    """Codes [points, latents] and factors [points, factors] of the images of `scoring_points`.

    `encode` maps uint8 images to codes.
    """
    index = scoring_points(dataset, points, seed)
    codes = encode_points(encode, dataset, index, on_points)
    refuse_odd_codes(codes, (len(index),))
    return codes.numpy(), truth_of(dataset, index)


def encode_points(
    encode: Callable[[Tensor], Tensor],
    dataset: FactorDataset,
    index: Tensor | NDArray[np.int64],
    on_points: Callable[[int], None] = lambda n: None,
) -> Tensor:
    """What `encode` makes of the uint8 images at these positions, on the CPU."""
    codes = []
    for part in torch.as_tensor(index, device=dataset.device).split(ENCODING_BATCH):
        codes.append(encode(dataset.images(part)))
        on_points(len(part))
    return torch.cat(codes).cpu()


def refuse_odd_codes(codes: Tensor, rows: tuple[int, ...]) -> None:
    """Raise ValueError unless the codes are real numbers [*rows, latents]; a model is anyone's code."""
    if codes.ndim != len(rows) + 1 or tuple(codes.shape[:-1]) != rows or not codes.shape[-1]:
        raise ValueError(f"the model's codes have the shape {list(codes.shape)}, not {[*rows, 'latents']}")
    if codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"the model's codes are {codes.dtype}, not real numbers")


def scoring_points(dataset: FactorDataset, points: int | str, seed: int) -> Tensor:
    """int64: the images that metrics see, in a random order; all ("all") or so many, drawn without replacement.

    They are of those whose factors are known, a function of `seed`.
    """
    known = dataset.labelled
    if known is None:
        return points_of(dataset, points, seed, "scoring points")
    stream = randomness.key(torch.tensor(seed), 0, "scoring points")
    count = len(known) if points == "all" else int(points)
    return known[randomness.sample_without_replacement(stream, count, len(known)).to(known.device)]


def points_of(dataset: FactorDataset, points: int | str, seed: int, purpose: str) -> Tensor:
    """int64: all positions of the data set in a random order ("all"), or so many, without replacement."""
    count = len(dataset) if points == "all" else int(points)
    stream = randomness.key(torch.tensor(seed), 0, purpose)
    return randomness.sample_without_replacement(stream, count, len(dataset)).to(dataset.device)
