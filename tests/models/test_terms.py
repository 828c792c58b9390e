"""Loss terms of the model families against values worked out by hand or by brute force, on tiny inputs."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from disentangle_bench.errors import BenchError
from disentangle_bench.models.ada_gvae import AdaGVAE, shared_latents
from disentangle_bench.models.annealed_vae import AnnealedVAE
from disentangle_bench.models.architectures import make_decoder, make_encoder
from disentangle_bench.models.autoencoder import SparseAutoencoder
from disentangle_bench.models.beta_tcvae import BetaTCVAE, stratified_log_weights
from disentangle_bench.models.denoising_autoencoder import DenoisingAutoencoder
from disentangle_bench.models.dip_vae import DIPVAE1, DIPVAE2
from disentangle_bench.models.info_vae import InfoVAE, squared_mmd
from disentangle_bench.models.networks import Codebook, LogVariance
from disentangle_bench.models.objective import NetworkSize, Step, with_data_facts, with_hypers
from disentangle_bench.models.qlae import QLAE
from disentangle_bench.models.stacked_autoencoder import StackedAutoencoder
from disentangle_bench.models.vae import VAE, BetaVAE

# Two images of two pixels; an encoder that always gives these, a decoder whose logits are all 0 (half of everything).
IMAGES = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]])
MEAN = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
LOG_VARIANCE = torch.tensor([[0.0, math.log(4.0)], [math.log(0.25), 0.0]])
NATS = 2 * math.log(2)  # what two fair coins cost
# KL by hand: (m^2 + v - log v - 1) / 2 for each, mean over the two images.
KL = (0 + 0.5 * (1 + 4 - math.log(4) - 1) + 0.5 * (4 + 0.25 + math.log(4) - 1) + 0.5 * 9) / 2


def call(name, inputs):
    if name == "encoder":
        return torch.cat([MEAN, LOG_VARIANCE], dim=1)
    return torch.zeros(len(inputs), 1, 1, 2)


def of_images(objective, count):
    return with_data_facts(objective, count, (1, 1, 2))


def losses_by(objective, call, noise, hyper, step=1, images=IMAGES):
    values = {name: torch.as_tensor(value) for name, value in hyper.items()}
    return with_hypers(objective, values).losses(call, Step(images, noise, torch.tensor(step)))


def loss_of(objective, hyper=None, noise=None, step=1, images=IMAGES):
    noise = {"posterior": torch.zeros(2, 2)} | (noise or {})
    hyper = {**objective.hypers, **(hyper or {})}
    losses, log = losses_by(objective, call, noise, hyper, step, images)
    assert len({id(loss) for loss in losses.values()}) == 1
    return float(losses["encoder"]), {k: v.tolist() for k, v in log.items()}


def test_the_vae_by_hand() -> None:
    assert loss_of(VAE())[0] == pytest.approx(NATS + KL)


@pytest.mark.parametrize(("step", "share"), [(1, 0.01), (50, 0.5), (100, 1.0), (700, 1.0)])
def test_warm_up_reaches_beta_in_a_straight_line(step: int, share: float) -> None:
    loss, _ = loss_of(BetaVAE(warmup_steps=100), {"beta": 3.0}, step=step)
    assert loss == pytest.approx(NATS + 3 * share * KL)


@pytest.mark.parametrize(("step", "capacity"), [(1, 0.25), (10, 2.5), (100, 25.0), (101, 25.0)])
def test_the_annealed_capacity(step: int, capacity: float) -> None:
    loss, log = loss_of(AnnealedVAE(), {"gamma": 7.0, "annealing_steps": 100.0}, step=step)
    assert log["capacity"] == pytest.approx(capacity)
    assert loss == pytest.approx(NATS + 7 * abs(KL - capacity), rel=1e-5)


def test_dip_vae_by_hand() -> None:
    # Means (0, 1) and (2, 3): every variance and covariance over the batch is 1.
    first, log = loss_of(DIPVAE1(), {"lambda_od": 3.0, "diagonal": 5.0})
    assert log["penalty"] == pytest.approx(3 * 2)  # off the diagonal 1 twice, on it nothing
    assert first == pytest.approx(NATS + KL + 6)
    # The mean variances are (1 + 1/4) / 2 and (4 + 1) / 2 more.
    _, log = loss_of(DIPVAE2(), {"lambda_od": 3.0, "diagonal": 5.0})
    assert log["penalty"] == pytest.approx(3 * (2 + 5 * (0.625**2 + 2.5**2)), rel=1e-6)


def test_info_vae_by_hand() -> None:
    """One latent point against the prior sample: kernels exp(-|z - z'|^2 / (2 latents)), pairs with themselves in."""
    a, b = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    near, far = math.exp(-1), math.exp(-2)  # squared distances of 4 and 8, 2 latents
    expected = 2 * (1 + near) / 2 - 2 * (1 + near + near + far) / 4
    assert float(squared_mmd(a, b)) == pytest.approx(expected)
    prior = torch.zeros(2, 2)
    loss, log = loss_of(InfoVAE(), {"alpha": 0.25, "lambda": 10.0}, {"prior": prior})
    assert log["mmd"] == pytest.approx(float(squared_mmd(MEAN, prior)))
    assert loss == pytest.approx(NATS + 0.75 * KL + 9.25 * log["mmd"], rel=1e-6)


def densities() -> np.ndarray:
    """q(z | n) of each latent: [sample, image, latent], where the samples are the means."""
    deviations = np.exp(0.5 * LOG_VARIANCE.numpy())
    return np.array(
        [
            [
                [stats.norm(m, s).pdf(z) for z, m, s in zip(z, *q, strict=True)]
                for q in zip(MEAN.numpy(), deviations, strict=True)
            ]
            for z in MEAN.numpy()
        ]
    )


def test_minibatch_weighted_sampling_by_hand() -> None:
    """log q(z) as log of the sum over the batch of q(z | n) / (N M), for the joint and for each latent alone."""
    q = densities()
    weight = 1 / (10 * 2)  # N = 10 images, M = 2 of them in the batch
    joint = np.log(q.prod(axis=2).sum(axis=1) * weight)
    marginals = np.log(q.sum(axis=1) * weight).sum(axis=1)
    expected = float((joint - marginals).mean())
    loss, log = loss_of(of_images(BetaTCVAE(), 10), {"beta": 4.0})
    level = (MEAN.shape[1] - 1) * np.log(10)
    assert log["tc"] == pytest.approx(expected - level, rel=1e-5)
    assert loss == pytest.approx(NATS + KL + 3 * expected, rel=1e-5)


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_total_correlation_of_codes_that_know_nothing_is_shown_as_zero(estimator: str) -> None:
    """Every image has the same posterior: the weighted estimate is 9 ln 480000 = 117.7 nats too high."""
    objective = of_images(BetaTCVAE(estimator=estimator), 480_000)
    nothing, drawn = torch.zeros(64, 10), torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    estimate = float(objective.total_correlation(nothing, nothing, drawn))
    assert estimate == pytest.approx(117.73 if estimator == "weighted" else 0, abs=0.01)
    assert estimate - objective.level(64, 10) == pytest.approx(0, abs=1e-3)


def test_stratified_sampling_is_unbiased() -> None:
    """Over every batch of 3 of 5 images that begins with its own, the estimates of q(z) average to q(z) exactly."""
    given = np.array([0.9, 0.2, 0.4, 0.05, 0.7])  # q(z | n) for the five images at a sample of image 0
    weights = stratified_log_weights(3, 5, torch.zeros(1)).exp().double().numpy()[0]
    estimates = [weights @ given[[0, *others]] for others in itertools.permutations(range(1, 5), 2)]
    assert np.mean(estimates) == pytest.approx(given.mean(), rel=1e-6)
    assert weights == pytest.approx([1 / 5, (5 - 2) / (5 * 2), 1 / 2])


def test_stratified_total_correlation_of_the_whole_data_set_is_exact() -> None:
    """Two images are all there are: q(z) is the mean of the two posteriors, and so for each latent."""
    q = densities()
    joint, marginals = np.log(q.prod(axis=2).mean(axis=1)), np.log(q.mean(axis=1)).sum(axis=1)
    _, log = loss_of(of_images(BetaTCVAE(estimator="stratified"), 2))
    assert log["tc"] == pytest.approx(float((joint - marginals).mean()), rel=1e-5)


def test_beta_tcvae_with_beta_one_is_the_vae() -> None:
    assert loss_of(of_images(BetaTCVAE(), 10), {"beta": 1.0})[0] == loss_of(VAE())[0]


def test_ada_gvae_averages_what_differs_least() -> None:
    objective = AdaGVAE()
    # Latent 0: means 0 and 2, variances 1 and 4. Latent 1: means 1 and 1, variances 1 and 1/4. Latent 2: means 5 and 0.
    mean = torch.tensor([[0.0, 1.0, 5.0], [2.0, 1.0, 0.0]])
    log_variance = torch.tensor([[0.0, 0.0, 0.0], [math.log(4.0), math.log(0.25), 0.0]])
    # KL: 0.5 (1/4 + 1 - 1 + ln 4) = .82, 0.5 (4 - 1 - ln 4) = .81, 25 / 2: the middle is about 6.7.
    shared = shared_latents(mean[:1], log_variance[:1].exp(), mean[1:], log_variance[1:].exp())
    assert shared.tolist() == [[True, True, False]]
    averaged, variance = objective.averaged(mean, log_variance)
    assert averaged.tolist() == [[1.0, 1.0, 5.0], [1.0, 1.0, 0.0]]
    assert variance.exp().flatten().tolist() == pytest.approx([2.5, 0.625, 1.0, 2.5, 0.625, 1.0])
    # The divergence is that of the first posterior from the second: the other way round latent 1 alone stays.
    one = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    other = torch.tensor([[0.0, 1.0]]), torch.tensor([[9.0, 1.0]])
    assert shared_latents(*one, *other).tolist() == [[False, True]]
    assert shared_latents(*other, *one).tolist() == [[False, True]]


def test_ada_gvae_is_the_beta_vae_where_nothing_is_averaged() -> None:
    """A single latent is never below the middle between itself and itself."""
    objective = AdaGVAE()
    mean, log_variance = torch.randn(8, 1), torch.randn(8, 1)
    averaged, variance = objective.averaged(mean, log_variance)
    assert torch.equal(averaged, mean)
    assert torch.equal(variance, log_variance)


def fixed(codes, logits=0.0):
    """An autoencoder's call whose encoder gives these codes, and whose decoder always the same logits."""
    return lambda name, inputs: codes if name == "encoder" else torch.full((len(inputs), 1, 1, 2), logits)


def test_sparse_penalties_by_hand() -> None:
    codes = torch.tensor([[1.0, -2.0], [0.0, 4.0]])
    losses, log = losses_by(SparseAutoencoder(), fixed(codes), {}, {"sparsity": 2.0})
    assert float(log["penalty"]) == pytest.approx((3 + 4) / 2)
    assert float(losses["decoder"]) == pytest.approx(NATS + 7)
    # Sigmoids of ln 3 and -ln 3 are 3/4 and 1/4; the first code is on average 1/2, the second 1/4 active.
    codes = math.log(3) * torch.tensor([[1.0, -1.0], [-1.0, -1.0]])
    objective = SparseAutoencoder(penalty="kl", target=0.25)
    _, log = losses_by(objective, fixed(codes), {}, {"sparsity": 1.0})
    assert float(log["penalty"]) == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5), rel=1e-5)


def test_corruption_by_hand() -> None:
    shown = torch.full((1, 1, 1, 4), 0.8)
    masking = with_data_facts(DenoisingAutoencoder(), 1, (1, 1, 4))
    drawn = torch.tensor([0.1, 0.24, 0.26, 0.9]).reshape(shown.shape)
    corrupted = masking.corrupted(shown, drawn, torch.tensor(0.25))
    assert corrupted.flatten().tolist() == pytest.approx([0, 0, 0.8, 0.8])
    gaussian = with_data_facts(DenoisingAutoencoder(noise="gaussian"), 1, (1, 1, 4))
    assert gaussian.corrupted(shown, drawn, torch.tensor(0.5)).flatten().tolist() == pytest.approx(
        [0.85, 0.92, 0.93, 1.25]
    )
    assert {name: draw.shape for name, draw in masking.draws(3, 7).items()} == {"pixels": (3, 1, 1, 4)}


def test_a_denoising_autoencoder_sees_noise_and_is_judged_on_the_clean_image() -> None:
    objective = with_data_facts(DenoisingAutoencoder(), 2, (1, 1, 2))
    seen = []

    def watching(name, inputs):
        seen.append((name, inputs))
        return torch.zeros(2, 3) if name == "encoder" else torch.full((2, 1, 1, 2), math.log(3.0))

    noise = {"pixels": torch.zeros(2, 1, 1, 2)}  # everything is masked
    losses, _ = losses_by(objective, watching, noise, {"corruption": 0.5})
    assert not seen[0][1].any()
    # p = 3/4: one lit pixel of four costs ln 4/3, three dark ones ln 4 each.
    assert float(losses["encoder"]) == pytest.approx((math.log(4 / 3) + 3 * math.log(4)) / 2)


def test_layers_learn_in_turn() -> None:
    objective = StackedAutoencoder(layers=3, pretraining_steps=10)
    torch.manual_seed(0)
    networks = objective.build((1, 1, 2), NetworkSize(latents=2, hidden=4))

    def moved(step: int) -> set[str]:
        losses, log = losses_by(objective, lambda n, x: networks[n](x), {}, {}, step)
        for network in networks.values():
            network.zero_grad()
        losses["encoder_1"].backward()
        turn = min((step - 1) // 10, 3)
        terms = [log["layer_1"], log["layer_2"], log["layer_3"], log["reconstruction"]]
        assert float(losses["encoder_1"].detach()) == pytest.approx(float(terms[turn].detach()))
        return {name for name, net in networks.items() if any(p.grad.any() for p in net.parameters())}

    assert moved(1) == moved(10) == {"encoder_1", "decoder_1"}
    assert moved(11) == moved(20) == {"encoder_2", "decoder_2"}
    assert moved(30) == {"encoder_3", "decoder_3"}
    assert moved(31) == moved(10_000) == set(networks)


def test_qlae_by_hand() -> None:
    codebook = Codebook(2, 3)  # -1/2, 0, 1/2 for either latent
    given = torch.tensor([[0.2, 0.9], [-0.3, -0.2]])
    assert codebook(given).tolist() == [[0.0, 0.5], [-0.5, 0.0]]
    networks = {"encoder": nn.Identity(), "codebook": codebook}
    given.requires_grad_()

    def call(name, inputs):
        if name == "encoder":
            return given
        return (
            networks[name](inputs)
            if name == "codebook"
            else inputs.sum(1).reshape(2, 1, 1, 1).expand(2, 1, 1, 2)
        )

    losses, log = losses_by(QLAE(), call, {}, {"quantization": 0.5, "commitment": 0.25})
    squares = (0.04 + 0.16 + 0.04 + 0.04) / 4
    assert float(log["commitment"].detach()) == pytest.approx(squares)
    difference = losses["encoder"] - log["reconstruction"]
    assert float(difference.detach()) == pytest.approx(2 * 0.75 * squares, rel=1e-5)  # two pixels
    # Gradients pass the quantization as if it were not there; the values feel their own term alone.
    (passed,) = torch.autograd.grad(log["reconstruction"], given, retain_graph=True)
    logits = torch.tensor([0.5, -0.5])
    expected = (2 * torch.sigmoid(logits) - IMAGES.flatten(1).sum(1)) / 2
    assert passed.tolist() == [pytest.approx([float(row)] * 2) for row in expected]
    (values,) = torch.autograd.grad(losses["codebook"], codebook.parameters())
    # Of latent 0 the values -1/2 and 0 were used, at distances .2 and .2 from what was given.
    assert values[0].tolist() == pytest.approx(
        [2 * 0.5 * 2 * -0.2 / 4, 2 * 0.5 * 2 * -0.2 / 4, 0.0], rel=1e-4
    )


def test_qlae_decays_its_networks_and_not_its_values() -> None:
    adam = QLAE().adam()
    assert (adam["encoder"].weight_decay, adam["decoder"].weight_decay, adam["codebook"].weight_decay) == (
        0.1,
        0.1,
        0,
    )
    assert adam["encoder"].learning_rate == 1e-3


def test_learned_variance_by_hand() -> None:
    objective = VAE(likelihood="gaussian_learned")
    logits, log_variance = torch.zeros(1, 1, 1, 2), torch.tensor([math.log(0.25)])
    nats = objective.reconstruction_nats(logits, torch.tensor([[[[1.0, 0.5]]]]), log_variance)
    normal = stats.norm(0.5, 0.5)
    assert nats.tolist() == pytest.approx([-normal.logpdf(1.0) - normal.logpdf(0.5)])
    assert LogVariance()(logits).tolist() == [0.0]


def test_importance_weights_by_hand() -> None:
    """log p(x|z) + log p(z) - log q(z|x), each density from scipy."""
    noise = torch.tensor([[0.5, -1.0], [0.0, 2.0]])
    deviation = torch.exp(0.5 * LOG_VARIANCE)
    latents = (MEAN + noise * deviation).numpy()
    expected = (
        -NATS
        + stats.norm.logpdf(latents).sum(1)
        - stats.norm.logpdf(latents, MEAN.numpy(), deviation.numpy()).sum(1)
    )
    found = VAE().log_weights(call, IMAGES, torch.stack([noise, torch.zeros(2, 2)], dim=1))
    assert found[:, 0].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert found[:, 1].tolist() != pytest.approx(expected.tolist(), rel=1e-2)


def test_the_fully_connected_networks_have_the_studys_sizes() -> None:
    size = NetworkSize(hidden=1200, architecture="fc")
    encoder, decoder = make_encoder((1, 64, 64), size, 20), make_decoder((1, 64, 64), size)
    layers = [(4096, 1200), (1200, 1200), (1200, 20)]
    mirrored = [(10, 1200), (1200, 1200), (1200, 1200), (1200, 4096)]
    for network, widths in ((encoder, layers), (decoder, mirrored)):
        assert sum(p.numel() for p in network.parameters()) == sum((a + 1) * b for a, b in widths)
    assert encoder(torch.zeros(2, 1, 64, 64)).shape == (2, 20)
    assert decoder(torch.zeros(2, 10)).shape == (2, 1, 64, 64)


def test_style_networks_by_their_properties() -> None:
    torch.manual_seed(0)
    size = NetworkSize(architecture="style")
    encoder, decoder = make_encoder((3, 64, 64), size, 20), make_decoder((3, 64, 64), size)
    images, latents = torch.rand(2, 3, 64, 64), torch.randn(2, 10)
    # Normalised channels know of no contrast.
    assert torch.allclose(encoder(images), encoder(images / 2), atol=1e-3)
    assert not torch.allclose(encoder(images)[0], encoder(images)[1], atol=1e-2)
    one, other = decoder(latents)
    assert one.shape == (3, 64, 64)
    assert not torch.allclose(one, other)
    # Latents reach the image through styles alone.
    for style in decoder.styles:
        torch.nn.init.zeros_(style.weight)
        torch.nn.init.ones_(style.bias)
    one, other = decoder(latents)
    assert torch.equal(one, other)
    assert one.std() > 0


def test_style_networks_refuse_to_normalise_one_pixel() -> None:
    with pytest.raises(BenchError, match="one pixel"):
        make_encoder((1, 16, 16), NetworkSize(architecture="style"), 20)
