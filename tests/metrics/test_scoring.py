import sys
import types

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code

from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.metric import Metric
from disentangle_bench.scoring import score_codes

FACTORS = full_factorial()
PERFECT = perfect_code(FACTORS)


@pytest.fixture
def plugin(monkeypatch):
    """A module `my_metric` with a few metrics of a user's."""
    module = types.ModuleType("my_metric")

    def sparsity(codes, factors):
        """Share of codes that are small."""
        return (np.abs(codes) < 0.5).mean()

    def draw(codes, factors, *, rng):
        return {"draw": rng.random(), "draw_again": rng.random()}

    def broken(codes, factors):
        raise ZeroDivisionError("no such luck")

    def nameless(codes, factors):
        return {"other": 1.0}

    for function in (sparsity, draw, broken, nameless):
        setattr(module, function.__name__, function)
    module.MIG = Metric(score=lambda codes, factors, *, rng: {"mig": 0.0}, headlines=("mig",), paper="none")
    module.NUMBER = 3
    monkeypatch.setitem(sys.modules, "my_metric", module)


def test_the_default_metrics_of_a_perfect_code():
    scores = score_codes(PERFECT, FACTORS)
    assert scores["factor_vae"] == scores["beta_vae"] == 1.0
    assert scores["mig"] > 0.99
    assert {"factor_vae_train", "factor_vae_active", "beta_vae_train"} < scores.keys()


def test_same_seed_same_scores_and_another_metric_moves_none():
    codes = np.random.default_rng(1).normal(size=PERFECT.shape)
    alone = score_codes(codes, FACTORS, ["mig"], seed=3)
    together = score_codes(codes, FACTORS, ["factor_vae", "mig"], seed=3)
    assert alone["mig"] == together["mig"]
    assert together == score_codes(codes, FACTORS, ["mig", "factor_vae"], seed=3)
    assert alone != score_codes(codes, FACTORS, ["mig"], seed=4)


def test_tensors_lists_and_any_whole_numbers_are_read():
    torch = pytest.importorskip("torch")
    expected = score_codes(PERFECT, FACTORS, ["mig"])
    tensor = torch.tensor(PERFECT, requires_grad=True)
    assert score_codes(tensor, torch.tensor(FACTORS), ["mig"]) == expected
    assert score_codes(PERFECT.tolist(), FACTORS.astype(float).tolist(), ["mig"]) == expected
    assert score_codes(PERFECT, (FACTORS - 7).astype(np.int8), ["mig"]) == expected
    assert score_codes(PERFECT, FACTORS * 10**12, ["mig"]) == expected


def test_the_tables_are_left_as_they_were():
    codes, factors = PERFECT.copy(), FACTORS - 7
    kept = factors.copy()
    score_codes(codes, factors)
    assert (codes == PERFECT).all()
    assert (factors == kept).all()


def test_a_plain_function_is_a_metric(plugin):
    scores = score_codes(PERFECT, FACTORS, ["my_metric:sparsity", "my_metric:draw"])
    assert scores.keys() == {"sparsity", "draw", "draw_again"}
    assert scores["sparsity"] == pytest.approx((np.abs(PERFECT) < 0.5).mean())


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["my_metric:broken"], "'my_metric:broken' failed: ZeroDivisionError: no such luck"),
        (["my_metric:nameless"], "gave no score 'nameless', only other"),
        (["my_metric:NUMBER"], "must be a Metric or a function"),
        (["my_metric:missing"], "cannot be loaded"),
        (["mig", "my_metric:MIG"], "another metric has given already"),
        (["mig", "mig"], "more than once"),
        (["migg"], "Did you mean 'mig'"),
        ("mig", r"write \['mig'\]"),
        ([], "at least one"),
    ],
)
def test_metrics_that_cannot_be_scored_are_named(plugin, metrics, message):
    with pytest.raises(BenchError, match=message):
        score_codes(PERFECT, FACTORS, metrics)


NAN = PERFECT.copy()
NAN[7, 1] = np.nan


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (NAN, FACTORS, "1 NaN or infinite values, the first in row 7, latent 1"),
        (PERFECT.astype(float) * 1e300, FACTORS, "NaN or infinite"),
        (PERFECT[:-1], FACTORS, "59 rows and factors 60"),
        (PERFECT[:, 0], FACTORS, r"codes must have the shape \[points, latents\], not \[60\]"),
        (PERFECT, FACTORS[:, 0], r"factors must have the shape \[points, factors\], not \[60\]"),
        (PERFECT[:, :0], FACTORS, "at least 2 points and 1 column"),
        (PERFECT[:1], FACTORS[:1], "at least 2 points"),
        (PERFECT.astype(complex), FACTORS, "codes must be numbers, not complex128"),
        (PERFECT.astype(str), FACTORS, "codes must be numbers"),
        ([[1.0, 2.0], [3.0]], FACTORS, "cannot be read as a table"),
        (PERFECT, FACTORS + 0.5, "factors must be whole numbers"),
        (PERFECT, FACTORS * np.nan, "factors must be whole numbers"),
        (PERFECT, FACTORS.astype(str), "factors must be whole numbers"),
    ],
)
def test_tables_that_are_none_are_refused(codes, factors, message):
    with pytest.raises(BenchError, match=message):
        score_codes(codes, factors, ["mig"])


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(BenchError, match="seed"):
        score_codes(PERFECT, FACTORS, ["mig"], seed=seed)
