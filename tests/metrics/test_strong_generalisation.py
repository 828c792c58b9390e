"""Strong generalisation worked out by hand."""

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench.metrics.strong_generalisation import strong_generalisation

FACTORS = full_factorial()


def scored(codes, factors):
    codes = np.asarray(codes, dtype=np.float32)
    found = strong_generalisation(codes, factors, rng=rng(), train_points=500, test_points=4_000)
    return {key.removeprefix("strong_generalisation"): value for key, value in found.items()}


def test_one_latent_of_two_factors_is_read_right_for_the_coarse_one_alone():
    factors = full_factorial((2, 2))
    scores = scored(factors @ [[1], [4]], factors)
    # Where b stands still, a is the upper of two codes; at the other b both codes lie on one side of that split.
    assert scores["_of_0"] == scores["_by_1"] == pytest.approx(0.5, abs=0.03)
    # Where a stands still, b splits 0 from 4, or 1 from 5; the other two codes lie on their sides of both.
    assert scores["_of_1"] == scores["_by_0"] == 1
    assert scores[""] == pytest.approx(0.75, abs=0.015)
    assert scores["_unshifted"] == 1
    assert scores["_gap"] == pytest.approx(0.25, abs=0.015)
    # b is the code over 4 and off by 1/4: an error of 1/16, of a variance of 1/4. For a the line is off by 4.
    assert scores["_r2"] == pytest.approx((0 + 0.75) / 2, abs=1e-6)


def test_codes_that_are_right_do_not_care_and_codes_that_say_nothing_guess():
    perfect = scored(perfect_code(FACTORS), FACTORS)
    assert perfect[""] == perfect["_unshifted"] == 1
    assert perfect["_gap"] == 0
    assert perfect["_r2"] == pytest.approx(1) == perfect["_r2_unshifted"]
    # The commonest of 3, 4 and 5 values among those drawn.
    nothing = scored(0 * FACTORS, FACTORS)
    assert nothing[""] == pytest.approx(np.mean([1 / 3, 1 / 4, 1 / 5]), abs=0.02)
    assert 0 <= nothing["_r2"] < 0.05


def test_a_rotated_code_is_read_wrong_where_what_stood_still_moves():
    rotation, _ = np.linalg.qr(rng(3).normal(size=(3, 3)))
    scores = scored(perfect_code(FACTORS) @ rotation, FACTORS)
    assert scores["_r2_unshifted"] == pytest.approx(1)
    assert scores["_r2"] < 0.75
    assert scores["_unshifted"] > 0.95
    assert scores[""] < 0.75
    assert scores["_gap"] == pytest.approx(1 - scores[""] / scores["_unshifted"])


def test_what_does_not_vary_is_left_out_and_one_factor_cannot_shift():
    alone = scored(FACTORS[:, :1], FACTORS[:, :1])
    assert alone[""] == alone["_unshifted"] == alone["_of_0"] == alone["_by_0"] == 1
    assert scored(FACTORS, FACTORS * [1, 0, 1]).keys() == scored(FACTORS[:, :2], FACTORS[:, :2]).keys()
    assert scored(FACTORS, 0 * FACTORS) == {"": 0.0}


def test_every_other_value_is_tested_alike_however_common_it_is():
    # b is 0, 1 or 2, and 2 is rare. The code says a, but for b = 2, where it says the other value.
    pairs = full_factorial((2, 3))
    factors = np.repeat(pairs, np.where(pairs[:, 1] == 2, 1, 20), axis=0)
    codes = np.where(factors[:, 1] == 2, 1 - factors[:, 0], factors[:, 0])[:, None]
    # Trained on b = 2 every answer is wrong; on another, half of the test has b = 2.
    assert {round(score_of(codes, factors, seed), 1) for seed in range(12)} == {0.0, 0.5}


def score_of(codes, factors, seed):
    found = strong_generalisation(codes.astype(np.float32), factors, rng=rng(seed))
    return found["strong_generalisation_of_0"]
