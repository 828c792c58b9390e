"""Studies of images without factors, of images of which some have factors, and of both beside others."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny_data
from click.testing import CliRunner

import disentangle_bench
from disentangle_bench.cli import main
from disentangle_bench.data.load import load_dataset
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.scores import metric_report, named_metrics, score_codes
from disentangle_bench.grid_file import check_grid
from disentangle_bench.report.study import load_leaderboard, load_scores
from disentangle_bench.study.checks import check_study

KNOWN = np.arange(48)[5:35:2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The squares as files: images alone, with factors of some, and these some alone."""
    folder = tmp_path_factory.mktemp("files")
    squares = tiny_data.squares()
    images = squares.images(range(48)).numpy()
    factors = squares.factors(KNOWN).numpy()
    np.savez(folder / "plain.npz", images=images)
    np.savez(folder / "some.npz", images=images, factors=factors, labelled=KNOWN)
    np.savez(folder / "only.npz", images=images[KNOWN], factors=factors)
    return folder


def grid(*paths: Path | str, **more) -> dict:
    return {
        "name": "tiny",
        "seeds": 2,
        "datasets": [{"name": str(path)} for path in paths],
        "models": [{"name": "vae"}, {"name": "beta_vae", "beta": 4}],
        "network": {"latents": 3, "channels": [4, 4], "kernels": [4, 4], "hidden": 16},
        "training": {"steps": 3, "batch_size": 8},
        "scoring": {"reconstruction_points": 16},
    } | more


def bench(*arguments: str | Path, code: int = 0) -> str:
    found = CliRunner().invoke(main, [str(each) for each in arguments])
    assert found.exit_code == code, found.output
    return found.output


@pytest.fixture(scope="module")
def plain(folder) -> Path:
    """A study of images alone, by the metrics that a grid has when it names none."""
    study = folder / "plain"
    assert disentangle_bench.run(grid(folder / "plain.npz"), study, device="cpu", jobs=1).done == 4
    return study


def test_a_study_of_images_alone_is_trained_and_measured(plain) -> None:
    runs = load_scores(plain)
    assert runs["reconstruction_nats"].notna().all()
    assert runs.attrs["headlines"] == []
    rows = load_leaderboard(plain)
    assert rows["rank"].tolist() == [1, 2]
    assert rows["reconstruction_nats_mean"].is_monotonic_increasing
    assert rows["udr_mean"].notna().all()
    assert not (plain / "tradeoff.png").exists()
    assert (plain / "curves.png").exists()
    (run,) = (plain / "runs").glob("*-vae-s0-*")
    assert {"reconstructions.png", "samples.png", "traversals.png", "traversals.gif"} <= {
        path.name for path in (run / "pictures").iterdir()
    }
    scores = json.loads((run / "scores.json").read_text())
    assert scores["left_out"] == ["factor_vae", "mig", "beta_vae"]
    assert (scores["metrics"], scores["failures"], scores["mutual_information"]) == ({}, {}, None)
    assert json.loads((run / "provenance.json").read_text())["data"]["factors"] == {}


LEFT_OUT = (
    "plain.npz has images without factors: what needs factors is left out there (factor_vae, mig, beta_vae)"
)


def test_every_command_can_be_given_such_a_study(plain) -> None:
    assert "3 of 4" not in bench("status", plain)
    assert "4 runs: 4 done, 0 failed" in bench("show", plain)
    for style in ("table", "csv", "markdown", "latex"):
        assert LEFT_OUT in bench("leaderboard", plain, "--format", style)
    assert "controls = true" not in bench("leaderboard", plain)
    bench("figures", plain, "--format", "png")
    assert {path.name for path in (plain / "figures").iterdir()} == {"curves.png", "metric_correlation.png"}
    bench("compare", plain, "--a", "model=vae", "--b", "model=beta_vae")
    bench("report", plain)
    page = (plain / "report" / "index.html").read_text()
    assert LEFT_OUT in page
    assert re.search(r'<section id="tradeoff" hidden', page)
    assert "The heat map shows" not in page
    assert "Choosing without labels" not in page
    assert "4 runs done, 0 failed" in bench("run", plain / "grid.toml", "--out", plain, "--device", "cpu")


def test_nothing_is_trained_or_scored_again(plain) -> None:
    before = {path: path.stat().st_mtime_ns for path in plain.glob("runs/*/scores.json")}
    bench("run", plain / "grid.toml", "--out", plain, "--device", "cpu", "--retry-failed")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_further_metrics_are_scored_where_they_need_no_factors(folder, plain) -> None:
    output = bench("score", plain, "--metric", "mig", "--device", "cpu", code=2)
    assert "all of the metrics that are named need factors (mig): name 'unsupervised'" in output
    bench("score", plain, "--metric", "unsupervised", "--metric", "sap", "--device", "cpu")
    assert load_scores(plain)["active_units"].notna().all()
    for path in plain.glob("runs/*/scores.json"):
        assert json.loads(path.read_text())["left_out"] == ["factor_vae", "mig", "beta_vae", "sap"]
    assert " nats " in bench("show", plain)


def test_a_grid_of_both_kinds(folder, tmp_path) -> None:
    study = tmp_path / "both"
    asked = grid(
        folder / "plain.npz", "tiny_data:SQUARES", controls=True, metrics=["mig", "unsupervised"], seeds=1
    )
    assert disentangle_bench.run(asked, study, device="cpu", jobs=1).done == 4
    rows = load_leaderboard(study).set_index("dataset")
    assert rows.loc["plain.npz", "mig_mean"].isna().all()
    assert rows.loc["plain.npz", "rank"].tolist() == [1, 2]
    trained = rows[~rows["model"].str.startswith("control")]
    assert trained.loc["tiny_data:SQUARES", "mig_mean"].is_monotonic_decreasing
    assert set(rows[rows["model"].str.startswith("control")].index) == {"tiny_data:SQUARES"}
    assert load_scores(study)["active_units"].notna().all()
    assert (study / "tradeoff.png").exists()
    bench("figures", study, "--format", "png")
    bench("report", study)
    assert "(mig)" in bench("leaderboard", study)


def test_metrics_see_the_images_whose_factors_are_known(folder) -> None:
    metrics = ["mig", "unsupervised", "factor_vae"]
    some, only = (
        disentangle_bench.evaluate(tiny_data.brightness, str(folder / name), metrics, seed=3)
        for name in ("some.npz", "only.npz")
    )
    assert some.scores == only.scores
    assert some.points["number"] == len(KNOWN)
    assert "some.npz has factors for 15 of its 48 images, on which metrics are scored" in some.notes
    assert some.provenance["data"]["labelled"] == len(KNOWN)
    every = disentangle_bench.evaluate(np.arange(48.0)[:, None], str(folder / "some.npz"), ["mig"], points=10)
    assert every.points["number"] == 10


def test_a_study_with_factors_for_some_images(folder, tmp_path) -> None:
    """Encoded together or one by one, metrics see the same images; reconstruction is of all."""
    found = []
    for name, points in (("stack", "all"), ("alone", 15)):
        asked = grid(
            folder / "some.npz", metrics=["mig"], scoring={"points": points}, models=[{"name": "vae"}]
        )
        disentangle_bench.run(asked, tmp_path / name, device="cpu", jobs=1)
        (path,) = (tmp_path / name / "runs").glob("*-s1-*")
        found.append(json.loads((path / "scores.json").read_text()))
        assert json.loads((path / "provenance.json").read_text())["data"]["labelled"] == 15
    assert [scores["points"] for scores in found] == [15, 15]
    assert found[0]["scores"].keys() == found[1]["scores"].keys()
    assert found[0]["scores"]["mse"] == pytest.approx(found[1]["scores"]["mse"])
    assert len(found[0]["mutual_information"][0]) == 3
    output = bench("leaderboard", tmp_path / "stack")
    assert "some.npz has factors for 15 of its 48 images" in output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["mig", "dci"]}, r"all of the metrics that are named need factors \(mig, dci\)"),
        ({"models": [{"name": "ada_gvae"}]}, "AdaGVAE, which trains on pairs of images, needs factors"),
        ({"hold_out": {"row": [1]}}, "hold_out needs factors"),
        ({"split": "random"}, "a split needs factors"),
        ({"correlated": {"first": "a", "second": "b", "sigma": 0.2}}, "`correlated` needs factors"),
        ({"every": {"row": 2}}, "`every` needs factors"),
    ],
)
def test_what_cannot_be_had_without_factors_is_refused_with_a_reason(folder, change, message) -> None:
    path = str(folder / "plain.npz")
    of_data = change.keys() & {"hold_out", "split", "correlated", "every"}
    more = {"datasets": [{"name": path} | change]} if of_data else change
    with pytest.raises(BenchError, match=message):
        check_study(check_grid(grid(path, **more)))


def test_metrics_of_the_grids_own_choice_are_left_out_with_a_word(folder) -> None:
    path = folder / "plain.npz"
    assert check_study(check_grid(grid(path))) == [LEFT_OUT]
    assert check_study(check_grid(grid(path, "tiny_data:SQUARES", metrics=["mig"], controls=True))) == [
        "plain.npz has images without factors: what needs factors is left out there (mig, controls)"
    ]
    assert check_study(check_grid(grid(path, metrics=["unsupervised"]))) == []


def test_validate_and_a_dry_run_say_so(folder, tmp_path) -> None:
    text = f"""
datasets = [{{ name = "{folder / "plain.npz"}" }}, {{ name = "{folder / "some.npz"}" }}]
models = [{{ name = "pca" }}]
network = {{ latents = 3 }}
"""
    (tmp_path / "mine.toml").write_text(text)
    for command in (["validate"], ["run", "--dry-run", "--device", "cpu", "--out", tmp_path / "study"]):
        output = bench(*command, tmp_path / "mine.toml")
        assert LEFT_OUT in output
        assert "some.npz has factors for 15 of its 48 images" in output


def test_an_evaluation_without_factors(folder, tmp_path) -> None:
    path = str(folder / "plain.npz")
    record = disentangle_bench.evaluate(tiny_data.brightness, path)
    assert record.scores["active_units"] == 1
    assert set(record.controls) == {"random"}
    record = disentangle_bench.evaluate(tiny_data.brightness, path, ["mig", "unsupervised"])
    assert "mig" not in record.scores
    assert record.notes[0].endswith("left out there (mig)")
    with pytest.raises(BenchError, match="all of the metrics that are named need factors"):
        disentangle_bench.evaluate(tiny_data.brightness, path, ["mig"])
    with pytest.raises(BenchError, match="the protocol 'dlib2019' need"):
        disentangle_bench.evaluate(tiny_data.brightness, path, protocol="dlib2019")
    named = ("evaluate", "tiny_data:brightness", "--dataset", path, "--device", "cpu")
    assert "active_units" in bench(*named)
    assert "need factors (mig)" in bench(*named, "--metric", "mig", code=2)
    assert "'dlib2019' need" in bench(*named, "--protocol", "dlib2019", code=2)


def test_an_evaluation_goes_into_a_study_without_metrics(folder, tmp_path) -> None:
    study = tmp_path / "study"
    disentangle_bench.run(grid(folder / "plain.npz", seeds=1), study, device="cpu", jobs=1)
    bench("evaluate", "tiny_data:brightness", "--into", study, "--device", "cpu")
    assert load_scores(study)["model"].tolist() == ["beta_vae", "vae", "brightness"]


@pytest.mark.parametrize("name", ["plain.npz", "some.npz"])
def test_no_board_is_made_of_them(folder, tmp_path, name, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    output = bench("board", "new", "mine", "--dataset", folder / name, "--metric", "mig", code=2)
    assert "and a board needs" in output


def test_codes_of_known_worth_need_factors(folder) -> None:
    assert "no codes of known worth" in bench("calibrate", folder / "plain.npz", code=2)


def test_a_metric_that_needs_no_factors_is_given_none() -> None:
    seen = []

    def width(codes, factors):
        seen.append(factors.shape)
        return codes.shape[1]

    width.needs_factors = False
    codes, factors = np.random.default_rng(0).normal(size=(20, 3)), np.arange(40).reshape(20, 2)
    assert score_codes(codes, factors, [width]) == {"width": 3}
    metric = named_metrics([width])["width"]
    report = metric_report("width", codes, np.empty((20, 0), np.int64), 0, metric)
    assert report["scores"] == {"width": 3}
    assert seen == [(20, 0), (20, 0)]
    assert metric_report("mig", codes, np.empty((20, 0), np.int64), 0)["failures"]


def test_images_alone_are_drawn_and_encoded(folder, plain, tmp_path) -> None:
    (run,) = (plain / "runs").glob("*-vae-s0-*")
    model = disentangle_bench.load_run(run)
    images = load_dataset(str(folder / "plain.npz")).images([0, 1])
    assert model.encode(images).shape == (2, 3)
    for command in (["sample", run], ["traverse", run], ["interpolate", run, "--from", 0, "--to", 3]):
        bench(*command, "--out", tmp_path / "drawn.png")
        (tmp_path / "drawn.png").unlink()
