"""The leaderboard against a small table worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from disentangle_bench.errors import BenchError
from disentangle_bench.report.figures import curves, png, tradeoff
from disentangle_bench.report.leaderboard import interval, leaderboard, pareto
from disentangle_bench.report.render import markdown, readable, terminal_table
from disentangle_bench.report.runs_table import load_scores, runs_table
from disentangle_bench.report.study import write_tables
from disentangle_bench.rundir import RunRecord, StudyDir
from disentangle_bench.spec import check_grid, expand

# model, beta -> per seed (reconstruction, mig, factor_vae); None is a failed run
NUMBERS = {
    ("vae", None): [(100.0, 0.10, 0.5), (110.0, 0.30, 0.7)],
    ("beta_vae", 2.0): [(120.0, 0.40, 0.6), None],
    ("beta_vae", 4.0): [(130.0, 0.25, 0.9), (150.0, 0.35, 0.9)],
    ("factor_vae", None): [None, None],
}
GRID = check_grid(
    {
        "name": "hand",
        "seeds": 2,
        "metrics": ["mig", "factor_vae"],
        "datasets": [{"name": "dsprites_rendered", "every": {"posX": 4}}],
        "models": [{"name": "vae"}, {"name": "beta_vae", "beta": [2, 4]}, {"name": "factor_vae"}],
        "training": {"steps": 7},
    }
)


def records() -> list[RunRecord]:
    return [one(spec, NUMBERS[spec.model, spec.hypers.get("beta")][spec.seed]) for spec in expand(GRID)]


def one(spec, numbers) -> RunRecord:
    provenance = {
        "data": {"provenance": "rendered", "fingerprint": "ab" * 32, "image_shape": [1, 64, 64]},
        "device": "cpu",
        "precision": "float32",
        "seconds": {"training": 1.5},
    }
    if numbers is None:
        return RunRecord(spec, provenance, failure="diverged: loss\n\ndetails")
    reconstruction, mig, factor_vae = numbers
    scores = {
        "reconstruction_nats": reconstruction,
        "mse": 0.1,
        "kl": 9.0,
        "elbo": -reconstruction - 9,
        "mig": mig,
    }
    scores |= {"factor_vae": factor_vae, "factor_vae_active": 10.0}
    metrics = {name: {"headlines": [name], "revision": 1, "paper": "p"} for name in ("mig", "factor_vae")}
    curve = [{"step": 1.0, "reconstruction": 9.0, "kl": 1.0}, {"step": 2.0, "reconstruction": 5.0, "kl": 2.0}]
    return RunRecord(spec, provenance, {"scores": scores, "metrics": metrics}, curve)


@pytest.fixture
def board() -> pd.DataFrame:
    return leaderboard(runs_table(records()))


def row(board: pd.DataFrame, model: str, beta: float | None = None) -> pd.Series:
    chosen = board[
        (board["model"] == model) & (board["beta"].isna() if beta is None else board["beta"] == beta)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_means_and_deviations(board: pd.DataFrame) -> None:
    vae = row(board, "vae")
    assert vae["mig_mean"] == pytest.approx(0.2)
    assert vae["mig_std"] == pytest.approx(math.sqrt(0.02))  # (0.1^2 + 0.1^2) / (2 - 1)
    assert vae["reconstruction_nats_mean"] == 105
    # Two seeds give the resampled means .1, .2, .2, .3 with equal chance, so 95 % lies in [.1, .3].
    assert (vae["mig_ci_low"], vae["mig_ci_high"]) == pytest.approx((0.1, 0.3))
    assert (vae["n_seeds"], vae["n_failed"], vae["steps"]) == (2, 0, 7)


def test_one_seed_has_no_interval_and_failures_are_counted(board: pd.DataFrame) -> None:
    single = row(board, "beta_vae", 2.0)
    assert (single["n_seeds"], single["n_failed"]) == (1, 1)
    assert single["mig_mean"] == pytest.approx(0.4)
    assert single[["mig_std", "mig_ci_low", "mig_ci_high"]].isna().all()
    lost = row(board, "factor_vae")
    assert (lost["n_seeds"], lost["n_failed"]) == (0, 2)
    assert pd.isna(lost["mig_mean"])
    assert pd.isna(lost["rank"])
    assert not lost["pareto_mig"]


def test_pareto_and_ranks(board: pd.DataFrame) -> None:
    # (reconstruction, mig): vae (105, .2), beta 2 (120, .4), beta 4 (140, .3): the last is beaten by the second.
    marks = {
        (m, None if pd.isna(b) else b): p for m, b, p in board[["model", "beta", "pareto_mig"]].to_numpy()
    }
    assert marks == {
        ("vae", None): True,
        ("beta_vae", 2.0): True,
        ("beta_vae", 4.0): False,
        ("factor_vae", None): False,
    }
    # (reconstruction, factor_vae): (105, .6), (120, .6), (140, .9): the second is beaten by the first.
    assert list(board.sort_values("reconstruction_nats_mean")["pareto_factor_vae"]) == [
        True,
        False,
        True,
        False,
    ]
    assert list(board["rank"].dropna()) == [1, 2, 3]
    assert list(board["mig_mean"].dropna()) == sorted(board["mig_mean"].dropna(), reverse=True)


def test_sorting_by_a_measure_where_low_is_good() -> None:
    table = leaderboard(runs_table(records()), sort="reconstruction_nats")
    assert list(table["reconstruction_nats_mean"].dropna()) == [105, 120, 140]
    tied = leaderboard(runs_table(records()), sort="factor_vae")
    assert list(tied["rank"].dropna()) == [1, 2, 2]
    with pytest.raises(BenchError, match="Did you mean 'mig'"):
        leaderboard(runs_table(records()), sort="mgi")


def test_pareto_keeps_equals_and_splits_by_dataset() -> None:
    table = pd.DataFrame({"dataset": ["a", "a", "b"], "cost": [1.0, 1.0, 9.0], "gain": [0.5, 0.5, 0.1]})
    assert list(pareto(table, "cost", "gain")) == [True, True, True]


def test_columns_and_types_survive_the_csv(tmp_path: Path, board: pd.DataFrame) -> None:
    study = StudyDir(tmp_path / "hand")
    study.create(GRID)
    for kept in records():
        study.save(kept)
    write_tables(study)
    read = pd.read_csv(study.path / "leaderboard.csv")
    settings = ["beta", "gamma"]  # gamma has one value, but only one of the models has it
    assert list(read.columns[:8]) == [
        "dataset",
        "provenance",
        "model",
        *settings,
        "n_seeds",
        "n_failed",
        "steps",
    ]
    assert list(read.columns[8:12]) == [
        f"reconstruction_nats_{s}" for s in ("mean", "std", "ci_low", "ci_high")
    ]
    assert list(read.columns[-3:]) == ["pareto_mig", "pareto_factor_vae", "rank"]
    assert read["pareto_mig"].dtype == bool
    assert read["n_seeds"].dtype == "int64"
    assert read["mig_mean"].dtype == float
    assert read["mig_mean"].tolist() == pytest.approx(board["mig_mean"].tolist(), nan_ok=True)
    scores = pd.read_csv(study.path / "scores.csv")
    assert len(scores) == 8
    assert list(scores.columns[:4]) == ["run", "dataset", "provenance", "model"]
    assert scores["status"].value_counts().to_dict() == {"DONE": 5, "FAILED": 3}
    assert set(scores["dataset"]) == {"dsprites_rendered[posX/4]"}
    pd.testing.assert_frame_equal(load_scores(study.path)[["seed", "mig"]], scores[["seed", "mig"]])


def test_derived_files_are_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    study = StudyDir(tmp_path / "hand")
    study.create(GRID)
    for kept in records():
        study.save(kept)
    names = ("scores.csv", "leaderboard.csv", "tradeoff.png", "curves.png")
    write_tables(study)
    before = {name: (study.path / name).read_bytes() for name in names}
    for name in names:
        (study.path / name).unlink()
    write_tables(study)
    assert {name: (study.path / name).read_bytes() for name in names} == before


def test_interval_of_a_larger_sample_is_near_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    low, high = interval(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)
    assert interval(values) == (low, high)


def test_people_read_rounded_numbers_with_intervals(board: pd.DataFrame) -> None:
    text = readable(board)
    vae = text[text["model"] == "vae"].iloc[0]
    assert vae["mig"] == "0.200* [0.100, 0.300]"
    assert vae["reconstruction (nats)"] == "105.0 [100.0, 110.0]"
    assert text[text["model"] == "factor_vae"].iloc[0]["mig"] == "-"
    lines = markdown(board).splitlines()
    assert len(lines) == 2 + len(board)
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert terminal_table(board, "t").row_count == len(board)


def test_figures_are_pictures(board: pd.DataFrame) -> None:
    assert png(tradeoff(runs_table(records()), board)).startswith(b"\x89PNG")
    assert png(curves(records())).startswith(b"\x89PNG")


def test_a_study_without_runs() -> None:
    with pytest.raises(BenchError, match="no run"):
        leaderboard(runs_table([]))
