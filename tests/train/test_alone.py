"""The reference trainer: same seed same bits, the limits between models, Adam by an independent formula, divergence."""

import math

import pytest
import tiny_data
import torch
from torch import nn
from train_alone import train_alone

from disentangle_bench.build import build_networks, new_objective
from disentangle_bench.models.objective import Adam
from disentangle_bench.models.vae import VAE
from disentangle_bench.specs import NetworkSpec, RunSpec, TrainingSpec
from disentangle_bench.train.adam import FusedAdam
from disentangle_bench.train.alone import Alone, adam_settings, own_gradients
from disentangle_bench.train.objective import make_objective

SMALL = {"channels": (4, 4, 4, 4), "hidden": 16, "latents": 3}


def spec_of(model: str, hypers=None, options=None, seed=0, **training) -> RunSpec:
    return RunSpec.model_validate(
        {
            "dataset": {"name": "tiny_data:SQUARES"},
            "model": model,
            "hypers": hypers or {},
            "options": options or {},
            "seed": seed,
            "network": SMALL,
            "training": {"steps": 8, "batch_size": 8, "learning_rate": 1e-3} | training,
        }
    )


def trained(spec: RunSpec):
    result = train_alone(make_objective(spec, tiny_data.squares()), spec, tiny_data.squares())
    return {name: network.state_dict() for name, network in result.networks.items()}, result.curves


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a) and a.keys() == b.keys()


FACTOR = {"discriminator_width": 16}


@pytest.mark.parametrize(
    ("model", "hypers", "options"),
    [("vae", {}, {}), ("beta_vae", {"beta": 4.0}, {}), ("factor_vae", {"gamma": 10.0}, FACTOR)],
)
def test_same_seed_same_bits_and_another_seed_others(model: str, hypers: dict, options: dict) -> None:
    first, curves = trained(spec_of(model, hypers, options, seed=3))
    torch.manual_seed(999)  # the global generator has no say
    torch.rand(5)
    second, again = trained(spec_of(model, hypers, options, seed=3))
    assert all(same(first[name], second[name]) for name in first)
    assert curves == again
    other, _ = trained(spec_of(model, hypers, options, seed=4))
    assert not same(first["encoder"], other["encoder"])


def test_training_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    trained(spec_of("vae"))
    assert torch.equal(torch.get_rng_state(), state)


def test_beta_one_is_the_vae_bit_for_bit() -> None:
    assert all(
        same(a, b)
        for a, b in zip(
            trained(spec_of("vae"))[0].values(),
            trained(spec_of("beta_vae", {"beta": 1.0}))[0].values(),
            strict=True,
        )
    )


@pytest.mark.parametrize("where", ["same", "second"])
def test_gamma_zero_is_the_vae_in_its_vae_part(where: str) -> None:
    vae, _ = trained(spec_of("vae"))
    factor, _ = trained(spec_of("factor_vae", {"gamma": 0.0}, FACTOR | {"discriminator_batch": where}))
    for name in ("encoder", "decoder"):
        for key in vae[name]:
            assert torch.allclose(vae[name][key], factor[name][key], rtol=1e-5, atol=1e-7)


def test_curves_are_interval_means_up_to_the_last_step() -> None:
    _, curves = trained(spec_of("factor_vae", {"gamma": 10.0}, FACTOR, steps=450))
    assert [row["step"] for row in curves] == [*range(2, 451, 2)]
    assert set(curves[0]) == {
        *("step", "loss", "reconstruction", "kl", "tc", "discriminator_loss"),
        *(f"kl_per_latent_{i}" for i in range(3)),
    }
    assert curves[-1]["reconstruction"] < curves[0]["reconstruction"] / 2
    row = curves[7]
    assert sum(row[f"kl_per_latent_{i}"] for i in range(3)) == pytest.approx(row["kl"], rel=1e-4)


def test_a_loss_that_is_not_finite_stops_the_run() -> None:
    with pytest.raises(AssertionError, match="not finite"):
        trained(spec_of("vae", learning_rate=1e30, steps=20))


def test_adam_as_written_in_its_paper() -> None:
    """Kingma & Ba 2015, algorithm 1, worked out in float64 for one weight."""
    weight = torch.ones(1, 1)
    optimiser = FusedAdam([weight], Adam(0.01, (0.8, 0.9), eps=1e-3))
    m = v = 0.0
    expected = 1.0
    for step, gradient in enumerate((0.5, -2.0, 0.1), start=1):
        optimiser.update([torch.full((1, 1), gradient)], torch.tensor(float(step)))
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        expected -= 0.01 * (m / (1 - 0.8**step)) / (math.sqrt(v / (1 - 0.9**step)) + 1e-3)
    assert float(weight) == pytest.approx(expected, rel=1e-6)


class TurnedEncoder(nn.Module):
    """A linear encoder that keeps its weight as [inputs, outputs], so that its gradient lies in another order."""

    def __init__(self, pixels: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.1, 0.1, pixels * outputs).reshape(pixels, outputs))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(images.flatten(1), self.weight.t().contiguous())


class TurnedVAE(VAE):
    def build(self, image_shape, size):
        encoder = TurnedEncoder(math.prod(image_shape), 2 * size.latents)
        return super().build(image_shape, size) | {"encoder": encoder}


def test_every_weight_moves_against_its_own_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam's first step is the learning rate times the gradient's sign, whatever order the gradient lies in."""
    found = {}

    def recorded(losses, weights):
        found.update(own_gradients(losses, weights))
        return found

    monkeypatch.setattr("disentangle_bench.train.alone.own_gradients", recorded)
    spec = spec_of("vae", learning_rate=0.01)
    alone = Alone(TurnedVAE(), spec, tiny_data.squares())
    networks = alone.networks(0)
    alone.advance()
    for name, network in alone.networks(0).items():
        for position, (key, new) in enumerate(network.named_parameters()):
            old, gradient = list(networks[name].parameters())[position], found[name][position]
            clear = gradient.abs() > 1e-4
            moved = (new - old)[clear]
            assert torch.allclose(moved, -0.01 * gradient[clear].sign(), atol=1e-5), (name, key)


def test_the_discriminator_has_the_papers_optimiser() -> None:
    objective = new_objective(
        spec_of("factor_vae", {"gamma": 1.0}, FACTOR | {"discriminator_learning_rate": 1e-5})
    )
    networks = build_networks(
        objective, (1, 16, 16), NetworkSpec.model_validate(SMALL), 0, torch.device("cpu")
    )
    adam = adam_settings(objective, networks, TrainingSpec())
    assert adam["discriminator"].betas == (0.5, 0.9)
    assert adam["discriminator"].learning_rate == 1e-5
    assert adam["encoder"].betas == (0.9, 0.999)
    assert adam["encoder"].learning_rate == 1e-4


def test_initial_weights_are_glorots_and_biases_zero() -> None:
    networks = build_networks(
        new_objective(spec_of("vae")), (1, 64, 64), NetworkSpec(), 0, torch.device("cpu")
    )
    hidden = networks["encoder"].hidden
    bound = math.sqrt(6 / (1024 + 256))
    assert not hidden.bias.any()
    assert hidden.weight.abs().max() <= bound
    assert float(hidden.weight.std().detach()) == pytest.approx(bound / math.sqrt(3), rel=0.01)
