"""A whole data set encoded by many models at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import vmap

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.product_form import use_products
from disentangle_bench.train.precision import PRECISIONS, caller, float32_products
from disentangle_bench.train.trained import TrainedModel, refuse_odd_codes

IMAGES_TIMES_RUNS = 32_768  # encoded in one go: some gigabytes of activations at 64 x 64 pixels


def encode_stack(
    models: Sequence[TrainedModel],
    dataset: FactorDataset,
    on_points: Callable[[int], None] = lambda n: None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Codes [models, points, latents] and factors [points, factors] of every image of the data set, in float32.

    The models are of one program and on the device of `dataset`. Raises ValueError for codes of another shape.
    """
    networks = copy.deepcopy(models[0].networks)
    use_products(networks.values())
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

    index = torch.arange(len(dataset), device=dataset.device)
    codes = []
    with torch.no_grad(), float32_products(PRECISIONS["float32"]):
        for part in index.split(max(1, IMAGES_TIMES_RUNS // len(models))):
            images = dataset.images(part).to(torch.float32) / 255
            codes.append(vmap(encode, in_dims=(0, None))(weights, images).cpu())
            on_points(len(part))
    found = torch.cat(codes, dim=1)
    refuse_odd_codes(found, (len(models), len(dataset)))
    return found.numpy(), dataset.factors(index).cpu().numpy()
