import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_tables import full_factorial, perfect_code, rng
from sklearn.metrics import mutual_info_score

from disentangle_bench.evaluation.scores import information_table
from disentangle_bench.metrics.mig import mig
from disentangle_bench.metrics.mutual_information import equal_width_bins, information, information_shares

FACTORS = full_factorial()
PERFECT = perfect_code(FACTORS)


def exact(codes, factors, **constants):
    return mig(np.asarray(codes, dtype=np.float32), factors, rng=rng(), points=None, **constants)["mig"]


def test_a_perfect_code_gets_one():
    assert exact(PERFECT, FACTORS) == pytest.approx(1.0)


def test_a_duplicated_code_gets_zero_and_a_lone_latent_its_whole_information():
    assert exact(np.hstack([PERFECT, PERFECT]), FACTORS) == pytest.approx(0.0)
    assert exact(PERFECT[:, :1], FACTORS) == pytest.approx(1 / 3)


def test_half_of_a_bit_known_to_a_rival_is_half_a_gap():
    factors = full_factorial((4,))
    # Latent 0 knows the value (2 bits), latent 1 only whether it is above the middle (1 bit).
    codes = np.hstack([factors, factors >= 2])
    assert exact(codes, factors) == pytest.approx(0.5)


def test_two_factors_in_one_latent():
    factors = full_factorial((2, 2))
    codes = factors @ np.array([[2], [1]])
    # The latent knows each factor fully, and no other latent rivals it.
    assert exact(codes, factors) == pytest.approx(1.0)


def test_bins_cap_a_factor_with_more_values():
    factors = full_factorial((40,))
    # 20 equal bins over 0..39 hold two values each: log 20 of log 40 is known.
    assert exact(factors, factors) == pytest.approx(np.log(20) / np.log(40))
    assert exact(factors, factors, bins=40) == pytest.approx(1.0)


def test_factors_that_do_not_vary_are_left_out():
    factors = np.insert(FACTORS, 0, 0, axis=1)
    assert exact(PERFECT, factors) == pytest.approx(1.0)
    assert exact(PERFECT, np.zeros_like(FACTORS)) == 0.0


def test_bins_end_with_the_largest_value_and_a_constant_has_one():
    codes = np.array([[0.0, 5.0], [0.49, 5.0], [0.5, 5.0], [1.0, 5.0]])
    assert equal_width_bins(codes, 2).tolist() == [[0, 0], [0, 0], [1, 0], [1, 0]]


def test_information_of_a_small_table_by_hand():
    latent, factor = np.array([[0], [0], [1], [1]]), np.array([[0], [1], [1], [1]])
    found = information(latent, factor)
    assert found.of_latents == pytest.approx([np.log(2)])
    assert found.of_factors == pytest.approx([np.log(4) - 0.75 * np.log(3)])
    assert found.joint == pytest.approx(np.array([[1.5 * np.log(2)]]))
    assert found.mutual == pytest.approx(found.of_latents + found.of_factors - found.joint)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 12), st.integers(2, 200))
def test_information_is_that_of_scikit_learn(seed, bins, values, points):
    codes = rng(seed).normal(size=(points, 3))
    factors = rng(seed + 1).integers(values, size=(points, 2))
    labels = equal_width_bins(codes, bins)
    expected = [[mutual_info_score(label, factor) for factor in factors.T] for label in labels.T]
    assert information(labels, factors).mutual == pytest.approx(np.array(expected), abs=1e-9)
    for latent, label in zip(codes.T, labels.T, strict=True):
        assert (label + 1 == np.digitize(latent, np.histogram(latent, bins)[1][:-1])).all()


def test_shares_of_entropy_are_one_for_the_latent_that_knows_a_factor_and_nought_elsewhere():
    factors = full_factorial((4, 2, 1))
    codes = np.stack([factors[:, 0], factors[:, 0] >= 2, factors[:, 1]], axis=1).astype(np.float32)
    shares = information_shares(codes, factors, rng=rng(), points=None)
    # Latent 1 knows one of the two bits of factor 0; factor 2 has one value and nothing to know.
    assert shares == pytest.approx(np.array([[1, 0, 0], [0.5, 0, 0], [0, 1, 0]]), abs=1e-9)
    assert information_table(codes, factors) == pytest.approx(
        np.array([[1, 0, 0], [0.5, 0, 0], [0, 1, 0]]), abs=1e-2
    )
    assert information_table(np.full_like(codes, np.nan), factors) is None
