"""Scores of real-valued factors: from their values where a metric takes them, from bins elsewhere."""

import json

import numpy as np
import pytest

import disentangle_bench
from disentangle_bench import registry, score_codes
from disentangle_bench.evaluation.evaluate import Asked, Subject, evaluate_tables
from disentangle_bench.evaluation.protocols import score_by_protocol
from disentangle_bench.evaluation.scores import score_report
from disentangle_bench.evaluation.tables import Truth, checked_factors, checked_tables
from disentangle_bench.specs import ScoringSpec

VALUES = ("mcc", "r2_identifiability", "sap_continuous")
MEASURED = np.arange(40) + 0.5
KIND = np.arange(40) % 2
FACTORS = np.stack([KIND, MEASURED], axis=1)
BINS = np.arange(40) // 4
CODES = np.stack([MEASURED, KIND], axis=1) * [3.0, -2.0] + 1


def test_a_column_that_is_not_whole_is_real_valued():
    truth = checked_factors(FACTORS)
    assert isinstance(truth, Truth)
    assert truth.numbers.tolist() == np.stack([KIND, BINS], axis=1).tolist()
    assert truth.values.tolist() == FACTORS.tolist()
    assert truth.real.tolist() == [False, True]
    assert isinstance(checked_factors(np.round(FACTORS)), np.ndarray)


def test_constant_factors_are_dropped_from_both():
    _, truth = checked_tables(CODES, np.column_stack([np.full(40, 7.0), MEASURED]))
    assert isinstance(truth, Truth)
    assert truth.numbers.shape == truth.values.shape == (40, 1)


def test_an_ordinary_factor_of_which_a_value_is_missing_stays_ordinary():
    numbers = np.stack([KIND + 3, BINS], axis=1)
    truth = checked_factors(Truth(numbers, np.stack([KIND + 3, MEASURED], axis=1)))
    assert isinstance(truth, Truth)
    assert truth.numbers[:, 0].tolist() == truth.values[:, 0].tolist() == KIND.tolist()
    assert truth.real.tolist() == [False, True]


def test_a_linear_code_explains_all_of_the_values_and_less_of_their_bins():
    metric = registry.resolve("metric", "r2_identifiability")
    rng = np.random.default_rng(0)
    perfect = score_codes(CODES, FACTORS, ["r2_identifiability", "mcc", "sap_continuous"])
    assert perfect["r2_identifiability"] == pytest.approx(1, abs=1e-9)
    assert perfect["mcc"] == pytest.approx(1, abs=1e-9)
    # By hand: the value is 4 b + r, where bins b = 0..9 have the variance 99 / 12 and r = 0..3 that of 15 / 12. So the
    # squared correlation of the two is 132 / (132 + 1.25).
    found = metric.score(CODES[:, :1].astype(np.float32), BINS[:, None], rng=rng, points=None)
    assert found["r2_identifiability"] == pytest.approx(132 / 133.25, abs=1e-6)


def test_a_report_says_what_each_metric_had():
    report = score_report(CODES, FACTORS, ["mig", "mcc", "sap_continuous", "r2_identifiability"], 0)
    had = {name: about["real_valued"] for name, about in report["metrics"].items()}
    assert had == {"mig": "bins"} | dict.fromkeys(VALUES, "values")
    assert report["scores"]["mig"] == score_codes(CODES, np.stack([KIND, BINS], 1), ["mig"])["mig"]
    whole = score_report(CODES, np.stack([KIND, BINS], 1), ["mig", "mcc"], 0)
    assert not any("real_valued" in about for about in whole["metrics"].values())


def test_only_these_metrics_take_values():
    found = {name for name in registry.METRICS if registry.resolve("metric", name).takes_values}
    assert found == set(VALUES)


def test_an_evaluation_of_tables_says_so_too():
    asked = Asked(("mig", "r2_identifiability"), ScoringSpec())
    record = evaluate_tables(CODES, FACTORS, asked, Subject("mine", "a table", "a table"))
    assert record.scores["r2_identifiability"] == pytest.approx(1, abs=1e-9)
    assert record.controls["ground_truth"]["r2_identifiability"] == pytest.approx(1, abs=1e-9)
    (note,) = (note for note in record.notes if "real-valued" in note)
    assert note == (
        "real-valued are factor 1: r2_identifiability had the values themselves, mig the numbers of their bins"
    )


def test_a_protocol_draws_both():
    found = score_by_protocol("default", CODES, FACTORS, ["kind", "angle"], 0, ["sap_continuous", "mig"])
    assert found["metrics"]["sap_continuous"]["real_valued"] == "values"
    binned = score_by_protocol("chen2018", CODES, FACTORS, ["kind", "angle"], 0)
    assert binned["metrics"]["mig"]["real_valued"] == "bins"


GRID = {
    "name": "real",
    "metrics": ["mig", "r2_identifiability"],
    "models": [{"name": "pca"}, {"name": "vae"}],
    "network": {"latents": 2, "channels": [4], "kernels": [4], "hidden": 8},
    "training": {"steps": 2, "batch_size": 8},
    "scoring": {"reconstruction_points": 8},
}


def test_a_study_on_a_file_with_real_valued_factors(tmp_path):
    grey = (80 + 2.2 * np.arange(40)).astype(np.uint8)
    images = np.zeros((40, 8, 8), np.uint8)
    images[:, :4] = grey[:, None, None]
    images[KIND == 1, 4:] = 200
    factors = np.stack([KIND, grey / 7], axis=1)
    np.savez(tmp_path / "mine.npz", images=images, factors=factors, factor_names=np.array(["kind", "grey"]))
    grid = GRID | {"datasets": [{"name": str(tmp_path / "mine.npz")}]}
    study = disentangle_bench.run(grid, out=tmp_path / "study", device="cpu", jobs=1).path
    scores = {
        json.loads((run / "spec.json").read_text())["model"]: json.loads((run / "scores.json").read_text())
        for run in (study / "runs").iterdir()
    }
    assert scores["pca"]["metrics"]["r2_identifiability"]["real_valued"] == "values"
    assert scores["vae"]["metrics"]["mig"]["real_valued"] == "bins"
    # Both factors are straight lines in the pixels.
    assert scores["pca"]["scores"]["r2_identifiability"] == pytest.approx(1, abs=1e-3)
