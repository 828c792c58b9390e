"""Every statistic against numbers worked out by hand and, where there is one, another implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from disentangle_bench.report.statistics import (
    deviation,
    hypervolume,
    improvements,
    on_front,
    rank_correlation,
    spreads,
    variance_shares,
)

NAN = float("nan")
FIRST = [0.10, 0.50, 0.35, 0.80, 0.20, 0.65, 0.45, 0.95, 0.30, 0.55]
SECOND = [0.40, 0.70, 0.35, 0.90, 0.85, 0.60, 0.50, 0.75]


def improvement(first, second) -> tuple[float, ...]:
    return tuple(improvements([(first, second)])[0])


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def test_mean_median_and_interquartile_mean_by_hand() -> None:
    found = spreads(column(5, 1, 2, 100, 3))
    assert found["mean"].value[0] == pytest.approx(111 / 5)
    assert found["median"].value[0] == 3
    assert found["iqm"].value[0] == pytest.approx((2 + 3 + 5) / 3)  # 5 // 4 = 1 run goes at either end
    assert spreads(column(1, 2, 3, 4))["median"].value[0] == 2.5
    assert spreads(column(1, 2, 3))["iqm"].value[0] == 2  # 3 // 4 = 0: nothing goes
    assert deviation(column(1, 2, 6))[0] == pytest.approx(np.sqrt((4 + 1 + 9) / 2))


def test_an_interval_that_can_be_counted() -> None:
    # Two runs: the resampled mean is 1, 2 or 3 with chances 1/4, 1/2, 1/4, so both ends are the runs themselves.
    found = spreads(column(1, 3))["mean"]
    assert (found.low[0], found.high[0]) == (1, 3)
    # Three runs 0, 0, 1: a resampled median is 1 where two or three of the draws are: 7/27, and 0 otherwise.
    found = spreads(column(0, 0, 1))["median"]
    assert (found.value[0], found.low[0], found.high[0]) == (0, 0, 1)


def test_missing_runs_are_left_out_and_one_run_has_no_interval() -> None:
    table = np.array([[1.0, NAN, NAN], [NAN, 4.0, NAN], [3.0, NAN, NAN]])
    found = spreads(table)["mean"]
    assert found.value == pytest.approx([2, 4, NAN], nan_ok=True)
    assert (found.low[0], found.high[0]) == (1, 3)
    assert np.isnan([found.low[1], found.high[1], found.low[2]]).all()
    assert deviation(table) == pytest.approx([np.sqrt(2), NAN, NAN], nan_ok=True)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_scipy_agrees_on_the_values(values: list[float]) -> None:
    found = spreads(column(*values))
    assert found["iqm"].value[0] == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-9)
    assert found["median"].value[0] == pytest.approx(np.median(values), abs=1e-9)
    for spread in found.values():
        if len(values) > 1:
            assert spread.low[0] <= spread.value[0] <= spread.high[0]


@pytest.mark.parametrize(
    ("name", "statistic"),
    [("mean", np.mean), ("median", np.median), ("iqm", lambda x, axis: stats.trim_mean(x, 0.25, axis=axis))],
)
def test_scipy_agrees_on_the_intervals(name: str, statistic) -> None:
    values = np.random.default_rng(3).gamma(2.0, size=40)
    found = spreads(values[:, None])[name]
    theirs = stats.bootstrap(
        (values,), statistic, n_resamples=20_000, confidence_level=0.95, method="percentile", rng=1
    ).confidence_interval
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(theirs), abs=0.04)


def test_rliable_agrees() -> None:
    """What rliable 1.2.0 says of the same two samples, with 50,000 resamples (20,000 of the pairs).

    It is not a dependency of the tests: it needs a pandas below 3.
    """
    first, second = spreads(column(*FIRST)), spreads(column(*SECOND))
    assert (first["iqm"].value[0], second["iqm"].value[0]) == pytest.approx((0.46666666666666673, 0.6375))
    assert (first["iqm"].low[0], first["iqm"].high[0]) == pytest.approx((0.300, 0.667), abs=0.02)
    assert (second["iqm"].low[0], second["iqm"].high[0]) == pytest.approx((0.450, 0.8125), abs=0.02)
    assert (first["mean"].low[0], first["mean"].high[0]) == pytest.approx((0.335, 0.645), abs=0.015)
    assert improvement(FIRST, SECOND) == pytest.approx((0.325, 0.09375, 0.59375), abs=0.02)
    assert improvement(SECOND, FIRST)[0] == pytest.approx(0.675)


def test_columns_do_not_touch_each_other() -> None:
    table = np.random.default_rng(0).normal(size=(12, 600))
    together, alone = spreads(table)["iqm"], spreads(table[:, 599:])["iqm"]
    assert (together.low[599], together.high[599]) == pytest.approx((alone.low[0], alone.high[0]), abs=1e-12)


def test_probability_of_improvement_by_hand_and_against_mann_whitney() -> None:
    # Pairs: 1 > 0, 1 < 2, 3 > 0, 3 > 2: three of four.
    assert improvement([1, 3], [0, 2])[0] == 0.75
    assert improvement([1, 1], [1, 1]) == (0.5, 0.5, 0.5)
    assert improvement([1, NAN], [0, 0.5])[0] == 1
    assert np.isnan(improvement([1], [0, 2])[1:]).all()
    assert np.isnan(improvement([], [0, 2])).all()
    many = improvements([(FIRST, SECOND), ([], [1]), ([1, 3], [0, 2]), (SECOND, FIRST), (FIRST, SECOND)])
    assert many[0] == pytest.approx(improvement(FIRST, SECOND), abs=1e-12)
    assert many[4] == pytest.approx(many[0], abs=1e-12)
    u = stats.mannwhitneyu(FIRST, SECOND).statistic
    assert improvement(FIRST, SECOND)[0] == pytest.approx(u / (len(FIRST) * len(SECOND)))


def test_rank_correlation_by_hand_and_against_scipy() -> None:
    # Ranks 1 2 3 4 and 1 2 4 3: 1 - 6 (1 + 1) / (4 * 15) = 0.8.
    found = rank_correlation(np.array([[1, 10], [2, 20], [3, 90], [7, 30]], dtype=float))
    assert found == pytest.approx(np.array([[1, 0.8], [0.8, 1]]))
    table = np.random.default_rng(1).integers(6, size=(30, 3)).astype(float)  # with ties
    assert rank_correlation(table) == pytest.approx(np.asarray(stats.spearmanr(table).statistic))
    holes = np.array([[1, 1, 5], [2, NAN, 5], [3, 2, 5], [4, 3, 5]], dtype=float)
    found = rank_correlation(holes)
    assert found[0, 1] == pytest.approx(1)
    assert np.isnan(found[2]).all()


def test_variance_shares_by_hand() -> None:
    # a has the settings (0, 2) and (4, 6), b the one (10, 14): whole mean 6, objectives' 3 and 12, settings' 1, 5, 12.
    values = [0, 2, 4, 6, 10, 14]
    shares = variance_shares(values, list("aaaabb"), [1, 1, 2, 2, 1, 1])
    assert shares is not None
    total = 36 + 16 + 4 + 0 + 16 + 64
    assert shares.objective == pytest.approx((4 * 9 + 2 * 36) / total)
    assert shares.hyperparameter == pytest.approx(4 * 4 / total)
    assert shares.seed == pytest.approx((1 + 1 + 1 + 1 + 4 + 4) / total)
    assert shares.objective + shares.hyperparameter + shares.seed == pytest.approx(1)
    assert shares.runs == 6
    assert variance_shares([1, 1, 1], list("aab"), [0, 0, 0]) is None
    assert variance_shares([1, NAN], list("ab"), [0, 0]) is None


def test_variance_of_one_grouping_is_what_an_analysis_of_variance_says() -> None:
    groups = [np.random.default_rng(i).normal(i, 1, size=7) for i in range(3)]
    f = stats.f_oneway(*groups).statistic
    shares = variance_shares(np.concatenate(groups), np.repeat([0, 1, 2], 7), np.zeros(21))
    assert shares is not None
    assert (shares.objective / 2) / (shares.seed / 18) == pytest.approx(f)
    assert shares.hyperparameter == pytest.approx(0, abs=1e-12)


def test_front_and_hypervolume_by_hand() -> None:
    costs, gains = np.array([1.0, 2, 3, 2, NAN]), np.array([0.2, 0.5, 0.4, 0.5, 0.9])
    assert list(on_front(costs, gains)) == [True, True, False, True, False]
    # In the box from (4, 0) to (0, 1): 3/4 wide and .2 high, and 2/4 wide from .2 to .5.
    assert hypervolume(costs, gains, (4, 0), (0, 1)) == pytest.approx(0.75 * 0.2 + 0.5 * 0.3)
    assert hypervolume(np.array([0.0]), np.array([1.0]), (4, 0), (0, 1)) == 1
    assert hypervolume(np.array([9.0]), np.array([-1.0]), (4, 0), (0, 1)) == 0
    assert np.isnan(hypervolume(costs, gains, (4, 0), (4, 1)))


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=12))
def test_hypervolume_is_the_share_of_unit_squares_that_are_dominated(points: list[tuple[int, int]]) -> None:
    costs, gains = np.array(points, dtype=float).T
    dominated = sum(any(c <= x and g >= y + 1 for c, g in points) for x in range(10) for y in range(10))
    assert hypervolume(costs, gains, (10, 0), (0, 10)) == pytest.approx(dominated / 100)
