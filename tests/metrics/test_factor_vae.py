import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench.metrics.factor_vae import factor_vae

FACTORS = full_factorial()
PERFECT = perfect_code(FACTORS)


def test_a_perfect_code_gets_one():
    scores = factor_vae(PERFECT, FACTORS, rng=rng())
    assert scores == {"factor_vae": 1.0, "factor_vae_train": 1.0, "factor_vae_active": 3.0}


def test_one_latent_for_two_of_three_factors_gets_what_its_votes_can():
    # The votes of factor 2 go to latent 0 or 1, each of which stands for another factor.
    score = factor_vae(PERFECT[:, :2], FACTORS, rng=rng())["factor_vae"]
    assert score == pytest.approx(2 / 3, abs=0.03)


def test_a_single_latent_names_one_factor_only():
    score = factor_vae(PERFECT[:, :1], FACTORS, rng=rng())["factor_vae"]
    assert score == pytest.approx(1 / 3, abs=0.03)


def test_constant_latents_are_pruned_and_without_the_threshold_win_every_vote():
    codes = np.insert(PERFECT, 1, 0.3, axis=1)
    assert factor_vae(codes, FACTORS, rng=rng())["factor_vae"] == 1.0
    assert factor_vae(codes, FACTORS, rng=rng())["factor_vae_active"] == 3.0
    # In a noisy code only the constant stands still.
    noisy = (codes + np.array([1, 0, 1, 1]) * 0.1 * rng(1).normal(size=codes.shape)).astype(np.float32)
    unpruned = factor_vae(noisy, FACTORS, rng=rng(), prune_std=0.0)["factor_vae"]
    assert unpruned == pytest.approx(1 / 3, abs=0.03)


def test_a_collapsed_code_gets_zero():
    assert factor_vae(PERFECT * np.float32(1e-3), FACTORS, rng=rng())["factor_vae"] == 0.0


def test_scales_that_cross_no_threshold_change_nothing():
    codes = (PERFECT + 0.5 * rng(1).normal(size=PERFECT.shape)).astype(np.float32)
    scaled = codes * np.array([0.25, 8.0, 1024.0], dtype=np.float32)
    assert factor_vae(codes, FACTORS, rng=rng()) == factor_vae(scaled, FACTORS, rng=rng())


def test_a_random_subset_of_the_rows_serves_as_well():
    rows = rng(2).permutation(len(FACTORS))[:40]
    assert factor_vae(PERFECT[rows], FACTORS[rows], rng=rng())["factor_vae"] == 1.0
