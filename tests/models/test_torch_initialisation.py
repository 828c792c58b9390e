"""The models of grids/torch_initialisation.py start as torch's layers do, and are else what they are made of."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from disentangle_bench.build import build_networks
from disentangle_bench.models.beta_tcvae import BetaTCVAE
from disentangle_bench.models.vae import VAE
from disentangle_bench.specs import NetworkSpec

FILE = Path(__file__).parents[2] / "grids" / "torch_initialisation.py"
SPEC = importlib.util.spec_from_file_location("torch_initialisation", FILE)
models = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(models)
SIZE = NetworkSpec(channels=(8, 8, 8), kernels=(4, 4, 4), hidden=64)


@pytest.mark.parametrize(
    ("model", "plain"),
    [(models.TorchVAE, VAE), (models.TorchBetaTCVAE, BetaTCVAE)],
    ids=["vae", "beta_tcvae"],
)
def test_layers_start_as_torch_starts_them(model: type, plain: type) -> None:
    def weights(kind: type) -> dict[str, torch.Tensor]:
        networks = build_networks(kind(), (1, 32, 32), SIZE, 0, torch.device("cpu"))
        return {f"{n}.{k}": v.detach() for n, net in networks.items() for k, v in net.named_parameters()}

    own, glorot = weights(model), weights(plain)
    assert {name: value.shape for name, value in own.items()} == {n: v.shape for n, v in glorot.items()}
    for name, value in own.items():
        if value.ndim == 1:
            assert value.abs().max() > 0, name
            assert glorot[name].abs().max() == 0, name
        elif value.ndim == 2:
            bound = 1 / math.sqrt(value.shape[1])
            assert 0.9 * bound < value.abs().max() <= bound, name
    assert {name: value.sum() for name, value in weights(model).items()} == {
        n: v.sum() for n, v in own.items()
    }
