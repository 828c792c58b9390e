"""Correlations of metrics with what codes are good for: answers by hand, and how often the interval holds the truth."""

import math

import numpy as np
import pytest
from usefulness import correlation

SETTINGS, SEEDS = 23, 6
SHARE = 0.5  # of the variance, between settings


def test_spearmans_correlation_by_hand() -> None:
    # Ranks 1 2 3 4 and 2 1 3 4: 1 - 6 * (1 + 1) / (4 * 15) = 0.8. With ties: ranks 1 2.5 2.5 4 against 1 2 3 4.
    groups = np.arange(4)
    assert correlation(np.array([0.1, 0.2, 0.4, 0.9]), np.array([5.0, 1.0, 7.0, 8.0]), groups)[
        0
    ] == pytest.approx(0.8)
    tied, straight = np.array([1.0, 2.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])
    assert correlation(tied, straight, groups)[0] == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert correlation(straight, -straight, groups)[0] == pytest.approx(-1)


def test_settings_of_equal_scores_count_as_one_each() -> None:
    """Seeds that repeat each other say no more than one seed does: the interval is as wide as that of one."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, SETTINGS))
    alone = correlation(a, b, np.arange(SETTINGS))
    repeated = correlation(np.repeat(a, SEEDS), np.repeat(b, SEEDS), np.repeat(np.arange(SETTINGS), SEEDS))
    assert repeated == pytest.approx(alone, abs=0.02)


@pytest.mark.parametrize(("settings", "seeds"), [(SETTINGS, SEEDS), (22, 1), (22, 2)])
@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_the_interval_holds_the_truth(rho: float, settings: int, seeds: int) -> None:
    # Of normal numbers with correlation rho Spearman's correlation is 6 / pi asin(rho / 2).
    truth = 6 / math.pi * math.asin(rho / 2)
    rng = np.random.default_rng(0)
    mix = np.linalg.cholesky([[1, rho], [rho, 1]])
    groups = np.repeat(np.arange(settings), seeds)
    held = 0
    for _ in range(150):
        shared = np.repeat(rng.normal(size=(2, settings)), seeds, axis=1)
        own = rng.normal(size=(2, settings * seeds))
        a, b = mix @ (math.sqrt(SHARE) * shared + math.sqrt(1 - SHARE) * own)
        _, low, high = correlation(a, b, groups)
        held += low <= truth <= high
    # 95 % is meant; the bootstrap of so few settings is known to fall a little short. The standard error is 2 %.
    assert 0.88 <= held / 150 <= 0.99
