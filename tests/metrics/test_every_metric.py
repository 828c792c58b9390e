"""What every registered metric must hold, by what it says it expects of itself. A newcomer that says nothing fails."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench import registry
from disentangle_bench.evaluation.scores import score_codes
from disentangle_bench.metrics.metric import Metric

FACTORS = full_factorial()
PERFECT = perfect_code(FACTORS)
# Nothing of this code is special: every latent knows something of every factor, and no two codes are equal.
MIXED = (PERFECT @ rng(1).normal(size=(3, 4)) + 0.3 * rng(2).normal(size=(60, 4))).astype(np.float32)

# Which of two equal latents a tree splits first is drawn, and so depends on their order.
OWN_DRAWS = {"dci_completeness": 0.12, "dci_disentanglement": 0.12}

# What learns from 10,000 points at most shows the same from fewer, in less time.
FEWER = {
    "downstream_logistic": {"train_points": (10, 1_000)},
    "downstream_gbt": {"train_points": (10, 1_000)},
    "unfairness": {"train_points": 1_000},
    "strong_generalisation": {"test_points": 500},
}

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
    return replace(found, score=partial(found.score, **FEWER.get(request.param, {})))


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


NEED_NO_FACTORS = [name for name in registry.METRICS if not registry.resolve("metric", name).needs_factors]


@pytest.mark.parametrize("name", NEED_NO_FACTORS)
def test_what_needs_no_factors_scores_the_same_without(name):
    metric = registry.resolve("metric", name)
    others = FACTORS[np.random.default_rng(6).permutation(len(FACTORS))]
    assert score(metric, MIXED) == score(metric, MIXED, others) == score(metric, MIXED, FACTORS[:, :0])


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


@pytest.mark.parametrize("name", registry.METRICS)
@pytest.mark.parametrize("place", [0, 3])
def test_a_factor_with_one_value_takes_no_part(name, place):
    more = np.insert(FACTORS, place, 5, axis=1)
    assert score_codes(MIXED, more, [name]) == score_codes(MIXED, FACTORS, [name])


# Codes on a lattice, so that float64 holds them exactly however far they are moved.
LATTICE = np.round(MIXED.astype(np.float64) * 2**10) / 2**10


@pytest.mark.parametrize("name", registry.METRICS)
@pytest.mark.parametrize("offset", [8.0, 1e6, -1e8])
def test_codes_far_from_zero_keep_their_digits(name, offset):
    expected = score_codes(LATTICE, FACTORS, [name])
    moved = score_codes(LATTICE + offset, FACTORS, [name])
    slack = registry.resolve("metric", name).expects.slack
    assert moved == pytest.approx(expected, rel=1e-4, abs=slack)


# Latents that tie: they know a factor equally well, one of them alone or with more beside it.
TIED = np.stack(
    [
        FACTORS[:, 0],
        FACTORS[:, 0] * 4 + FACTORS[:, 1],
        FACTORS[:, 0],
        FACTORS[:, 1],
        FACTORS[:, 1] * 5 + FACTORS[:, 2],
        FACTORS[:, 2] * 3 + FACTORS[:, 0],
    ],
    axis=1,
)
# A row is all there is of a value of the first factor, so that all latents stand still while it is held.
FEW = np.stack([np.arange(12), np.arange(12) % 2], axis=1)
TIED_FEW = np.hstack([FEW[:, 1:], rng(4).normal(size=(12, 5))])


def test_the_order_of_latents_that_tie_moves_nothing(metric):
    if not metric.expects.permutation:
        pytest.skip("the definition depends on the order")
    for codes, factors in ((TIED, FACTORS), (TIED_FEW, FEW)):
        forward = score(metric, codes, factors)
        for order in ([5, 4, 3, 2, 1, 0], [1, 0, 3, 2, 5, 4]):
            permuted = score(metric, codes[:, order], factors)
            for key in metric.headlines:
                slack = max(metric.expects.slack, OWN_DRAWS.get(key, 0.0))
                assert permuted[key] == pytest.approx(forward[key], abs=slack), (key, order)


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
