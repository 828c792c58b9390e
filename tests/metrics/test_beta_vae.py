import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench.metrics.beta_vae import beta_vae

FACTORS = full_factorial()
PERFECT = perfect_code(FACTORS)


def test_a_perfect_code_gets_one():
    assert beta_vae(PERFECT, FACTORS, rng=rng()) == {"beta_vae": 1.0, "beta_vae_train": 1.0}


def test_codes_that_know_nothing_get_chance():
    constant = np.full_like(PERFECT, 0.3)
    assert beta_vae(constant, FACTORS, rng=rng())["beta_vae"] == pytest.approx(1 / 3, abs=0.03)


def test_a_single_latent_tells_its_own_factor_from_two_alike():
    score = beta_vae(PERFECT[:, :1], FACTORS, rng=rng())["beta_vae"]
    assert score == pytest.approx(2 / 3, abs=0.03)


def test_it_does_not_see_a_rotation():
    turn, _ = np.linalg.qr(rng(3).normal(size=(3, 3)))
    assert beta_vae((PERFECT @ turn).astype(np.float32), FACTORS, rng=rng())["beta_vae"] > 0.85


def test_small_latents_count_for_little():
    assert beta_vae(PERFECT * np.float32(1e-6), FACTORS, rng=rng())["beta_vae"] < 0.5
    assert beta_vae(PERFECT * np.float32(1e6), FACTORS, rng=rng())["beta_vae"] == 1.0


def test_a_single_factor_is_always_named():
    assert beta_vae(PERFECT, FACTORS[:, :1], rng=rng())["beta_vae"] == 1.0
