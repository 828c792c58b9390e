"""Linear baselines that are fitted, not trained: principal and independent components."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from disentangle_bench.errors import BenchError
from disentangle_bench.models.objective import Call, Fitted, NetworkSize, with_data_facts

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class PCA(Fitted):
    """Codes are the image's first principal components, and images are reconstructed from them (Pearson 1901).

    Fitted by scikit-learn's randomised solver on `fit_images` random training images.
    """

    paper = "Pearson 1901; Halko et al. 2011, arXiv:0909.4061 (solver)"
    likelihood = "gaussian"  # what `evaluate` gives nats of
    fit_images: PositiveInt = 5000

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """A linear layer from images to codes and one back.

        Raises BenchError where there are fewer images or pixels than latents.
        """
        from torch import nn

        pixels = math.prod(image_shape)
        images = min(self.data.image_count, self.fit_images)
        if size.latents > min(images, pixels):
            raise BenchError(
                f"{size.latents} latents are more than the {min(images, pixels)} components of {images} images"
                f" of {pixels} values; set network.latents lower"
            )
        return {
            "encoder": nn.Sequential(nn.Flatten(), nn.Linear(pixels, size.latents)),
            "decoder": nn.Sequential(nn.Linear(size.latents, pixels), nn.Unflatten(1, image_shape)),
        }

    def fit(self, images: Tensor, size: NetworkSize, seed: int) -> dict[str, nn.Module]:
        """The layers that make the components of these images uint8 [n, channels, height, width]."""
        image_shape = tuple(images.shape[1:])
        networks = with_data_facts(self, len(images), image_shape).build(image_shape, size)  # type: ignore[arg-type]
        pixels = images.flatten(1).cpu().numpy().astype(np.float32) / np.float32(255)
        mean, directions, spread = self.components(pixels, size.latents, seed)
        _set(networks["encoder"].get_submodule("1"), directions, -directions @ mean)
        _set(networks["decoder"].get_submodule("0"), spread, mean)
        return networks

    def components(self, pixels: NDArray[np.float32], count: int, seed: int) -> tuple[Any, Any, Any]:
        """Mean [pixels], directions [count, pixels] that give codes, and their inverse [pixels, count]."""
        from sklearn.decomposition import PCA as Components

        found = Components(count, svd_solver="randomized", random_state=seed % 2**32).fit(pixels)
        return found.mean_, found.components_, found.components_.T

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Codes [n, latents]."""
        return call("encoder", images)

    def decode(self, call: Call, latents: Tensor) -> Tensor:
        """Images [n, channels, height, width], cut to 0..1."""
        return call("decoder", latents).clamp(0, 1)

    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Reconstruction in nats, as a normal likelihood of unit variance gives them, and squared error."""
        squares = (self.decode(call, self.encode(call, images)) - images).square().flatten(1)
        return {
            "reconstruction_nats": 0.5 * squares.sum(1) + 0.5 * math.log(2 * math.pi) * squares.shape[1],
            "mse": squares.mean(1),
        }


@dataclass(frozen=True)
class ICA(PCA):
    """Codes are independent components of unit variance by FastICA (Hyvarinen & Oja 2000).

    They are sought among the first principal components. Images are reconstructed by the pseudo-inverse,
    and the result is that of PCA, because turning and scaling codes loses nothing.
    """

    paper = "Hyvarinen & Oja 2000, Neural Networks 13 (FastICA)"

    def components(self, pixels: NDArray[np.float32], count: int, seed: int) -> tuple[Any, Any, Any]:
        """As PCA's, turned and scaled so that the codes are independent."""
        from sklearn.decomposition import FastICA

        mean, directions, spread = super().components(pixels, count, seed)
        # In float64, and with a tolerance that settles: at scikit-learn's 1e-4 it may turn about for ever.
        scores = (pixels - mean).astype(np.float64) @ directions.T
        ica = FastICA(count, whiten="unit-variance", tol=1e-3, max_iter=2000, random_state=seed % 2**32)
        ica.fit(scores)
        return mean, ica.components_ @ directions, spread @ np.linalg.pinv(ica.components_)


def _set(layer: nn.Module, weight: NDArray[Any], bias: NDArray[Any]) -> None:
    """Give a linear layer these weights."""
    import torch

    layer.load_state_dict(
        {
            "weight": torch.from_numpy(np.ascontiguousarray(weight, np.float32)),
            "bias": torch.tensor(bias, dtype=torch.float32),
        }
    )
