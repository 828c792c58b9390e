"""Unfairness worked out by hand, on full tables and on parts of them."""

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench.metrics.unfairness import unfairness

FACTORS = full_factorial()


def scored(codes, factors):
    return unfairness(np.asarray(codes, dtype=np.float32), factors, rng=rng(), train_points=1_000)


@pytest.mark.parametrize("values", [2, 3])
def test_a_code_that_knows_a_factor_by_another_alone_is_unfair(values):
    # The factors are mostly equal, and the code is the second: so the first is predicted to be equal to it.
    pairs = full_factorial((values, values))
    factors = np.repeat(pairs, np.where(pairs[:, 0] == pairs[:, 1], 9, 1), axis=0)
    scores = scored(factors[:, 1:], factors)
    # Each value of the second gives one answer; over all its values each answer has an equal share.
    assert scores["unfairness_of_0"] == scores["unfairness_by_1"] == pytest.approx(1 - 1 / values)
    # The second is read off the code, which the first does not move.
    assert scores["unfairness_of_1"] == scores["unfairness_by_0"] == 0
    assert scores["unfairness"] == pytest.approx((1 - 1 / values) / 2)


def test_codes_that_are_right_or_say_nothing_are_fair():
    assert scored(perfect_code(FACTORS), FACTORS)["unfairness"] == 0
    assert scored(0 * FACTORS, FACTORS)["unfairness"] == 0
    assert scored(FACTORS[:, :1], FACTORS[:, :1]) == {"unfairness": 0.0}
    # A factor that does not vary makes no pair.
    assert scored(FACTORS, FACTORS * [1, 0, 1]).keys() == scored(FACTORS[:, :2], FACTORS[:, :2]).keys()


def test_a_table_that_lacks_combinations_keeps_the_targets_value():
    factors = full_factorial((4, 5, 6))
    part = factors[rng(1).permutation(len(factors))[:90]]
    assert scored(perfect_code(part), part)["unfairness"] == 0
    # Where no row has the target's value and the sensitive one, nothing is changed.
    equal = np.repeat(np.arange(4), 5)[:, None] * np.array([[1, 1]])
    assert scored(equal[:, :1], equal)["unfairness"] == 0
