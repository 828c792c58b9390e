"""Every model learns on a data set of 48 images; fitted models are scikit-learn's; the limits between families hold."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import tiny_data
import torch
from sklearn.decomposition import PCA as ExactPCA
from train_alone import train_alone

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.reconstruction import (
    importance_weighted_bound,
    measure_reconstruction,
    reconstruction_bounds,
)
from disentangle_bench.evaluation.trained_model import TrainedModel
from disentangle_bench.models.objective import NetworkSize, Step, is_fitted, with_hypers
from disentangle_bench.specs import RunSpec
from disentangle_bench.train.alone import own_gradients
from disentangle_bench.train.fit import train_fitted
from disentangle_bench.train.objective import make_objective

SQUARES = tiny_data.squares()
PIXELS = SQUARES.images(range(48)).flatten(1).double().numpy() / 255
# What the best constant image costs, in nats: a model that has learned nothing but it stops there.
BEST_CONSTANT = float(np.mean(-(PIXELS * np.log(p := PIXELS.mean(0)) + (1 - PIXELS) * np.log(1 - p)).sum(1)))
# Settings under which the slower ones learn within a few hundred steps.
QUICK: dict[str, dict] = {
    "beta_vae": {"hypers": {"beta": 1.0}},
    "factor_vae": {
        "hypers": {"gamma": 2.0},
        "options": {"discriminator_width": 16, "discriminator_layers": 2},
    },
    "beta_tcvae": {"hypers": {"beta": 2.0}},
    "dip_vae_2": {"hypers": {"lambda_od": 1.0}, "learning_rate": 5e-3},
    "annealed_vae": {"hypers": {"annealing_steps": 100.0, "capacity": 10.0, "gamma": 10.0}},
    "info_vae": {"hypers": {"lambda": 10.0}},
    "ada_gvae": {"hypers": {"beta": 0.2}},
    "qlae": {"options": {"learning_rate": 4e-3, "weight_decay": 1e-3}},
    "stacked_autoencoder": {"options": {"pretraining_steps": 50}, "learning_rate": 1e-2},
}
TRAINED = [name for name in registry.MODELS if not is_fitted(registry.resolve("model", name))]
FITTED = [name for name in registry.MODELS if name not in TRAINED]


def spec_of(
    model, hypers=None, options=None, steps=400, learning_rate=4e-3, latents=6, dataset=None
) -> RunSpec:
    return RunSpec.model_validate(
        {
            "dataset": {"name": "tiny_data:SQUARES"} | (dataset or {}),
            "model": model,
            "hypers": dict(registry.resolve("model", model).hypers) | (hypers or {}),
            "options": options or {},
            "seed": 0,
            "network": {"channels": (8, 8), "kernels": (4, 4), "hidden": 64, "latents": latents},
            "training": {"steps": steps, "batch_size": 24, "learning_rate": learning_rate},
        }
    )


def of_squares(spec, objective, networks) -> TrainedModel:
    return TrainedModel(spec, objective, networks, SQUARES.device, SQUARES.image_shape)


@functools.cache
def learned(model: str) -> TrainedModel:
    """The model trained or fitted with its quick settings."""
    spec = spec_of(model, **QUICK.get(model, {}))
    objective = make_objective(spec, SQUARES)
    train = train_fitted if is_fitted(objective) else train_alone
    return of_squares(spec, objective, train(objective, spec, SQUARES).networks)


@pytest.mark.parametrize("model", TRAINED)
def test_every_model_learns(model: str) -> None:
    """From 177 nats (all pixels grey) past 45 (the best constant image) to below 20; 7 would be perfect."""
    found = measure_reconstruction(learned(model), SQUARES, "all")
    assert found["reconstruction_nats"] < 20 < 0.5 * BEST_CONSTANT
    assert 256 * math.log(2) / 3 > BEST_CONSTANT


def bounds_of(model: TrainedModel) -> dict[str, float | str | None]:
    likelihood = getattr(model.objective, "likelihood", None)
    return reconstruction_bounds(likelihood, model.spec.seed, SQUARES, "all")


def test_what_perfect_and_constant_pictures_cost() -> None:
    """Against numpy's arithmetic: the pixels' entropy, and the cost of the mean image, by likelihood."""
    found = bounds_of(learned("vae"))
    grey = PIXELS[(PIXELS > 0) & (PIXELS < 1)]  # black and white cost nothing
    perfect = -(grey * np.log(grey) + (1 - grey) * np.log(1 - grey)).sum() / len(PIXELS)
    assert found["likelihood"] == "bernoulli"
    assert found["floor_nats"] == pytest.approx(perfect, rel=1e-5)
    assert found["constant_nats"] == pytest.approx(BEST_CONSTANT, rel=1e-5)
    assert found["floor_nats"] < measure_reconstruction(learned("vae"), SQUARES, "all")["reconstruction_nats"]
    normal = bounds_of(learned("pca"))
    floor = 256 * 0.5 * math.log(2 * math.pi)
    assert (normal["likelihood"], normal["floor_nats"]) == ("gaussian", pytest.approx(floor))
    assert normal["constant_nats"] == pytest.approx(floor + 0.5 * PIXELS.var(0).sum(), rel=1e-5)


def test_a_perfect_picture_costs_the_floor() -> None:
    """What the likelihood says of the images themselves, and of their mean for each of them."""
    images = torch.from_numpy(PIXELS)
    for likelihood in ("bernoulli", "gaussian"):
        objective = make_objective(spec_of("vae", {}, {"likelihood": likelihood}), SQUARES)
        found = bounds_of(replace(learned("vae"), objective=objective))
        for name, best in (("floor_nats", images), ("constant_nats", images.mean(0).expand_as(images))):
            cost = objective.reconstruction_nats(torch.logit(best, eps=1e-12), images).mean()
            assert found[name] == pytest.approx(float(cost), rel=1e-4)


def test_a_likelihood_without_a_name_is_none() -> None:
    class Other:
        likelihood = staticmethod(lambda images: images)

    found = bounds_of(replace(learned("vae"), objective=Other()))
    assert found == {"likelihood": None, "floor_nats": None, "constant_nats": None}


def test_a_learned_variance_has_no_least_cost() -> None:
    free = replace(learned("vae").objective, likelihood="gaussian_learned")
    found = bounds_of(replace(learned("vae"), objective=free))
    assert found == {"likelihood": "gaussian_learned", "floor_nats": None, "constant_nats": None}


def test_beta_zero_behaves_as_an_autoencoder() -> None:
    """No term but the reconstruction's moves anything, and it reconstructs as well as the autoencoder."""
    spec = spec_of("beta_vae", {"beta": 0.0})
    objective = make_objective(spec, SQUARES)
    networks = train_alone(objective, spec, SQUARES).networks
    found = measure_reconstruction(of_squares(spec, objective, networks), SQUARES, "all")
    own = measure_reconstruction(learned("autoencoder"), SQUARES, "all")
    assert found["reconstruction_nats"] < own["reconstruction_nats"] + 2

    def terms():
        step = Step(SQUARES.images(range(24)) / 255, {"posterior": torch.ones(24, 6)}, torch.tensor(1))
        running = with_hypers(objective, {"beta": torch.tensor(0.0)})
        return running.losses(lambda n, x: networks[n](x), step)

    weights = {name: list(network.parameters()) for name, network in networks.items()}
    whole = own_gradients(terms()[0], weights)
    alone = own_gradients(dict.fromkeys(networks, terms()[1]["reconstruction"]), weights)
    for name, gradients in whole.items():
        for ours, theirs in zip(gradients, alone[name], strict=True):
            assert torch.equal(ours, theirs)


def test_pca_is_scikit_learns() -> None:
    """Codes and reconstructions are those of scikit-learn's exact solver, to the sign."""
    random = np.random.default_rng(0)
    mixed = random.normal(size=(80, 12)) * 0.7 ** np.arange(12) @ random.normal(size=(12, 64))
    pixels = (255 * (mixed - mixed.min()) / np.ptp(mixed)).round().astype(np.uint8)
    images = torch.from_numpy(pixels).reshape(80, 1, 8, 8)
    objective = registry.resolve("model", "pca")()
    networks = objective.fit(images, NetworkSize(latents=5), seed=0)
    theirs = ExactPCA(5, svd_solver="full").fit(pixels / 255)
    expected = theirs.transform(pixels / 255)

    def call(name, inputs):
        return networks[name](inputs).detach()

    codes = objective.encode(call, images / 255)
    assert np.allclose(codes.numpy(), expected, atol=1e-4)
    rebuilt = theirs.inverse_transform(expected).clip(0, 1)
    assert np.allclose(objective.decode(call, codes).flatten(1).numpy(), rebuilt, atol=1e-5)


def test_ica_has_unit_variance_and_the_reconstruction_of_pca() -> None:
    images = SQUARES.images(range(48))
    model = learned("ica")
    codes = model.encode(images).numpy()
    assert np.cov(codes.T, ddof=0) == pytest.approx(np.eye(6), abs=1e-3)
    ours, pca = model.reconstruct(images), learned("pca").reconstruct(images)
    assert torch.allclose(ours, pca, atol=1e-4)


@pytest.mark.parametrize(
    "entry",
    [{"hold_out": {"light": (2,)}}, {"correlated": {"first": "row", "second": "column", "sigma": 0.1}}],
)
def test_fitting_sees_what_training_sees(entry: dict) -> None:
    """Without the brightest squares a component less bright; with tied factors the diagonal's components first."""
    spec = spec_of("pca", dataset=entry)
    fitted = train_fitted(make_objective(spec, SQUARES), spec, SQUARES)
    whole = train_fitted(make_objective(spec_of("pca"), SQUARES), spec_of("pca"), SQUARES)
    mean, all_mean = (f.networks["decoder"].get_submodule("0").bias for f in (fitted, whole))
    assert fitted.curves[0].keys() == {"step", "reconstruction"}
    if "hold_out" in entry:
        assert float((mean.sum() / all_mean.sum()).detach()) == pytest.approx(1.5 / 2, rel=1e-3)
    else:
        squares = mean.detach().reshape(16, 16)
        assert squares.diagonal().mean() > 2 * squares.flip(1).diagonal().mean()


def test_more_latents_than_images_allow_are_refused() -> None:
    spec = spec_of("pca", latents=60)
    with pytest.raises(BenchError, match="60 latents"):
        train_fitted(make_objective(spec, SQUARES), spec, SQUARES)


def test_the_importance_weighted_bound_lies_between_the_elbo_and_the_truth() -> None:
    """It rises with the number of samples; with one it is the ELBO."""
    model = learned("vae")
    one, few, many = (importance_weighted_bound(model, SQUARES, images=48, samples=k) for k in (1, 8, 512))
    assert one < few < many < 0
    elbo = measure_reconstruction(model, SQUARES, "all")["elbo"]
    assert one == pytest.approx(elbo, abs=1.0)
    # There are 48 images, all alike: no model of them can on average do better than this in bits of their pixels.
    assert measure_reconstruction(model, SQUARES, "all")["iwae"] == pytest.approx(many, abs=1.0)


def test_measures_of_models_without_a_prior() -> None:
    assert measure_reconstruction(learned("autoencoder"), SQUARES, 8).keys() == {"reconstruction_nats", "mse"}
    with pytest.raises(BenchError, match="no prior"):
        learned("autoencoder").sample(3)
