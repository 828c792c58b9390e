"""Anyone's own metric, tried as a new user would: from an empty folder and in a fresh process."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_data
import torch
from click.testing import CliRunner
from forked import Bench

from disentangle_bench import registry
from disentangle_bench.cli import main
from disentangle_bench.data.factor_dataset import Symmetry
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.controls import calibrate
from disentangle_bench.evaluation.models import Scoring
from disentangle_bench.evaluation.scores import random_codes, score_codes
from disentangle_bench.progress import PhasesOf, Silent
from disentangle_bench.specs import ScoringSpec

# The ten lines of the README.
METRIC = '''
import numpy as np

def sparsity(codes, factors):
    """Share of latents that hardly move."""
    return float((codes.std(axis=0) < 0.05).mean())
'''
ALLOWED = ("--allow", "tiny_data")
PACKAGE_METRIC = '''
def active(codes, factors, *, rng):
    """Number of latents that move, from a package."""
    return {"active": float((codes.std(axis=0) > 0.05).sum()), "active_of": codes.shape[1]}
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with a grid and a metric, beside an installed package that offers another."""
    (tmp_path / "site" / "their_metrics").mkdir(parents=True)
    (tmp_path / "site" / "their_metrics" / "__init__.py").write_text(PACKAGE_METRIC)
    info = tmp_path / "site" / "their_metrics-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-metrics\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[disentangle_bench.metrics]\nactive = their_metrics:active\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "tiny.toml").write_text(tiny_data.GRID)
    (work / "my_metric.py").write_text(METRIC)
    return work


def bench(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run the command in a process of its own, which does not look for modules in its folder; what it printed."""
    run = Bench(*arguments, folder=folder, paths=(folder.parent / "site",))
    assert run.wait() == code, run.said
    return run.said


def test_a_metric_in_a_file_shows_up_in_both_tables(folder: Path) -> None:
    bench(folder, "run", "tiny.toml", "--seeds", "2", "--plugin", "my_metric.py")
    scores = pd.read_csv(folder / "results/tiny/scores.csv")
    board = pd.read_csv(folder / "results/tiny/leaderboard.csv")
    assert scores["sparsity"].between(0, 1).all()
    assert {"sparsity_mean", "sparsity_ci_low", "pareto_sparsity"} <= set(board.columns)


def test_a_metric_named_in_the_grid_and_one_of_an_installed_package(folder: Path) -> None:
    bench(
        folder, "run", "tiny.toml", "--seeds", "1", "--set", 'metrics=["mig", "my_metric:sparsity", "active"]'
    )
    scores = pd.read_csv(folder / "results/tiny/scores.csv")
    assert {"mig", "sparsity", "active", "active_of"} <= set(scores.columns)
    assert "active" in bench(folder, "list", "metrics")


def test_scoring_adds_a_metric_without_training(folder: Path) -> None:
    bench(folder, "run", "tiny.toml", "--seeds", "1")
    weights = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}
    before = pd.read_csv(folder / "results/tiny/scores.csv")
    bench(folder, "score", "results/tiny", *ALLOWED, "--metric", "my_metric:sparsity", "--metric", "beta_vae")
    after = pd.read_csv(folder / "results/tiny/scores.csv")
    assert {"sparsity", "beta_vae"} <= set(after.columns) - set(before.columns)
    assert after["mig"].equals(before["mig"])
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")} == weights
    assert "sparsity_mean" in pd.read_csv(folder / "results/tiny/leaderboard.csv")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (
            "broken.py",
            "import nothing_of_the_kind\n",
            "ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        ),
        ("wrong.py", "def spread(z, y):\n    return z.std()\n", "it has only spread(z, y)"),
        ("empty.py", "", "it has no function"),
        ("script.py", "import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("absent.py", None, "there is no plug-in file absent.py"),
    ],
)
def test_a_plugin_that_gives_no_metric_is_refused(
    folder: Path, name: str, content: str | None, reason: str
) -> None:
    if content is not None:
        (folder / name).write_text(content)
    np.savez(folder / "codes.npz", codes=np.eye(6), factors=np.arange(6)[:, None])
    assert reason in bench(folder, "run", "tiny.toml", "--plugin", name, code=2)
    assert reason in bench(folder, "score", "--codes", "codes.npz", "--plugin", name, code=2)
    assert not (folder / "results").exists()


def test_a_plugin_may_import_what_lies_beside_it(folder: Path) -> None:
    (folder / "plug").mkdir()
    (folder / "plug" / "halves.py").write_text("def half(x):\n    return x / 2\n")
    (folder / "plug" / "spread.py").write_text(
        "from halves import half\n\ndef spread(codes, factors):\n    return half(codes.std())\n"
    )
    np.savez(folder / "codes.npz", codes=np.eye(6), factors=np.arange(6)[:, None])
    for limit in ((), ("--metric-limit", "60s")):  # here, and in a process of its own
        output = bench(folder, "score", "--codes", "codes.npz", "--plugin", "plug/spread.py", *limit)
        scores = dict(line.split(maxsplit=1) for line in output.splitlines() if " " in line)
        assert float(scores["spread"].split()[0]) == pytest.approx(np.eye(6).std() / 2, abs=1e-5)


def test_a_broken_metric_is_named_and_the_run_goes_on(folder: Path) -> None:
    (folder / "raises.py").write_text("def unlucky(codes, factors):\n    return 1 / 0\n")
    output = bench(
        folder,
        "run",
        "tiny.toml",
        "--seeds",
        "1",
        "--plugin",
        "raises.py",
    )
    assert "raises:unlucky gave no score" in output
    assert "ZeroDivisionError" in output
    scores = pd.read_csv(folder / "results/tiny/scores.csv")
    assert scores["mig"].notna().all()
    assert "unlucky" not in scores
    # Mended, it is scored, and nothing is trained again.
    (folder / "raises.py").write_text("def unlucky(codes, factors):\n    return 0.5\n")
    bench(folder, "score", "results/tiny", *ALLOWED, "--plugin", "raises.py")
    assert (pd.read_csv(folder / "results/tiny/scores.csv")["unlucky"] == 0.5).all()


def test_duplicates_are_refused(folder: Path) -> None:
    (folder / "twin.py").write_text("def mig(codes, factors):\n    return 1.0\n")
    assert "both give 'mig'" in bench(folder, "run", "tiny.toml", "--plugin", "twin.py", code=2)
    points = folder.parent / "site" / "their_metrics-1.0.dist-info" / "entry_points.txt"
    points.write_text("[disentangle_bench.metrics]\nmig = their_metrics:active\n")
    assert "must choose another name" in bench(folder, "run", "tiny.toml", code=2)
    assert not (folder / "results").exists()


def test_a_file_that_hides_an_installed_module_is_refused(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("")
    with pytest.raises(BenchError, match="installed module"):
        registry.load_plugin(tmp_path / "json.py")


def test_a_model_and_a_data_set_of_ones_own(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from disentangle_bench.models.objective import Hyper\n"
        "from disentangle_bench.models.vae import BetaVAE\n"
        "from tiny_data import SQUARES as mydata\n"
        "class Heavy(BetaVAE):\n"
        "    beta = Hyper(9.0)\n"
    )
    bench(
        folder,
        "run",
        "tiny.toml",
        "--set",
        'models=[{name="mine:Heavy"}]',
        "--set",
        'datasets=[{name="mine:mydata"}]',
    )
    assert set(pd.read_csv(folder / "results/tiny/scores.csv")["beta"]) == {9.0}


def test_scoring_anyones_codes(tmp_path: Path) -> None:
    factors = np.stack(np.meshgrid(np.arange(5), np.arange(4), np.arange(3), indexing="ij"), -1).reshape(
        -1, 3
    )
    factors = np.repeat(factors, 100, axis=0)
    np.savez(tmp_path / "codes.npz", codes=factors.astype(np.float32), factors=factors)
    result = CliRunner().invoke(main, ["score", "--codes", str(tmp_path / "codes.npz"), "--metric", "mig"])
    assert result.exit_code == 0
    name, score, chance, ceiling = result.stdout.split()
    assert name == "mig"
    assert float(score) == pytest.approx(1, abs=0.01)
    assert float(ceiling) == pytest.approx(1, abs=0.01)
    # Beside it what the same table gives to random codes of the same shape.
    expected = score_codes(random_codes(len(factors), 3), factors, ["mig"])["mig"]
    assert chance == f"{expected:.6g}"
    np.savez(tmp_path / "alone.npz", codes=np.zeros((48, 2)) + np.arange(48)[:, None])
    assert CliRunner().invoke(main, ["score", "--codes", str(tmp_path / "alone.npz")]).exit_code == 2
    with_set = [
        "score",
        "--codes",
        str(tmp_path / "alone.npz"),
        "--dataset",
        "tiny_data:SQUARES",
        "--metric",
        "mig",
    ]
    assert CliRunner().invoke(main, with_set).exit_code == 0


def test_one_failing_metric_costs_its_own_line_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    factors = np.arange(40)[:, None] % 4
    np.savez("codes.npz", codes=factors.astype(float), factors=factors)
    Path("slow.py").write_text(
        "import time\n\ndef slow(codes, factors):\n    time.sleep(60)\n    return 1.0\n"
    )
    asked = ["score", "--codes", "codes.npz", "--metric", "mig", "--metric", "tiny_data:crashing_metric"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 1
    assert result.stdout.startswith("mig ")
    assert "crashing_metric" not in result.stdout
    assert "metric tiny_data:crashing_metric gave no score" in result.stderr
    assert "this metric always fails" in result.stderr
    asked = ["score", "--codes", "codes.npz", "--metric", "slow:slow", "--metric-limit", "1s"]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 1
    assert "no answer within 1 s" in result.stderr


def test_what_a_small_table_is_worth_is_said(tmp_path: Path) -> None:
    factors = np.arange(40)[:, None] % 4
    np.savez(tmp_path / "codes.npz", codes=factors.astype(float), factors=factors)
    asked = ["score", "--codes", str(tmp_path / "codes.npz"), "--metric", "explicitness"]
    assert "were trained on too: explicitness 100%" in CliRunner().invoke(main, asked).stderr


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.eye(4), "labels": np.eye(4)}, ("no array `codes`", "z, labels", "np.savez")),
        ({"codes": np.eye(4), "labels": np.eye(4)}, ("no array `factors`", "codes, labels", "--dataset")),
        ({}, ("no arrays of numpy", "np.savez")),
        ({"codes": np.eye(4), "factors": np.zeros((4, 2), int)}, ("every factor has one value only",)),
    ],
)
def test_what_a_file_lacks_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], words: tuple[str]) -> None:
    np.savez(tmp_path / "codes.npz", **arrays)
    result = CliRunner().invoke(main, ["score", "--codes", str(tmp_path / "codes.npz"), "--metric", "mig"])
    assert result.exit_code == 2
    assert all(word in result.output for word in words), result.output


@pytest.mark.parametrize("name", ["codes.csv", "codes.npy"])
def test_codes_without_factors_are_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    np.save(path, np.eye(4)) if name.endswith("npy") else np.savetxt(path, np.eye(4), delimiter=",")
    result = CliRunner().invoke(main, ["score", "--codes", str(path), "--metric", "mig"])
    assert result.exit_code == 2
    assert "holds no array `factors`" in result.output or "no factor" in result.output
    assert "--dataset" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--codes", "codes.npz", "--device", "cpu"],
        ["--codes", "codes.npz", "--data-dir", "data"],
        ["results/tiny", "--metric", "mig", "--seed", "1"],
        ["results/tiny", "--metric", "mig", "--dataset", "dsprites"],
    ],
)
def test_options_that_would_do_nothing_are_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["score", *arguments])
    assert result.exit_code == 2
    assert f"{arguments[-2]} does nothing" in result.output


def test_a_metric_never_overwrites_a_column_of_the_run(folder: Path) -> None:
    (folder / "twin.py").write_text("def beta(codes, factors):\n    return 1.0\n")
    output = bench(
        folder, "run", "tiny.toml", "--plugin", "twin.py", "--set", 'models=[{name="beta_vae"}]', code=2
    )
    assert "'beta', which is a setting of the grid's models" in output
    (folder / "twin.py").write_text(
        "def sizes(codes, factors):\n    return {'sizes': 1.0, 'kl': 2.0}\n\n"
        "def more(codes, factors):\n    return {'more': 1.0, 'mig': 2.0}\n"
    )
    output = bench(folder, "run", "tiny.toml", "--seeds", "1", "--plugin", "twin.py")
    assert "'kl', which is a column of every run" in output
    bench(folder, "score", "results/tiny", *ALLOWED, "--allow", "twin", "--metric", "twin:more")
    scores = pd.read_csv(folder / "results/tiny/scores.csv")
    assert (scores["kl"] != 2).all()
    assert (scores["mig"] <= 1).all()
    assert not {"sizes", "more"} & set(scores.columns)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04junk", b"\x80\x04pickle."])
def test_files_that_hold_no_codes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    result = CliRunner().invoke(main, ["score", "--codes", str(tmp_path / "bad.npz")])
    assert result.exit_code == 2
    assert "cannot be read" in result.output


def test_controls_stand_below_the_models(folder: Path) -> None:
    bench(folder, "run", "tiny.toml", "--seeds", "2", "--set", "controls=true")
    board = pd.read_csv(folder / "results/tiny/leaderboard.csv")
    controls = board[board["model"].str.startswith("control: ")].set_index("model")
    assert controls["rank"].isna().all()
    assert not controls["pareto_mig"].any()
    assert (controls["n_seeds"] == 2).all()
    assert {
        "control: ground_truth",
        "control: rotated",
        "control: random",
        "control: untrained",
        "control: pca",
    } <= set(controls.index)
    assert controls.loc["control: ground_truth", "mig_mean"] > 0.99
    assert controls.loc["control: random", "mig_mean"] < controls.loc["control: ground_truth", "mig_mean"]
    assert board["rank"].notna().sum() == 3


def test_calibrate_writes_its_table(folder: Path) -> None:
    output = bench(
        folder, "calibrate", "tiny_data:SQUARES", "--metric", "mig", "--out", "c.csv", "--seeds", "2"
    )
    table = pd.read_csv(folder / "c.csv")
    assert "ground_truth" in output
    assert set(table["seed"]) == {0, 1}
    assert table.set_index("control").loc["ground_truth", "mig"].min() > 0.99


def test_the_control_up_to_symmetries_stands_where_the_data_has_some() -> None:
    plain = tiny_data.squares()
    # As if images did not show which row the square is in.
    blind = replace(plain, symmetry=Symmetry("row", "light", torch.zeros(3, 4)))
    scoring, phases = Scoring(("mig",), ScoringSpec()), PhasesOf(Silent(), ["controls"])
    without, having = (
        {row["control"]: row["mig"] for row in calibrate(data, scoring, [0], phases).rows}
        for data in (plain, blind)
    )
    assert without.keys() | {"symmetric"} == having.keys()
    assert "symmetric" not in without
    # Two of three factors are told, each by its own latent.
    assert having["symmetric"] == pytest.approx(2 / 3, abs=0.01)
    assert having["ground_truth"] == pytest.approx(1, abs=0.01)
