"""Objectives: terms by hand, each network moved by its own loss only, and the limits that define the models."""

import math
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call

from disentangle_bench import randomness, registry
from disentangle_bench.build import build_networks
from disentangle_bench.models.autoencoder import SparseAutoencoder
from disentangle_bench.models.beta_tcvae import BetaTCVAE
from disentangle_bench.models.denoising_autoencoder import DenoisingAutoencoder
from disentangle_bench.models.factor_vae import FactorVAE
from disentangle_bench.models.networks import Decoder, Discriminator, Encoder
from disentangle_bench.models.objective import (
    Likelihood,
    NetworkSize,
    Step,
    is_fitted,
    with_data_facts,
    with_hypers,
)
from disentangle_bench.models.stacked_autoencoder import StackedAutoencoder
from disentangle_bench.models.vae import VAE, BetaVAE, kl_from_prior
from disentangle_bench.specs import NetworkSpec
from disentangle_bench.train.alone import own_gradients

SHAPE = (1, 16, 16)
SMALL = NetworkSpec(latents=3, channels=(4, 4, 4, 4), hidden=8)
CPU = torch.device("cpu")
NARROW = {"factor_vae": {"discriminator_width": 16}}  # the paper's 1000 units would only take longer
EVERY = [
    with_data_facts(registry.resolve("model", name)(**NARROW.get(name, {})), 48, SHAPE)
    for name in registry.MODELS
]
FITTED = [objective for objective in EVERY if is_fitted(objective)]
ALL = [objective for objective in EVERY if not is_fitted(objective)]
# Options that change what is computed, besides the defaults.
VARIANTS = [
    with_data_facts(objective, 48, SHAPE)
    for objective in (
        VAE(likelihood="gaussian_learned"),
        BetaVAE(warmup_steps=2),
        SparseAutoencoder(penalty="kl"),
        DenoisingAutoencoder(noise="gaussian"),
        StackedAutoencoder(pretraining_steps=0, likelihood="gaussian_learned"),
        BetaTCVAE(estimator="stratified"),
        FactorVAE(discriminator_batch="same", discriminator_width=16),
    )
]


def named(objective) -> str:
    return type(objective).__name__


def setting(objective, batch=6):
    """Networks, images and noise for one step."""
    networks = build_networks(objective, SHAPE, SMALL, seed=0, device=CPU)
    images = randomness.uniform(torch.tensor(1), objective.batches * batch * 256).reshape(-1, *SHAPE)
    noise = randomness.draw(objective.draws(batch, SMALL.latents), torch.tensor(0), 1)
    hyper = {name: torch.tensor(value) for name, value in objective.hypers.items()}
    return networks, images, noise, hyper


def weights_of(networks):
    return {name: list(network.parameters()) for name, network in networks.items()}


def losses_of(objective, networks, images, noise, hyper):
    return losses_by(objective, lambda n, x: networks[n](x), images, noise, hyper)


def losses_by(objective, call, images, noise, hyper, number=1):
    return with_hypers(objective, hyper).losses(call, Step(images, noise, torch.tensor(number)))


@pytest.mark.parametrize(("channels", "vae"), [(1, 690_517), (3, 692_567)])
def test_the_standard_networks_have_the_studys_sizes(channels: int, vae: int) -> None:
    size = NetworkSize()
    networks = [Encoder((channels, 64, 64), size, 20), Decoder((channels, 64, 64), size)]
    assert sum(p.numel() for network in networks for p in network.parameters()) == vae
    discriminator = Discriminator(10, 1000, 6)
    assert sum(p.numel() for p in discriminator.parameters()) == 5_018_002
    assert networks[0](torch.zeros(2, channels, 64, 64)).shape == (2, 20)
    assert networks[1](torch.zeros(2, 10)).shape == (2, channels, 64, 64)


def test_kl_by_hand() -> None:
    mean, log_variance = torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 0.0, math.log(4.0)])
    expected = [0.0, 2.0, 0.5 * (4 - math.log(4) - 1)]
    assert kl_from_prior(mean, log_variance).tolist() == pytest.approx(expected)


def test_reconstruction_by_hand() -> None:
    logits, images = torch.tensor([[[[0.0, math.log(3.0)]]]]), torch.tensor([[[[1.0, 0.0]]]])
    bernoulli = VAE(likelihood="bernoulli").reconstruction_nats(logits, images)
    assert bernoulli.tolist() == pytest.approx([math.log(2) + math.log(4)])  # p = 1/2 and 1 - 3/4
    gaussian = VAE(likelihood="gaussian").reconstruction_nats(logits, images)
    assert gaussian.tolist() == pytest.approx([0.5 * (0.25 + 0.5625) + math.log(2 * math.pi)])


def test_the_vae_loss_is_the_mean_over_the_batch_of_sums() -> None:
    objective = VAE()
    networks, images, noise, hyper = setting(objective, batch=2)
    losses, log = losses_of(objective, networks, images, noise, hyper)
    rows = [
        losses_of(objective, networks, images[i : i + 1], {"posterior": noise["posterior"][i : i + 1]}, hyper)
        for i in (0, 1)
    ]
    assert float(losses["encoder"].detach()) == pytest.approx(
        sum(float(row[0]["encoder"].detach()) for row in rows) / 2, rel=1e-6
    )
    assert float(log["kl_per_latent"].sum().detach()) == pytest.approx(float(log["kl"].detach()), rel=1e-6)
    assert log["kl_per_latent"].shape == (3,)


def test_beta_weighs_the_kl_term() -> None:
    networks, images, noise, _ = setting(BetaVAE())
    for parameter in networks["encoder"].parameters():
        parameter.data *= 3  # a posterior far from the prior, so that the difference is no rounding
    _, one = losses_of(BetaVAE(), networks, images, noise, {"beta": torch.tensor(1.0)})
    _, nine = losses_of(BetaVAE(), networks, images, noise, {"beta": torch.tensor(9.0)})
    assert float((nine["loss"] - one["loss"]).detach()) == pytest.approx(
        8 * float(one["kl"].detach()), rel=1e-4
    )


def test_factor_vae_terms_by_hand() -> None:
    """A discriminator that always answers (ln 3, 0) says 3/4 joint: TC = ln 3, its loss (ln 4/3 + ln 4) / 2."""
    objective = FactorVAE(discriminator_batch="same", discriminator_width=16)
    networks, images, noise, _ = setting(objective)
    fixed = torch.tensor([[math.log(3.0), 0.0]])

    def call(name, inputs):
        return fixed.expand(len(inputs), 2) if name == "discriminator" else networks[name](inputs)

    hyper = {"gamma": torch.tensor(10.0)}
    losses, log = losses_by(objective, call, images, noise, hyper)
    assert float(log["tc"]) == pytest.approx(math.log(3))
    assert float(losses["discriminator"]) == pytest.approx(0.5 * (math.log(4 / 3) + math.log(4)))
    negative_elbo = float((log["reconstruction"] + log["kl"]).detach())
    assert float(log["loss"].detach()) == pytest.approx(negative_elbo + 10 * math.log(3), rel=1e-6)


def test_permuting_keeps_each_latents_values_and_breaks_the_rows() -> None:
    objective = FactorVAE(discriminator_batch="same", discriminator_width=16)
    networks, images, noise, _ = setting(objective, batch=64)
    latents = torch.arange(64.0)[:, None].expand(64, 3)
    step = Step(images, noise, torch.tensor(1))
    permuted = objective.permuted(lambda n, x: networks[n](x), step, latents)
    assert torch.equal(permuted.sort(dim=0).values, latents)
    assert not torch.equal(permuted[:, 0], permuted[:, 1])


@pytest.mark.parametrize("where", ["second", "same"])
def test_the_second_batch_reaches_the_discriminator_only(where: str) -> None:
    objective = FactorVAE(discriminator_batch=where, discriminator_width=16)
    networks, images, noise, hyper = setting(objective)
    before = losses_of(objective, networks, images, noise, hyper)[0]
    if where == "second":
        changed = images.clone()
        changed[6:] = 0
        after = losses_of(objective, networks, changed, noise, hyper)[0]
        assert torch.equal(before["encoder"], after["encoder"])
        assert not torch.equal(before["discriminator"], after["discriminator"])
    else:
        assert len(images) == 6


@pytest.mark.parametrize("where", ["second", "same"])
def test_one_call_of_the_discriminator_gives_the_papers_gradients(where: str) -> None:
    """Algorithm 2 as it is written: TC by one call, the discriminator by two more that see detached latents."""
    objective = FactorVAE(discriminator_batch=where, discriminator_width=16)
    networks, images, noise, hyper = setting(objective)
    networks = {name: network.double() for name, network in networks.items()}
    images = images.double()
    noise = {name: value.double() if value.is_floating_point() else value for name, value in noise.items()}
    found = own_gradients(losses_of(objective, networks, images, noise, hyper)[0], weights_of(networks))

    def call(name, inputs):
        return networks[name](inputs)

    step = Step(images, noise, torch.tensor(1))
    bound = objective.negative_elbo(call, replace(step, images=images[:6]))
    logits = networks["discriminator"](bound.latents)
    loss = bound.loss + hyper["gamma"] * (logits[:, 0] - logits[:, 1]).mean()
    permuted = objective.permuted(call, step, bound.latents).detach()
    judged = [networks["discriminator"](z).log_softmax(1) for z in (bound.latents.detach(), permuted)]
    own = -0.5 * (judged[0][:, 0].mean() + judged[1][:, 1].mean())
    own.backward()
    assert all(p.grad is None for name in ("encoder", "decoder") for p in networks[name].parameters())
    for name, network in networks.items():
        weights = list(network.parameters())
        expected = (
            [p.grad for p in weights]
            if name == "discriminator"
            else torch.autograd.grad(loss, weights, retain_graph=True)
        )
        for ours, theirs in zip(found[name], expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
            assert theirs.any()


@pytest.mark.parametrize("objective", ALL + VARIANTS, ids=named)
def test_each_network_gets_the_gradient_of_its_own_loss_and_no_other(objective) -> None:
    networks, images, noise, hyper = setting(objective)
    losses, _ = losses_of(objective, networks, images, noise, hyper)
    found = own_gradients(losses, weights_of(networks))
    assert set(found) == set(networks)
    for name, network in networks.items():
        losses, _ = losses_of(objective, networks, images, noise, hyper)
        expected = torch.autograd.grad(losses[name], list(network.parameters()))
        for ours, theirs in zip(found[name], expected, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_the_total_correlation_moves_the_encoder_and_not_the_discriminator() -> None:
    objective = FactorVAE(discriminator_batch="same", discriminator_width=16)
    networks, images, noise, _ = setting(objective)
    gradients = {
        gamma: own_gradients(
            losses_of(objective, networks, images, noise, {"gamma": torch.tensor(gamma)})[0],
            weights_of(networks),
        )
        for gamma in (0.0, 50.0)
    }
    assert not torch.allclose(gradients[0.0]["encoder"][0], gradients[50.0]["encoder"][0])
    for without, with_tc in zip(
        gradients[0.0]["discriminator"], gradients[50.0]["discriminator"], strict=True
    ):
        assert torch.equal(without, with_tc)


@pytest.mark.parametrize("objective", ALL + VARIANTS, ids=named)
def test_what_every_objective_answers(objective) -> None:
    networks, images, noise, hyper = setting(objective)

    def call(name, inputs):
        return networks[name](inputs)

    losses, log = losses_by(objective, call, images, noise, hyper)
    assert losses.keys() == networks.keys()
    assert all(loss.ndim == 0 for loss in losses.values())
    assert {"loss", "reconstruction"} <= log.keys()
    check_use(objective, call, images)


@pytest.mark.parametrize("objective", FITTED, ids=named)
def test_what_every_fitted_model_answers(objective) -> None:
    images = randomness.integers(torch.tensor(3), 40 * 256, 256).reshape(-1, *SHAPE).to(torch.uint8)
    size = NetworkSize(latents=3)
    networks = objective.fit(images, size, 0)
    built = objective.build(SHAPE, size)
    for name, network in networks.items():
        built[name].load_state_dict(network.state_dict())
    check_use(objective, lambda name, inputs: built[name](inputs), images / 255)


def check_use(objective, call, images) -> None:
    """Codes, decoded images and measures have the shapes and ranges that the protocol promises."""
    codes = objective.encode(call, images)
    assert codes.shape == (len(images), 3)
    decoded = objective.decode(call, codes)
    assert decoded.shape == images.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    measured = objective.evaluate(call, images, torch.zeros(len(images), 3))
    assert {"reconstruction_nats", "mse"} <= measured.keys()
    assert all(values.shape == (len(images),) for values in measured.values())
    assert float(measured["mse"][0].detach()) == pytest.approx(
        float((decoded - images)[0].square().mean().detach()), rel=1e-4
    )
    assert isinstance(objective, Likelihood) == objective.generative
    if objective.generative:
        # Without noise the sample is the mean, and the bound is what it is made of.
        assert torch.allclose(measured["elbo"], -(measured["reconstruction_nats"] + measured["kl"]))
        assert objective.log_weights(call, images, torch.zeros(len(images), 2, 3)).shape == (len(images), 2)


@pytest.mark.parametrize("objective", ALL + VARIANTS, ids=named)
def test_losses_run_under_vmap_and_equal_the_single_runs(objective) -> None:
    """Three runs with their own weights, images, noise and hyper-parameters."""
    alone = [build_networks(objective, SHAPE, SMALL, seed, CPU) for seed in range(3)]
    seeds = torch.arange(3)
    images = randomness.uniform(seeds, objective.batches * 6 * 256).reshape(3, -1, *SHAPE)
    noise = randomness.draw(objective.draws(6, SMALL.latents), seeds, 1)
    hyper = {name: value * torch.tensor([0.5, 1.0, 2.0]) for name, value in objective.hypers.items()}
    number = 20_001
    weights = {
        name: {
            key: torch.stack([dict(n[name].named_parameters())[key].detach() for n in alone]) for key, _ in m
        }
        for name, m in ((name, list(network.named_parameters())) for name, network in alone[0].items())
    }

    def losses(weights, images, noise, hyper):
        def call(name, inputs):
            return functional_call(alone[0][name], weights[name], (inputs,))

        return losses_by(objective, call, images, noise, hyper, number)

    together, log = torch.func.vmap(losses)(weights, images, noise, hyper)
    for run, networks in enumerate(alone):

        def call(name, inputs, networks=networks):
            return networks[name](inputs)

        own_noise, own_hyper = ({k: v[run] for k, v in d.items()} for d in (noise, hyper))
        single, own_log = losses_by(objective, call, images[run], own_noise, own_hyper, number)
        for name, loss in single.items():
            assert torch.allclose(together[name][run], loss, rtol=1e-5)
        for name, value in own_log.items():
            assert torch.allclose(log[name][run], value, rtol=1e-4, atol=1e-5)


def test_objectives_state_their_paper_and_do_not_draw() -> None:
    assert all(objective.paper for objective in EVERY)
    for objective in ALL:
        networks, images, noise, hyper = setting(objective)
        state = torch.get_rng_state()
        losses_of(objective, networks, images, noise, hyper)
        assert torch.equal(torch.get_rng_state(), state)
