"""What every registered metric must hold, by what it says it expects of itself. A newcomer that says nothing fails."""

import warnings

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench import registry
from disentangle_bench.metrics.metric import Metric

FACTORS = full_factorial()
PERFECT = perfect_code(FACTORS)
# Nothing of this code is special: every latent knows something of every factor, and no two codes are equal.
MIXED = (PERFECT @ rng(1).normal(size=(3, 4)) + 0.3 * rng(2).normal(size=(60, 4))).astype(np.float32)

DEGENERATE = {
    "constant": np.full((60, 3), 0.3),
    "constant zero": np.zeros((60, 3)),
    "one constant": np.insert(PERFECT, 1, -0.3, axis=1),
    "duplicated": np.hstack([PERFECT, PERFECT]),
    "single latent": PERFECT[:, :1],
    "single constant": np.ones((60, 1)),
    "huge": MIXED * 1e30,
    "tiny": MIXED * 1e-30,
    "of every size": MIXED * np.array([1e30, 1e-30, 1.0, 1e10]),
    "one outlier": np.vstack([MIXED[:-1], 1e20 * np.ones((1, 4))]),
    "two valued": (MIXED > 0).astype(float),
}


@pytest.fixture(params=registry.METRICS)
def metric(request) -> Metric:
    found = registry.resolve("metric", request.param)
    assert found.expects is not None, (
        f"{request.param} must say what it expects of itself: Metric(expects=...)"
    )
    return found


def score(metric, codes, factors=FACTORS):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return metric.score(np.asarray(codes, dtype=np.float32), factors, rng=rng())


def headlines(metric, codes):
    scores = score(metric, codes)
    return [scores[key] for key in metric.headlines]


def test_says_what_it_is(metric):
    scores = score(metric, MIXED)
    assert metric.paper
    assert metric.revision >= 1
    assert set(metric.headlines) <= scores.keys()
    for key in scores.keys() if metric.headlines else ():
        assert any(key == head or key.startswith(f"{head}_") for head in metric.headlines), key


def test_the_same_generator_gives_the_same_scores_and_the_tables_stay(metric):
    codes, factors = MIXED.copy(), FACTORS.copy()
    assert score(metric, codes, factors) == score(metric, codes, factors)
    assert (codes == MIXED).all()
    assert (factors == FACTORS).all()


def test_scores_stand_still_where_the_definition_promises_it(metric):
    expects = metric.expects
    changed = {
        "permutation": MIXED[:, [2, 0, 3, 1]],
        "sign": MIXED * [-1, 1, -1, -1],
        "scale": MIXED * [0.01, 3.0, 1.0, 1000.0],
    }
    for name, codes in changed.items():
        if getattr(expects, name):
            assert headlines(metric, codes) == pytest.approx(headlines(metric, MIXED), abs=expects.slack), (
                name
            )


def test_scores_lie_in_their_range_and_are_finite_on_any_code(metric):
    for name, codes in DEGENERATE.items():
        scores = score(metric, codes)
        assert np.isfinite(list(scores.values())).all(), (name, scores)
        for key in metric.headlines:
            low, high = metric.expects.lowest - 1e-9, metric.expects.highest + 1e-9
            assert low <= scores[key] <= high, (name, key, scores[key])


def test_factors_that_do_not_vary_and_a_single_factor_are_no_trouble(metric):
    for factors in (FACTORS * [1, 0, 1], FACTORS * 0, FACTORS[:, :1]):
        assert np.isfinite(list(score(metric, PERFECT, factors).values())).all()


def test_scores_fall_as_noise_drowns_a_perfect_code(metric):
    if not metric.expects.falls_with_noise:
        pytest.skip("the definition promises no fall")
    factors = np.repeat(FACTORS, 30, axis=0)
    noise = rng(3).normal(size=factors.shape)
    levels = []
    for strength in (0.0, 1.0, 4.0):
        codes = (np.repeat(PERFECT, 30, axis=0) + strength * noise).astype(np.float32)
        scores = score(metric, codes, factors)
        levels.append([scores[key] for key in metric.headlines])
    assert (np.diff(levels, axis=0) < 0).all(), levels


@pytest.mark.parametrize("name", registry.METRICS)
def test_headlines_are_given_once(name):
    own = set(registry.resolve("metric", name).headlines)
    for other in registry.METRICS.keys() - {name}:
        assert not own & set(registry.resolve("metric", other).headlines)
