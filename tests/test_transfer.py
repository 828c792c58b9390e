"""Runs that are scored on a data set that they were not trained on: what they say of it, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_data
import torch

from disentangle_bench import load_dataset, load_scores, run
from disentangle_bench.data.channels import ChannelStore, in_shape
from disentangle_bench.errors import BenchError
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import check_grid
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.methods import describe_metrics
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.study.checks import check_study

SHIFTED, RENAMED = "tiny_data:SHIFTED", "tiny_data:RENAMED"


def grid(others: list[dict], **more) -> dict:
    return {
        "name": "transfer",
        "metrics": ["mig"],
        "datasets": [{"name": "tiny_data:SQUARES", "score_on": others}],
        "models": [{"name": "memorising:Nearest"}],
        "network": {"latents": 3, "channels": [4, 4], "kernels": [4, 4], "hidden": 16},
        "training": {"steps": 2, "batch_size": 8},
        "scoring": {"reconstruction_points": 48},
    } | more


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("transfer") / "study"
    outcome = run(grid([{"name": SHIFTED}, {"name": RENAMED}]), folder, device="cpu", jobs=1)
    assert (outcome.done, outcome.failed, outcome.metric_failures) == (1, 0, {})
    return folder


def test_a_model_that_memorises_knows_the_same_images_under_other_names_of_their_values(study: Path) -> None:
    row = load_scores(study).iloc[0]
    for label in (SHIFTED, RENAMED):
        assert row[f"reconstruction_nats_on_{label}"] == row[f"mse_on_{label}"] == 0
        # The code is perfect there too.
        assert row[f"mig_on_{label}"] == pytest.approx(1, abs=0.01)
        assert row[f"informativeness_on_{label}"] > 0.9
    # Column and light are as in training; each row is taken for another, 2 away: a squared error of 4, variance 5/4.
    assert row[f"informativeness_to_{SHIFTED}"] == pytest.approx(2 / 3)
    assert row[f"r2_to_{SHIFTED}"] == pytest.approx((1 + 1 + (1 - 4 / 1.25)) / 3)
    # No line leads from the code of a row to its shifted name.
    assert row[f"r2_on_{RENAMED}"] == pytest.approx(1)
    assert row[f"r2_on_{SHIFTED}"] < 0.95
    # The factors of the renamed squares are others.
    assert not [name for name in row.index if name.endswith(f"_to_{RENAMED}")]


def test_the_leaderboard_has_them_as_columns(study: Path) -> None:
    table = pd.read_csv(study / "leaderboard.csv")
    for name in ("mig_on", "informativeness_on", "informativeness_to", "r2_to", "reconstruction_nats_on"):
        column = f"{name}_{SHIFTED}"
        assert table[f"{column}_mean"][0] == pytest.approx(load_scores(study)[column][0])
    assert "mse_on" not in " ".join(table)


def test_further_data_sets_name_no_other_run_and_move_no_number(study: Path, tmp_path: Path) -> None:
    plain = grid([])
    del plain["datasets"][0]["score_on"]
    with_them = grid([{"name": SHIFTED}])
    assert [spec.id for spec in expand(check_grid(plain))] == [
        spec.id for spec in expand(check_grid(with_them))
    ]
    alone = load_scores(run(plain, tmp_path / "alone", device="cpu", jobs=1).path)
    alone = alone.drop(columns="metric_revisions")
    assert load_scores(study)[alone.columns].equals(alone)


def test_a_finished_run_is_scored_on_another_data_set_without_training(tmp_path: Path) -> None:
    """First without any, then with one in a process of its own, then with a further metric."""
    vae = {"models": [{"name": "vae"}], "seeds": 2}
    plain = grid([], **vae)
    del plain["datasets"][0]["score_on"]
    path = run(plain, tmp_path / "study", device="cpu", jobs=1).path
    weights = {each: each.stat().st_mtime_ns for each in path.glob("runs/*/weights.safetensors")}
    run(grid([{"name": SHIFTED}], **vae), path, device="cpu", jobs=2)
    first = load_scores(path)
    assert first[f"mig_on_{SHIFTED}"].notna().all()
    run(grid([{"name": SHIFTED}], metrics=["mig", "sap"], **vae), path, device="cpu", jobs=1)
    second = load_scores(path)
    assert second[f"sap_on_{SHIFTED}"].notna().all()
    assert second[first.columns.drop("metric_revisions")].equals(first.drop(columns="metric_revisions"))
    assert weights == {each: each.stat().st_mtime_ns for each in weights}
    here = run(
        grid([{"name": SHIFTED}], metrics=["mig", "sap"], **vae), tmp_path / "new", device="cpu", jobs=1
    )
    fresh = load_scores(here.path)
    for name in ("mig_on", "sap_on", "informativeness_to", "informativeness_on"):
        column = f"{name}_{SHIFTED}"
        assert list(fresh[column]) == pytest.approx(list(second[column]), rel=1e-4)


def test_a_metric_that_fails_there_costs_its_own_column(tmp_path: Path) -> None:
    asked = grid([{"name": SHIFTED}], metrics=["mig", "tiny_data:crashing_metric"])
    outcome = run(asked, tmp_path / "study", device="cpu", jobs=1)
    assert set(outcome.metric_failures) == {
        "tiny_data:crashing_metric",
        f"tiny_data:crashing_metric on {SHIFTED}",
    }
    assert f"mig_on_{SHIFTED}" in load_scores(outcome.path)


def test_data_sets_that_do_not_go_together_are_refused_before_a_run() -> None:
    def refused(other: object, match: str) -> None:
        with pytest.raises(BenchError, match=match):
            check_study(check_grid(grid(other)))  # type: ignore[arg-type]

    refused([{"name": SHIFTED, "size": 8}], "8 x 8 pixels, and the networks take 16 x 16")
    refused([{"name": SHIFTED, "split": "random"}], "scored on and not trained on")
    refused([{"name": SHIFTED}, {"name": SHIFTED}], "listed twice")
    refused([{"name": "tiny_data:NOTHING"}], "NOTHING")
    refused([{"name": SHIFTED, "sizes": 8}], "sizes")
    refused([], "at least 1 item")
    with pytest.raises(BenchError, match="SHIFTED"):
        check_grid(grid([{"name": SHIFTED}]), allow={"memorising:Nearest", "tiny_data:SQUARES"})


def test_both_need_the_factors_of_all_images(tmp_path: Path) -> None:
    images = tiny_data.squares().images(range(48)).numpy()
    factors = tiny_data.squares().factors(range(48)).numpy()
    np.savez(tmp_path / "alone.npz", images=images)
    np.savez(tmp_path / "some.npz", images=images, factors=factors[:20], labelled=np.arange(20))
    for name, match in (
        ("alone.npz", "images without factors"),
        ("some.npz", "factors for 20 of its 48 images"),
    ):
        other = {"name": str(tmp_path / name)}
        with pytest.raises(BenchError, match=f"{match}, and score_on needs"):
            check_study(check_grid(grid([other])))
        turned = grid([], datasets=[other | {"score_on": [{"name": SHIFTED}]}], models=[{"name": "vae"}])
        with pytest.raises(BenchError, match=f"{match}, and score_on needs"):
            check_study(check_grid(turned))


def test_the_other_may_be_drawn_with_parameters(tmp_path: Path) -> None:
    few = {"shapes": ["heart"], "scales": 2, "orientations": 4, "positions": 3}
    drawn = {"name": "dsprites_drawn", "size": 16, "parameters": few}
    outcome = run(grid([drawn]), tmp_path, device="cpu", jobs=1)
    assert (outcome.done, outcome.failed, outcome.metric_failures) == (1, 0, {})
    columns = load_scores(tmp_path).columns
    assert "mig_on_dsprites_drawn[orientations=4,positions=3,scales=2,shapes=heart,16x16]" in columns


class Pixels:
    """One image of the given channels."""

    def __init__(self, *channels: int) -> None:
        self.channels = channels

    def images(self, index: torch.Tensor) -> torch.Tensor:
        return torch.tensor(self.channels, dtype=torch.uint8)[None, :, None, None].expand(
            len(index), -1, 2, 2
        )

    def to(self, device: torch.device) -> "Pixels":
        return self


def test_three_channels_become_their_mean_rounded_half_up_and_one_becomes_three() -> None:
    index = torch.zeros(1, dtype=torch.int64)
    for channels, mean in [((0, 0, 1), 0), ((0, 1, 1), 1), ((255, 255, 255), 255), ((10, 20, 31), 20)]:
        assert (ChannelStore(Pixels(*channels), 1).images(index) == mean).all()
    grey = ChannelStore(Pixels(7), 3)
    assert (grey.images(index) == 7).all()
    assert grey.images(index).shape == (1, 3, 2, 2)


def test_a_data_set_in_another_shape_is_named_apart_by_its_fingerprint() -> None:
    squares, shifted = load_dataset("tiny_data:SQUARES"), load_dataset(SHIFTED)
    assert in_shape(squares, (1, 16, 16)) is squares
    grey = in_shape(shifted, (1, 16, 16))
    assert grey.fingerprint != shifted.fingerprint
    assert torch.equal(grey.images([0]), squares.images([24]))
    assert in_shape(squares, (3, 16, 16)).images([0]).shape == (1, 3, 16, 16)
    with pytest.raises(BenchError, match="images of 1 channels, and the networks take 2"):
        in_shape(squares, (2, 16, 16))


def test_scores_say_what_the_other_data_set_was(study: Path) -> None:
    kept = json.loads(next(study.glob("runs/*/scores.json")).read_text())
    about = kept["metrics"][f"transfer on {RENAMED}"]
    assert about["data_fingerprint"] == "renamed-1"
    assert about["headlines"] == [
        f"{name}_on_{RENAMED}" for name in ("reconstruction_nats", "informativeness", "r2")
    ]


def test_a_file_that_changed_since_a_run_was_scored_on_it_is_refused(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "study"
    shutil.copytree(study, kept)
    monkeypatch.setattr(tiny_data.RENAMED, "fingerprint", "renamed-2")
    with pytest.raises(BenchError, match=r"RENAMED has changed since .* was scored on it"):
        run(grid([{"name": RENAMED}], metrics=["mig", "sap"]), kept, device="cpu", jobs=1)


def test_a_report_says_what_was_scored_where(study: Path) -> None:
    runs = runs_table(StudyDir(study).records())
    words = {metric.name: " ".join(metric.paragraphs) for metric in describe_metrics(runs)}
    assert words[f"mig on {SHIFTED}"] == f"Scored on {SHIFTED}, which was not trained on. {words['mig']}"
    assert "carried over" in words[f"transfer on {SHIFTED}"]
    assert not [text for text in words.values() if "not installed" in text]
