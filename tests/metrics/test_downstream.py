"""Downstream tasks: accuracies known by hand, and the logistic regression beside scikit-learn's."""

import warnings

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import KFold

from disentangle_bench.metrics.downstream import downstream_gbt, downstream_logistic
from disentangle_bench.metrics.validated_logistic import predict_validated

COINS = full_factorial((2, 2))
BOTH = downstream_logistic, downstream_gbt


def scored(metric, codes, factors=COINS, train_points=(10, 1_000)):
    scores = metric(np.asarray(codes, dtype=np.float32), factors, rng=rng(), train_points=train_points)
    return {key.removeprefix(metric.__name__).removeprefix("_"): value for key, value in scores.items()}


@pytest.mark.parametrize("metric", BOTH)
def test_accuracies_known_by_hand(metric):
    scores = scored(metric, COINS, train_points=(100, 1_000))
    assert set(scores.values()) == {1.0}
    # One coin is read off, the other is guessed.
    scores = scored(metric, COINS[:, :1])
    assert scores["1000_factor_0"] == 1
    assert scores["1000_factor_1"] == pytest.approx(0.5, abs=0.03)
    assert scores[""] == scores["1000"] == (scores["1000_factor_0"] + scores["1000_factor_1"]) / 2
    assert scores["efficiency_10"] == scores["10"] / scores["1000"]
    # Codes that are all equal get the share of the commonest training value.
    uneven = np.repeat([[0], [1]], [30, 70], axis=0)
    assert scored(metric, 0 * uneven, uneven)[""] == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("metric", BOTH)
def test_values_that_were_not_drawn_for_training_are_never_answered(metric):
    row = full_factorial((40,))
    scores = scored(metric, perfect_code(row), row, train_points=(1, 10))
    # A single point teaches a single value: right once in forty.
    assert scores["1"] == pytest.approx(1 / 40, abs=0.01)
    assert 1 / 40 < scores["10"] <= 10 / 40 + 0.02


def test_trees_read_the_middle_of_a_row_of_values_and_xor_while_lines_do_not_read_xor():
    row = full_factorial((10,))
    assert scored(downstream_gbt, perfect_code(row), row)[""] == 1
    assert scored(downstream_logistic, perfect_code(row), row)[""] == pytest.approx(1, abs=0.03)
    xor = (COINS[:, :1] + COINS[:, 1:]) % 2
    codes = COINS + 0.1 * rng(1).normal(size=(250, 4, 2))
    codes, values = codes.reshape(-1, 2), np.tile(xor, (250, 1))
    assert scored(downstream_gbt, codes, values)[""] > 0.98
    assert scored(downstream_logistic, codes, values)[""] < 0.8


@pytest.mark.parametrize("values", [2, 5])
def test_the_logistic_regression_is_that_of_scikit_learn(values):
    codes = rng(1).normal(size=(1_500, 4))
    # Noisy, so that penalties differ; every fold has every value.
    labels = np.digitize(codes[:, 0] + rng(2).normal(size=1_500), np.linspace(-1, 1, values - 1)) + 3
    train, test = slice(0, 300), slice(300, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = (
            LogisticRegressionCV(Cs=10, cv=KFold(5)).fit(codes[train], labels[train]).predict(codes[test])
        )
    assert (predict_validated(codes[train], labels[train], codes[test]) == theirs).mean() > 0.98
