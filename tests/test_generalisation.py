"""Held-out combinations: what runs say of them beside what training saw, and that no other run says anything."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from disentangle_bench import load_scores, run
from disentangle_bench.evaluation.generalisation import Rows, predicted, told_apart
from disentangle_bench.evaluation.scores import UNSEEN

HEADLINES = [
    f"{name}_{part}"
    for name in ("reconstruction_nats", "informativeness", "r2")
    for part in ("seen", "unseen")
] + ["auroc_mse"]
CORNER = {"row": [3], "column": [3]}  # 3 of the 48 squares: one place in three brightnesses


def grid(entry: dict, models: list[dict], **more) -> dict:
    return {
        "name": "unseen",
        "metrics": ["mig"],
        "datasets": [{"name": "tiny_data:SQUARES"} | entry],
        "models": models,
        "network": {"latents": 3, "channels": [4, 4, 4, 4], "hidden": 16},
        "training": {"steps": 2, "batch_size": 8},
        "scoring": {"reconstruction_points": 48},
    } | more


NEAREST = [{"name": "memorising:Nearest"}]


@pytest.fixture(scope="module")
def memorised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memorised") / "study"
    asked = grid({"hold_out": CORNER}, NEAREST, seeds=2)
    outcome = run(asked, folder, device="cpu", jobs=1)
    assert (outcome.done, outcome.failed, outcome.metric_failures) == (2, 0, {})
    return folder


def test_a_model_that_memorises_shows_by_the_unseen_columns_alone(memorised: Path) -> None:
    """To every unseen square the darkest at the first place is nearest, since no training image has its place."""
    for row in load_scores(memorised).to_dict("records"):
        assert row["reconstruction_nats_seen"] == row["mse_seen"] == 0
        assert row["informativeness_seen"] > 0.9
        assert row["r2_seen"] == pytest.approx(1)
        # 16 pixels of the square, 1/3, 2/3 or 1 bright, and 16 of the picture in its place, 1/3 bright.
        nats = 16 * ((1 + 4 + 9) / 9 / 3 + 1 / 9)
        assert row["reconstruction_nats_unseen"] == pytest.approx(nats)
        assert row["mse_unseen"] == pytest.approx(nats / 256)
        # Every unseen square costs more than every seen one, and there is no ELBO.
        assert row["auroc_mse"] == 1
        assert "auroc_elbo" not in row
        # Row and column are taken for 0, and the light for 0, which it is once in three.
        assert row["informativeness_unseen"] <= 1 / 9 + 1e-9
        # Squared errors 9, 9 and (0 + 1 + 4) / 3 in units of the variances 5/4, 5/4 and 2/3.
        assert row["r2_unseen"] == pytest.approx(1 - (9 / 1.25 + 9 / 1.25 + 5 / 3 / (2 / 3)) / 3)


def test_the_leaderboard_has_them_as_columns(memorised: Path) -> None:
    table = pd.read_csv(memorised / "leaderboard.csv")
    assert list(table["n_seeds"]) == [2]
    for name in HEADLINES:
        assert table[f"{name}_n"][0] == 2
        assert table[f"{name}_mean"][0] == pytest.approx(load_scores(memorised)[name].mean())


def test_runs_that_hold_nothing_out_say_nothing_of_it_and_keep_their_numbers(tmp_path: Path) -> None:
    """Both parts of one study: the others' scores are those that they have without it."""
    both = grid({}, [{"name": "pca"}, {"name": "vae"}])
    alone = run(both, tmp_path / "alone", device="cpu", jobs=1).path
    both["datasets"].append({"name": "tiny_data:SQUARES", "hold_out": CORNER})
    mixed = run(both, tmp_path / "mixed", device="cpu", jobs=1).path
    rows = {(row["dataset"], row["model"]): row for row in load_scores(mixed).to_dict("records")}
    for without in load_scores(alone).to_dict("records"):
        assert not set(HEADLINES) & set(without)
        beside = rows["tiny_data:SQUARES", without["model"]]
        assert {key: beside[key] for key in without} == pytest.approx(without, nan_ok=True)
        assert np.isnan([beside[key] for key in HEADLINES]).all()
        held = rows["tiny_data:SQUARES[without row=3 column=3]", without["model"]]
        assert np.isfinite([held[key] for key in HEADLINES]).all()
        assert np.isfinite(held["auroc_elbo"]) == (without["model"] == "vae")
    # The two models' nats are of two likelihoods.
    improvement = pd.read_csv(mixed / "improvement.csv")
    compared = set(improvement["metric"][improvement["dataset"].str.contains("without")])
    assert compared == {"mig", *HEADLINES[2:]}


def test_a_stack_in_processes_of_its_own_gives_what_each_run_gives_alone(tmp_path: Path) -> None:
    split = {"kind": "composition", "factors": ["row", "column"]}
    asked = grid({"split": split}, [{"name": "beta_vae", "beta": [1, 4]}])
    here = run(asked, tmp_path / "here", device="cpu", jobs=1).path
    apart = run(asked, tmp_path / "apart", device="cpu", jobs=2).path
    for key in HEADLINES:
        assert list(load_scores(here)[key]) == pytest.approx(list(load_scores(apart)[key]), rel=1e-4)


def test_a_run_that_lacks_them_is_scored_again_without_training(memorised: Path) -> None:
    path = next((memorised / "runs").iterdir()) / "scores.json"
    kept = json.loads(path.read_text())
    less = json.loads(path.read_text())
    about = less["metrics"].pop(UNSEEN)
    for key in about["keys"]:
        del less["scores"][key]
    path.write_text(json.dumps(less))
    weights = (path.parent / "weights.safetensors").stat().st_mtime_ns
    run(grid({"hold_out": CORNER}, NEAREST, seeds=2), memorised, device="cpu", jobs=1)
    assert json.loads(path.read_text())["scores"] == kept["scores"]
    assert (path.parent / "weights.safetensors").stat().st_mtime_ns == weights


def test_a_value_that_was_never_seen_can_be_foretold_as_a_number_and_not_as_a_class() -> None:
    values = np.array([0, 1, 2] * 20 + [3] * 5)
    tests = {"seen": slice(30, 60), "unseen": slice(60, None)}
    rows = Rows(2.0 * values[:, None].astype(np.float32) - 7, values[:, None], 30, tests, np.array([1.25]))
    found = predicted(rows, np.random.default_rng(0))
    assert found == pytest.approx(
        {"informativeness_seen": 1, "r2_seen": 1, "informativeness_unseen": 0, "r2_unseen": 1}
    )


def test_codes_that_know_nothing_give_the_mean_of_what_was_seen() -> None:
    """The mean of the trained is 1; further seen ones are off by 1, 0 and 1, the unseen one by 2."""
    values = np.array([0, 1, 2] * 2 + [3])
    tests = {"seen": slice(3, 6), "unseen": slice(6, None)}
    rows = Rows(np.zeros((7, 2), np.float32), values[:, None], 3, tests, np.array([1.25]))
    found = predicted(rows, np.random.default_rng(0))
    assert found["r2_seen"] == pytest.approx(1 - 2 / 3 / 1.25)
    assert found["r2_unseen"] == pytest.approx(1 - 4 / 1.25)


def test_a_factor_of_one_value_among_the_seen_takes_no_part() -> None:
    values = np.array([[0, 0], [1, 0], [0, 0], [1, 0], [0, 1], [1, 1]])
    tests = {"unseen": slice(4, None)}
    rows = Rows(values[:, :1].astype(np.float32), values, 2, tests, np.array([0.25, 0.25]))
    assert predicted(rows, np.random.default_rng(0))["informativeness_unseen"] == 1
    with pytest.raises(ValueError, match="no factor varies"):
        predicted(Rows(rows.codes, values[:, 1:], 2, tests, rows.variance[1:]), np.random.default_rng(0))


def measured(mse: list[float], elbo: list[float]) -> dict:
    return {"mse": np.array(mse), "elbo": np.array(elbo)}


def test_the_area_under_the_curve_of_detectors_worked_by_hand() -> None:
    """A larger error and a lower ELBO are signs of the unseen; equal values count half."""
    perfect = told_apart(measured([1, 2], [-1, -2]), measured([3, 4], [-3, -4]))
    assert perfect == {"auroc_mse": 1, "auroc_elbo": 1}
    # Of the four pairs the unseen one is larger in two: 3 > 2 and 3 > 1 by error, and 1 < 2, 1 < 3 by ELBO.
    chance = told_apart(measured([1, 2], [2, 3]), measured([0, 3], [1, 4]))
    assert chance == {"auroc_mse": 0.5, "auroc_elbo": 0.5}
    # All alike; and the unseen ones cost less.
    assert told_apart(measured([1, 1], [5, 6]), measured([1], [7])) == {"auroc_mse": 0.5, "auroc_elbo": 0}
    # Pairs (1, 2), (1, 3) are in order, (2, 3) too, and (2, 2) counts half: 3.5 of 4.
    assert told_apart({"mse": np.array([1, 2])}, {"mse": np.array([2, 3])}) == {"auroc_mse": 3.5 / 4}


def test_a_measure_that_is_no_number_has_no_area() -> None:
    found = told_apart(measured([1, np.inf], [1, 2]), measured([3], [0]))
    assert np.isnan(found["auroc_mse"])
    assert found["auroc_elbo"] == 1
