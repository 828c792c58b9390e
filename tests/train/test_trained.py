"""Codes and measures are computed in exact float32, whatever a run was trained in and a GPU does by default."""

import pytest
import tiny_data
import torch
from stack_cases import NETWORK
from torch import Tensor

from disentangle_bench.build import build_networks
from disentangle_bench.evaluation.encode import encode_stack
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.models.vae import VAE
from disentangle_bench.specs import RunSpec

LOOSE = ("high", True)  # what a user's own script may have set, and torch's default for convolutions on a GPU
EXACT = ("highest", False)


def settings() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture
def loose() -> None:
    before = settings()
    torch.set_float32_matmul_precision(LOOSE[0])
    torch.backends.cudnn.allow_tf32 = LOOSE[1]
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


class Watched(VAE):
    """A VAE that notes the settings under which it is asked."""

    seen: list[tuple[str, bool]] = []  # noqa: RUF012

    def posterior(self, call, images: Tensor):
        self.seen.append(settings())
        return super().posterior(call, images)

    def decode(self, call, latents: Tensor) -> Tensor:
        self.seen.append(settings())
        return super().decode(call, latents)


def test_a_trained_model_is_asked_in_exact_float32(loose: None) -> None:
    Watched.seen.clear()
    squares = tiny_data.squares()
    spec = RunSpec.model_validate(
        {
            "dataset": {"name": "tiny_data:SQUARES"},
            "model": "vae",
            "hypers": {},
            "options": {},
            "seed": 0,
            "network": NETWORK,
            "training": {"precision": "tf32"},
        }
    )
    networks = build_networks(Watched(), squares.image_shape, spec.network, 0, torch.device("cpu"))
    model = TrainedModel(spec, Watched(), networks, torch.device("cpu"), squares.image_shape)
    images, noise = squares.images(range(4)), torch.zeros(4, 3)
    model.encode(images)
    model.decode(noise)
    model.evaluate(images, noise)
    model.log_weights(images, torch.zeros(4, 2, 3))
    encode_stack([model, model], squares)
    assert Watched.seen == [EXACT] * 5
    assert settings() == LOOSE
