"""OMES: answers worked out by hand, the pairs it draws, and what it leaves out."""

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench.metrics.omes import omes, pairs_that_differ_in

FACTORS = full_factorial()  # 3, 4 and 5 values
PERFECT = perfect_code(FACTORS)
# Of two different ones of k equally spaced values the correlation is -1 / (k - 1).
ASSOCIATION = np.array([1 / 2, 2 / 3, 3 / 4])


def score(codes, factors=FACTORS, **parameters):
    return omes(np.asarray(codes, dtype=np.float32), factors, rng=rng(), points=40_000, **parameters)


def by_factor(scores):
    return [scores[f"omes_factor_{k}"] for k in range(len(scores) - 1)]


def test_of_a_perfect_code():
    # Its own association falls short of 1, all others are 0: distances (1 - a) / 3 along the row and the column.
    expected = ASSOCIATION * (1 - (1 - ASSOCIATION) / 3)
    scores = score(PERFECT)
    assert by_factor(scores) == pytest.approx(expected, abs=0.01)
    assert scores["omes"] == pytest.approx(expected.mean(), abs=0.01)


def test_two_latents_for_a_factor_cost_multiple_encoding_alone():
    twice = np.hstack([PERFECT, PERFECT])
    overlap = ASSOCIATION * (1 - (1 - ASSOCIATION) / 3)
    # Along the column stand 1 - a and, at the double, a: together 1 of six.
    multiple = ASSOCIATION * (1 - 1 / 6)
    assert by_factor(score(twice, alpha=1.0)) == pytest.approx(overlap, abs=0.01)
    assert by_factor(score(twice, alpha=0.0)) == pytest.approx(multiple, abs=0.01)
    assert by_factor(score(twice)) == pytest.approx((overlap + multiple) / 2, abs=0.01)


def test_a_latent_for_two_factors_costs_overlap():
    # Ten and a hundred values, both in one latent; with the others held each moves it as if it were alone there.
    factors = full_factorial((10, 100))
    both = perfect_code(factors).sum(axis=1, keepdims=True)
    # Its variance between pairs is half the other factor's, which stays: r = (1 - 1 / (k - 1)) / 2.
    a = 1 - (1 - 1 / np.array([9, 99])) / 2
    expected = a * (1 - ((1 - a) + a[::-1]) / 2)
    assert by_factor(score(both, factors, alpha=1.0)) == pytest.approx(expected, abs=0.01)


def test_the_best_latent_or_all_of_them():
    noise = rng(1).normal(size=(60 * 50, 1))
    factors = np.repeat(FACTORS, 50, axis=0)
    codes = np.hstack([np.repeat(PERFECT, 50, axis=0), noise])
    # The noise has association 1 everywhere: overlap 1 / 3 with each factor.
    own = ASSOCIATION * (1 - (1 - ASSOCIATION) / 3)
    best = score(codes, factors, alpha=1.0, pooling="max")
    assert by_factor(best) == pytest.approx(np.maximum(own, 1 / 3), abs=0.02)
    everything = score(codes, factors, alpha=1.0)
    expected = (ASSOCIATION * own + 1 / 3) / (ASSOCIATION + 1)
    assert by_factor(everything) == pytest.approx(expected, abs=0.02)
    with pytest.raises(ValueError, match="pooling must be mean or max, not 'all'"):
        score(codes, factors, pooling="all")


def test_of_two_values_there_is_no_association():
    coins = full_factorial((2, 2))
    assert score(coins, coins)["omes"] == pytest.approx(0, abs=1e-9)


def test_latents_that_hardly_vary_and_factors_without_pairs_are_left_out():
    assert score(np.hstack([PERFECT, 0.01 * PERFECT])) == score(PERFECT)
    assert score(0.01 * PERFECT) == {"omes": 0.0}
    # The third factor never varies while the others stay.
    tied = np.column_stack([FACTORS[:, :2], FACTORS[:, 0]])
    scores = score(perfect_code(tied), tied)
    assert scores.keys() == {"omes", "omes_factor_1"}
    diagonal = np.repeat(np.arange(5)[:, None], 2, axis=1)
    assert score(perfect_code(diagonal), diagonal) == {"omes": 0.0}


def test_pairs_differ_in_one_factor_and_all_partners_are_as_likely():
    table = rng(2).permutation(np.repeat(FACTORS, 2, axis=0))[:100]  # with gaps and doubles
    first, second = pairs_that_differ_in(1, table, 50_000, rng(3))
    assert (table[first, 1] != table[second, 1]).all()
    assert (table[first][:, [0, 2]] == table[second][:, [0, 2]]).all()
    for row in range(5):
        alike = (table[:, [0, 2]] == table[row, [0, 2]]).all(axis=1)
        partners = np.flatnonzero(alike & (table[:, 1] != table[row, 1]))
        drawn = np.bincount(second[first == row], minlength=100)
        assert set(np.flatnonzero(drawn)) == set(partners)
        share = drawn[partners] / drawn.sum()
        assert share == pytest.approx(1 / len(partners), abs=5 * np.sqrt(1 / drawn.sum()))
