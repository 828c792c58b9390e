import sys
import types

import numpy as np
import pytest
import torch
from known_tables import full_factorial, perfect_code

from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.scores import (
    named_metrics,
    overlap_note,
    random_codes,
    score_codes,
    score_report,
    share_trained_on,
)
from disentangle_bench.evaluation.tables import checked_codes
from disentangle_bench.metrics.metric import Metric

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

    def leaving(codes, factors):
        sys.exit(3)

    for function in (sparsity, draw, broken, nameless, leaving):
        setattr(module, function.__name__, function)
    module.MIG = Metric(score=lambda codes, factors, *, rng: {"mig": 0.0}, headlines=("mig",), paper="none")
    module.NUMBER = 3
    monkeypatch.setitem(sys.modules, "my_metric", module)
    return module


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
        (["my_metric:leaving"], "'my_metric:leaving' failed: SystemExit: 3"),
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
        (PERFECT.astype(float) * 1e300, FACTORS, r"latent \d reach \d.\de\+30\d, too large for float32"),
        (np.where(PERFECT > 0, 1e308, -1e308), FACTORS, "too large for float32"),
        (PERFECT[:-1], FACTORS, "59 rows and factors 60"),
        (PERFECT[:, 0], FACTORS, r"codes must have the shape \[points, latents\], not \[60\]"),
        (PERFECT, FACTORS[:, 0], r"factors must have the shape \[points, factors\], not \[60\]"),
        (PERFECT[:, :0], FACTORS, "at least 2 points and 1 column"),
        (PERFECT[:1], FACTORS[:1], "at least 2 points"),
        (PERFECT.astype(complex), FACTORS, "codes must be numbers, not complex128"),
        (PERFECT.astype(str), FACTORS, "codes must be numbers"),
        ([[1.0, 2.0], [3.0]], FACTORS, "cannot be read as a table"),
        (PERFECT, FACTORS * np.nan, "factors hold NaN or infinite values, the first in row 0, factor 0"),
        (PERFECT, FACTORS.astype(str), "factors must be numbers"),
    ],
)
def test_tables_that_are_none_are_refused(codes, factors, message):
    with pytest.raises(BenchError, match=message):
        score_codes(codes, factors, ["mig"])


@pytest.mark.parametrize("seed", [-1, 0.5, "0", True])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(BenchError, match="seed"):
        score_codes(PERFECT, FACTORS, ["mig"], seed=seed)


def test_half_precision_tensors_are_scored_as_their_float32_values():
    torch = pytest.importorskip("torch")
    for kind in (torch.bfloat16, torch.float16):
        narrow = torch.tensor(PERFECT).to(kind)
        expected = score_codes(narrow.float().numpy(), FACTORS, ["mig"])
        assert score_codes(narrow, torch.tensor(FACTORS).to(kind), ["mig"]) == expected


def test_codes_are_moved_to_zero_only_where_float32_would_lose_their_digits():
    latent = np.linspace(-1.0, 1.0, 60)
    rounding = 0.3 + 1e-16 * np.arange(60)
    codes = np.stack([latent, latent + 30, latent + 1e8, rounding], axis=1)
    narrow = checked_codes(codes)
    assert (narrow[:, :2] == codes[:, :2].astype(np.float32)).all()
    assert np.diff(narrow[:, 2]) == pytest.approx(np.diff(latent), abs=1e-7)
    assert np.ptp(narrow[:, 3]) == 0  # digits below float64's own are none
    # Whole numbers stay whole, and a float32 table has no further digits to keep.
    whole = np.arange(60)[:, None] % 7 + 10**9
    assert (checked_codes(whole) == whole - 10**9 - 3).all()
    assert (checked_codes(codes.astype(np.float32)) == codes.astype(np.float32)).all()


def test_factors_none_of_which_varies_are_refused():
    with pytest.raises(BenchError, match="every factor has one value only"):
        score_codes(PERFECT, FACTORS * 0, ["mig"])


def test_random_codes_say_what_chance_is_on_a_small_table():
    factors = FACTORS[::3]
    chance = random_codes(20, 4)
    assert chance.shape == (20, 4)
    assert (chance == random_codes(20, 4)).all()
    assert (chance != random_codes(20, 4, seed=1)).any()
    # On 20 rows a linear classifier learns them by heart: three factors, but far from 1/3.
    assert score_codes(chance, factors, ["beta_vae"])["beta_vae"] > 0.8


def test_a_metric_says_how_many_of_its_test_rows_it_trained_on():
    # One draw from two rows leaves the other with probability 1/2; two leave it with 1/4.
    metric = Metric(score=None, headlines=(), paper="", training_rows=2)
    assert share_trained_on(metric, 2) == pytest.approx(0.75)
    report = score_report(PERFECT, FACTORS, ["dci", "mig", "sap"], seed=0)
    note = overlap_note(report)
    assert "dci 100%, sap 100%" in note
    assert "60 in all" in note
    assert "mig" not in note
    assert overlap_note(score_report(PERFECT, FACTORS, ["mig"], seed=0)) is None


def test_what_a_metric_says_of_itself_is_kept(plugin):
    plugin.sparsity.lower_is_better = True
    kept = score_report(PERFECT, FACTORS, ["my_metric:sparsity", "mig"], seed=0)["metrics"]
    assert kept["my_metric:sparsity"]["lower_is_better"] == ["sparsity"]
    assert kept["my_metric:sparsity"]["keys"] == ["sparsity"]
    assert kept["mig"]["lower_is_better"] == []


def test_no_score_stands_where_a_column_of_the_run_or_another_score_does(plugin):
    plugin.mse = Metric(score=lambda codes, factors, *, rng: {"mse": 0.0}, headlines=("mse",), paper="none")
    with pytest.raises(BenchError, match="'mse', which is a column of every run"):
        named_metrics(["my_metric:mse"])

    def size(codes, factors):
        return {"size": 1.0, "seed": 7}

    size.__module__ = "my_metric"
    plugin.size = size
    with pytest.raises(BenchError, match="'seed', which is a column of every run"):
        score_codes(PERFECT, FACTORS, ["my_metric:size"])
    report = score_report(PERFECT, FACTORS, ["mig", "my_metric:size", "my_metric:MIG"], seed=0)
    assert report["scores"]["mig"] > 0.9
    assert list(report["metrics"]) == ["mig"]
    assert "'seed', which is a column" in report["failures"]["my_metric:size"]
    assert "'mig', which is a score of the metric 'mig'" in report["failures"]["my_metric:MIG"]


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"headlines": "mig"}, "headlines must be a tuple of names"),
        ({"headlines": ("a",), "lower_is_better": ("b",)}, "names 'b', which is none of its headlines"),
    ],
)
def test_metrics_that_say_nonsense_of_themselves(plugin, about, message):
    plugin.ODD = Metric(score=lambda codes, factors, *, rng: {}, paper="none", **about)
    with pytest.raises(BenchError, match=message):
        named_metrics(["my_metric:ODD"])


@pytest.mark.parametrize("write", ["torch", "flags"])
def test_no_metric_changes_what_the_next_one_sees(plugin, write):
    def writing(codes, factors):
        if write == "torch":
            torch.from_numpy(codes).zero_()
            torch.from_numpy(factors).zero_()
        else:
            codes.flags.writeable = factors.flags.writeable = True
            codes[:] = factors[:] = 0
        return float(np.abs(codes).sum())

    plugin.writing = writing
    codes, factors = PERFECT.astype(np.float32), FACTORS.copy()
    kept = codes.copy()
    scores = score_codes(codes, factors, ["my_metric:writing", "mig"])
    assert scores["writing"] == 0
    assert scores["mig"] == score_codes(PERFECT, FACTORS, ["mig"])["mig"]
    report = score_report(codes, factors, ["my_metric:writing", "mig"], seed=0)
    assert report["mutual_information"] == score_report(kept, FACTORS, ["mig"], seed=0)["mutual_information"]
    assert np.array_equal(codes, kept)
    assert np.array_equal(factors, FACTORS)
