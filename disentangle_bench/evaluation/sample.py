"""Codes of the same images for all runs on a data set: what says whether runs agree, without any labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.evaluation.encode import ENCODING_BATCH, encode_points
from disentangle_bench.evaluation.trained_model import TrainedModel

IMAGES = 1_000


def latent_sample(model: TrainedModel, dataset: FactorDataset) -> dict[str, NDArray[np.float32]]:
    """`codes` [images, latents] of at most 1,000 images, evenly spaced over the data set, the same for every model.

    With `kl` [latents] for a VAE: the mean divergence of each latent's posterior from the prior on these images, in
    nats. Nothing where a code is not one number a latent.
    """
    count = min(IMAGES, len(dataset))
    index = torch.arange(count, device=dataset.device) * len(dataset) // count
    codes = encode_points(model.encode, dataset, index).numpy()
    if codes.ndim != 2:
        return {}
    divergences = [model.divergence(dataset.images(part)) for part in index.split(ENCODING_BATCH)]
    if any(part is None for part in divergences):
        return {"codes": codes}
    kl = torch.cat([part for part in divergences if part is not None]).mean(0)
    return {"codes": codes, "kl": kl.cpu().numpy()}
