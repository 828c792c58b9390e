"""Every statistic against numbers worked out by hand and, where there is one, another implementation."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from disentangle_bench.report.rank_statistics import improvements, rank_correlation
from disentangle_bench.report.statistics import (
    among_the_best,
    among_the_front,
    deviation,
    differences,
    holm,
    hypervolume,
    on_front,
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


def test_intervals_by_hand() -> None:
    # 1, 2, 6: mean 3, deviation sqrt(7), and 4.3027 is the quantile .975 of Student's t with 2 degrees of freedom.
    found = spreads(column(1, 2, 6))["mean"]
    assert found.high[0] - 3 == pytest.approx(4.3027 * np.sqrt(7 / 3), abs=1e-3)
    assert found.low[0] == pytest.approx(6 - found.high[0])
    # Of six runs all lie on one side of the median with a chance of 2/64, of five with 2/32: none at 95 %.
    found = spreads(column(6, 1, 2, 3, 4, 5))["median"]
    assert (found.value[0], found.low[0], found.high[0]) == (3.5, 1, 6)
    assert np.isnan(spreads(column(1, 2, 3, 4, 5))["median"].low[0])
    # 0, 1, 2, 9: 0 and 9 go and count as 1 and 2; deviation sqrt(1/3), one degree of freedom, 12.7062.
    found = spreads(column(9, 1, 0, 2))["iqm"]
    assert found.value[0] == 1.5
    assert found.high[0] - 1.5 == pytest.approx(12.7062 * np.sqrt(1 / 3) * np.sqrt(3 / 2), abs=1e-3)


def test_no_interval_of_too_few_or_equal_runs() -> None:
    table = np.array([[1.0, NAN, NAN], [NAN, 4.0, NAN], [3.0, NAN, NAN]])
    found = spreads(table)["mean"]
    assert found.value == pytest.approx([2, 4, NAN], nan_ok=True)
    assert np.isnan([found.low, found.high]).all()
    assert deviation(table) == pytest.approx([np.sqrt(2), NAN, NAN], nan_ok=True)
    equal = spreads(column(0.1, 0.1, 0.1, NAN))
    assert equal["mean"].value[0] == pytest.approx(0.1)
    assert np.isnan(equal["mean"].low[0])
    assert deviation(column(0.1, 0.1, 0.1))[0] == 0


@pytest.mark.parametrize("runs", [3, 5, 10, 50])
def test_intervals_hold_what_they_promise(runs: int) -> None:
    """95 % of the intervals of normal scores hold the truth; the percentile bootstrap's hold .74, .84, .89 and .94."""
    found = spreads(np.random.default_rng(runs).normal(0.4, 0.1, size=(runs, 20_000)))
    for name in ("mean", "iqm"):
        held = (found[name].low <= 0.4) & (found[name].high >= 0.4)
        assert 0.93 <= held.mean() <= 0.97
    if runs >= 6:
        assert 0.95 <= ((found["median"].low <= 0.4) & (found["median"].high >= 0.4)).mean() <= 0.985


@pytest.mark.parametrize("runs", [3, 5, 10, 50])
@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_intervals_of_improvement_hold_too(runs: int, shift: float) -> None:
    """Not less than 93 % of them hold the truth, for normal scores that lie `shift` deviations apart."""
    rng = np.random.default_rng([runs, int(shift)])
    truth = stats.norm.cdf(shift / np.sqrt(2))
    found = improvements([(rng.normal(shift, size=runs), rng.normal(size=runs)) for _ in range(1500)])
    assert ((found[:, 1] <= truth) & (truth <= found[:, 2])).mean() >= 0.93


def simulated(settings: int, runs: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, deviations and counts of settings whose runs have equal means."""
    drawn = np.random.default_rng(seed).normal(size=(runs, settings))
    return drawn.mean(axis=0), drawn.std(axis=0, ddof=1), np.full(settings, runs)


@pytest.mark.parametrize("settings", [2, 6, 36])
@pytest.mark.parametrize("runs", [3, 10])
def test_equal_settings_are_seldom_differ_significantly(settings: int, runs: int) -> None:
    """In at most 5 % of tables, which 600 tables exceed 7 % of with a chance below 2 %."""
    best, front = 0, 0
    for seed in range(600):
        gains, costs = simulated(settings, runs, 2 * seed), simulated(settings, runs, 2 * seed + 1)
        best += not among_the_best(*gains).all()
        front += not among_the_front(costs, gains).all()
    assert best / 600 < 0.07
    assert front / 600 < 0.07


def test_what_seeds_tell_apart_by_hand() -> None:
    means, deviations, counts = np.array([0.9, 0.88, 0.5, 0.1]), np.full(4, 0.05), np.array([5, 5, 5, 2])
    assert list(among_the_best(means, deviations, counts)) == [True, True, False, False]
    assert list(among_the_best(-means, deviations, counts)) == [False, False, True, False]
    # The third is beaten in the gain by the first at the same cost; the second costs too much to be sure to beat it.
    costs = np.array([10.0, 12.0, 10.0, 1.0])
    front = among_the_front((costs, np.full(4, 4.0), counts), (means, deviations, counts))
    assert list(front) == [True, True, False, False]
    cheap = among_the_front((costs - [0, 0, 1, 0], np.full(4, 4.0), counts), (means, deviations, counts))
    assert list(cheap) == [True, True, True, False]


def test_differences_are_welchs() -> None:
    first, second = np.array(FIRST), np.array(SECOND)
    found = differences(
        np.array([first.mean(), second.mean(), 0.3]),
        np.array([first.std(ddof=1), second.std(ddof=1), 0.1]),
        np.array([len(first), len(second), 2]),
    )
    assert found[0, 1] == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)
    assert np.isnan(found[2]).all()
    # Without any spread: 2 of the 20 ways to choose three of six runs are as far apart.
    still = differences(np.array([1.0, 0.5, 0.5]), np.zeros(3), np.full(3, 3))
    assert (still[0, 1], still[1, 2]) == (0.1, 1.0)
    # .1 three times and five times have means that differ in their last bit.
    means = np.array([np.mean([0.1] * 3), np.mean([0.1] * 5)])
    assert means[0] != means[1]
    assert differences(means, np.zeros(2), np.array([3, 5]))[0, 1] == 1


def test_holm_by_hand() -> None:
    # Times 4, 3, 2 and 1 from the least on, and never below an earlier one.
    assert holm(np.array([0.01, 0.04, NAN, 0.03, 0.005])) == pytest.approx(
        [0.03, 0.06, NAN, 0.06, 0.02], nan_ok=True
    )


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_scipy_agrees_on_the_values(values: list[float]) -> None:
    found = spreads(column(*values))
    assert found["iqm"].value[0] == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-9)
    assert found["median"].value[0] == pytest.approx(np.median(values), abs=1e-9)
    for spread in found.values():
        if not np.isnan(spread.low[0]):
            assert spread.low[0] <= spread.value[0] <= spread.high[0]


def test_scipy_agrees_on_the_interval_of_the_mean() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=40)
    found = spreads(values[:, None])["mean"]
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx((theirs.low, theirs.high))


def test_rliable_agrees_on_the_values() -> None:
    """What rliable 1.2.0 says of the same two samples.

    It is not a dependency of the tests: it needs a pandas below 3. Its percentile bootstraps are not followed.
    """
    first, second = spreads(column(*FIRST)), spreads(column(*SECOND))
    assert (first["iqm"].value[0], second["iqm"].value[0]) == pytest.approx((0.46666666666666673, 0.6375))
    assert improvement(FIRST, SECOND)[0] == pytest.approx(0.325)
    assert improvement(SECOND, FIRST)[0] == pytest.approx(0.675)


def test_columns_do_not_touch_each_other() -> None:
    table = np.random.default_rng(0).normal(size=(12, 600))
    together, alone = spreads(table)["iqm"], spreads(table[:, 599:])["iqm"]
    assert (together.low[599], together.high[599]) == pytest.approx((alone.low[0], alone.high[0]), abs=1e-12)


def test_probability_of_improvement_by_hand_and_against_mann_whitney() -> None:
    # Pairs: 1 > 0, 1 < 2, 3 > 0, 3 > 2: three of four.
    assert improvement([1, 3], [0, 2])[0] == 0.75
    assert improvement([1, 1], [1, 1])[::3] == (0.5, 1)
    assert improvement([1, NAN], [0, 0.5])[0] == 1
    assert np.isnan(improvement([1, 3], [0, 2])[1:3]).all()  # no interval of two runs
    assert np.isnan(improvement([], [0, 2])).all()
    u = stats.mannwhitneyu(FIRST, SECOND).statistic
    assert improvement(FIRST, SECOND)[0] == pytest.approx(u / (len(FIRST) * len(SECOND)))


def test_three_against_three_settle_nothing() -> None:
    """All above all: 2 of the 20 ways to choose three of six do that, and one half is not ruled out."""
    value, low, high, p_value = improvement([4, 5, 6], [1, 2, 3])
    assert (value, high) == (1, pytest.approx(1))
    assert p_value == pytest.approx(0.1)
    assert low < 0.5


def test_rank_tests_are_exact() -> None:
    untied = np.random.default_rng(5).normal(size=21)
    exact = stats.mannwhitneyu(untied[:9], untied[9:], method="exact").pvalue
    assert improvement(untied[:9], untied[9:])[3] == pytest.approx(exact)
    # With ties scipy has no exact test; the ways to choose 4 of 9 are 126, which it can go through.
    tied, other = [1.0, 1, 2, 3], [1.0, 2, 2, 5, 6]
    counted = stats.permutation_test(
        (tied, other), lambda x, y: stats.mannwhitneyu(x, y).statistic, vectorized=False, n_resamples=np.inf
    )
    assert improvement(tied, other)[3] == pytest.approx(counted.pvalue)
    many = np.random.default_rng(6).integers(8, size=120).astype(float)
    near = stats.mannwhitneyu(many[:60] + 1, many[60:], method="asymptotic").pvalue
    assert improvement(many[:60] + 1, many[60:])[3] == pytest.approx(near)


def test_a_thousand_runs_a_side_need_no_memory_for_their_pairs() -> None:
    """A million pairs would take 8 MB; ranks take less than 1."""
    first, second = np.random.default_rng(7).normal(size=(2, 1000))
    tracemalloc.start()
    try:
        improvements([(first, second)] * 3)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


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
    noise = (1 + 1 + 1 + 1 + 4 + 4) / 3  # six runs around three means
    total = 36 + 16 + 4 + 0 + 16 + 64 + noise
    assert shares.objective == pytest.approx((4 * 9 + 2 * 36 - noise) / total)
    assert shares.hyperparameter == pytest.approx((4 * 4 - noise) / total)
    assert shares.objective + shares.hyperparameter + shares.seed == pytest.approx(1)
    assert shares.runs == 6
    assert variance_shares([1, 1, 1], list("aab"), [0, 0, 0]) is None
    assert variance_shares([1, NAN], list("ab"), [0, 0]) is None
    assert variance_shares([1, 2], list("ab"), [0, 0]) is None  # a run a setting says nothing of seeds


def test_pure_noise_has_no_variance_to_share() -> None:
    """3 models x 6 settings x 3 seeds: plain sums of squares would give the settings .28."""
    objectives, settings = np.repeat(list("abc"), 18), np.tile(np.repeat(range(6), 3), 3)
    drawn = np.random.default_rng(0).normal(size=(600, 54))
    found = [variance_shares(list(values), list(objectives), list(settings)) for values in drawn]
    assert np.mean([shares.objective for shares in found]) == pytest.approx(0, abs=0.01)
    assert np.mean([shares.hyperparameter for shares in found]) == pytest.approx(0, abs=0.015)


def test_variance_of_one_grouping_is_what_an_analysis_of_variance_says() -> None:
    groups = [np.random.default_rng(i).normal(i, 1, size=7) for i in range(3)]
    f = stats.f_oneway(*groups).statistic
    shares = variance_shares(np.concatenate(groups), np.repeat([0, 1, 2], 7), np.zeros(21))
    assert shares is not None
    assert shares.objective == pytest.approx(2 * (f - 1) / (2 * (f - 1) + 21))  # omega squared from F
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
