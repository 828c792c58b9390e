"""Correlations of matched latents and linear regression, worked out by hand."""

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng
from sklearn.linear_model import LinearRegression

from disentangle_bench.metrics.identifiability import mcc, r2_identifiability

COINS = full_factorial((2, 2))
SUM = COINS.sum(axis=1, keepdims=True)
FACTORS = full_factorial()
PERFECT = perfect_code(FACTORS)
HALF = np.sqrt(1 / 2)


def exact(metric, codes, factors=COINS):
    scores = metric(np.asarray(codes, dtype=np.float32), factors, rng=rng(), points=None)
    return list(scores.values())


def test_mcc():
    assert exact(mcc, PERFECT[:, [2, 0, 1]] * [-3, 0.1, 1], FACTORS) == pytest.approx([1, 1])
    # One latent serves one factor; the other factor has none.
    assert exact(mcc, COINS[:, :1]) == pytest.approx([1 / 2, 1 / 2])
    assert exact(mcc, np.hstack([COINS[:, :1], 0 * SUM])) == pytest.approx([1 / 2, 1 / 2])
    # The sum of two coins correlates with each by sqrt(1/2); the best matching leaves it to the second coin.
    assert exact(mcc, np.hstack([SUM, COINS[:, :1]])) == pytest.approx([(1 + HALF) / 2] * 2)
    # Turned by 45 degrees each latent is half of either.
    assert exact(mcc, COINS @ [[1.0, 1.0], [-1.0, 1.0]]) == pytest.approx([HALF, HALF])


def test_mcc_matches_by_the_sum_and_not_one_after_the_other():
    # The first latent is the best for both factors; giving each its best in turn would leave 1 + 0.
    first = COINS[:, :1] + 0.9 * COINS[:, 1:]
    strength = np.abs(np.corrcoef(np.hstack([first, COINS[:, :1], COINS]).T)[:2, 2:])
    assert strength[0, 1] < strength[0, 0] < strength[1, 0]
    assert exact(mcc, np.hstack([first, COINS[:, :1]]))[0] == pytest.approx((1 + strength[0, 1]) / 2)


def test_ranks_do_not_mind_a_monotone_map():
    row = full_factorial((10,))
    pearson, spearman = exact(mcc, np.exp(row), row)
    assert spearman == pytest.approx(1)
    assert pearson == pytest.approx(np.corrcoef(np.exp(row[:, 0]), row[:, 0])[0, 1])
    assert pearson < 0.8


def test_r2_identifiability():
    turned = PERFECT @ rng(1).normal(size=(3, 3))
    assert exact(r2_identifiability, turned, FACTORS) == pytest.approx([1] * 4, abs=1e-6)
    # A sum of two coins explains half of the variance of each, a coin all of its own; copies add nothing.
    assert exact(r2_identifiability, SUM) == pytest.approx([1 / 2] * 3)
    assert exact(r2_identifiability, np.hstack([COINS[:, :1]] * 2 + [0 * SUM])) == pytest.approx(
        [1 / 2, 1, 0]
    )
    assert exact(r2_identifiability, 0 * SUM) == [0, 0, 0]


def test_r2_is_that_of_scikit_learn():
    codes, values = rng(1).normal(size=(50, 4)).astype(np.float32), rng(2).integers(0, 5, size=(50, 2))
    theirs = [LinearRegression().fit(codes, column).score(codes, column) for column in values.T]
    assert exact(r2_identifiability, codes, values) == pytest.approx([np.mean(theirs), *theirs], abs=1e-5)
