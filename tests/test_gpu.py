"""The GPU gives what the CPU gives: the same pixels and draws bit for bit, the same training up to rounding."""

import pytest
import tiny_data
import torch
from train_alone import train_alone

from disentangle_bench import randomness
from disentangle_bench.data.load import load_dataset
from disentangle_bench.specs import RunSpec
from disentangle_bench.train.objective import make_objective

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize("name", ["dsprites_rendered", "shapes3d_rendered", "noisy_dsprites_rendered"])
def test_pixels_are_the_same(name: str) -> None:
    cpu = load_dataset(name)
    gpu = cpu.to("cuda")
    index = torch.arange(0, len(cpu), len(cpu) // 500)
    images = gpu.images(index)
    assert images.is_cuda
    assert torch.equal(images.cpu(), cpu.images(index))
    assert torch.equal(gpu.factors(index).cpu(), cpu.factors(index))


def test_draws_are_the_same() -> None:
    for seed in (0, 12345, 2**62):
        streams = [randomness.key(torch.tensor(seed, device=d), 7, "batch") for d in ("cpu", "cuda")]
        words = [randomness.words(stream, 1000).cpu() for stream in streams]
        assert torch.equal(*words)
        normals = [randomness.normal(stream, (100, 3)).cpu() for stream in streams]
        torch.testing.assert_close(*normals, rtol=1e-5, atol=1e-6)
        orders = [randomness.permutations(stream, 64, 10).cpu() for stream in streams]
        assert torch.equal(*orders)


def test_training_is_the_same_up_to_rounding() -> None:
    spec = RunSpec.model_validate(
        {
            "dataset": {"name": "tiny_data:SQUARES"},
            "model": "factor_vae",
            "hypers": {"gamma": 10.0},
            "options": {"discriminator_width": 16},
            "seed": 1,
            "network": {"latents": 3, "channels": (4, 4, 4, 4), "hidden": 16},
            "training": {"steps": 20, "batch_size": 8, "learning_rate": 1e-3},
        }
    )
    squares = tiny_data.squares()
    results = [train_alone(make_objective(spec, squares), spec, squares.to(d)) for d in ("cpu", "cuda")]
    for cpu, gpu in zip(results[0].curves, results[1].curves, strict=True):
        assert gpu == pytest.approx(cpu, rel=1e-3, abs=1e-4)
