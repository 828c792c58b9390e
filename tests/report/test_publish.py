"""A study put into rows of results/runs.csv gives the tables that the study itself has."""

import io
from pathlib import Path

import pandas as pd
import publish
import pytest
import small_track
import tomli_w
from published_runs import published_tables

from disentangle_bench.grid_file import read_grid
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.study import make_tables
from disentangle_bench.study.run import run

ROOT = Path(__file__).parents[2]
LABEL = "tiny_data:SQUARES"
GRID = {
    "name": "tiny",
    "seeds": 3,
    "controls": True,
    "metrics": ["mig", "infomec", "unsupervised"],
    "datasets": [{"name": LABEL}],
    "models": [{"name": "vae"}, {"name": "beta_vae", "beta": [2, 4]}, {"name": "autoencoder"}],
    "network": {"latents": 3, "channels": [4, 4, 4, 4], "hidden": 8},
    "training": {"steps": 30, "batch_size": 8, "learning_rate": 0.003},
    "scoring": {"points": "all", "reconstruction_points": 40},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(GRID, tmp_path_factory.mktemp("publish") / "study", device="cpu", jobs=1).path


@pytest.fixture(scope="module")
def rows(study: Path) -> pd.DataFrame:
    """As they come back from a file."""
    columns = pd.read_csv(ROOT / "results" / "runs.csv", nrows=0).columns
    made = pd.DataFrame(publish.rows_of(study, "tiny", "ab" * 20)).reindex(columns=columns)
    text = made.to_csv(index=False, float_format="%.12g")  # fewer digits make ties
    return pd.read_csv(io.StringIO(text)).fillna({"setting": ""})


def test_published_rows_make_the_studys_tables(study: Path, rows: pd.DataFrame, tmp_path: Path) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps(GRID))
    own = make_tables([StudyDir(study)])
    made = published_tables(rows, "tiny", str(grid), LABEL)
    shared = [name for name in made.leaderboard.columns if name in own.leaderboard.columns]
    assert {"mig_mean", "infom_ci_low", "excess_nats_mean", "best_mig", "rank"} <= set(shared)
    pd.testing.assert_frame_equal(made.leaderboard[shared], own.leaderboard[shared], rtol=1e-5, atol=1e-6)
    for name in ("variance", "metric_correlation", "improvement"):
        pd.testing.assert_frame_equal(made.table(name), own.table(name), rtol=1e-4, atol=2e-3)


def test_seeds_of_one_setting_have_a_udr(rows: pd.DataFrame) -> None:
    trained = rows[~rows["model"].str.startswith("control")]
    assert len(trained) == 12
    assert trained["udr"].between(0, 1).all()
    assert rows[rows["model"].str.startswith("control")]["udr"].isna().all()


def test_runs_of_other_steps_are_no_seeds_of_a_setting(tmp_path: Path) -> None:
    for steps, seeds in ((2, 2), (4, 3)):
        grid = GRID | {"models": [{"name": "vae"}], "seeds": seeds, "controls": False}
        grid["training"] = GRID["training"] | {"steps": steps}
        for study in ("both", str(steps)):
            run(grid, tmp_path / study, device="cpu", jobs=1)

    def udr(study: str, seeds: int | None = None) -> pd.Series:
        rows = pd.DataFrame(publish.rows_of(tmp_path / study, "tiny", None, seeds))
        return rows.set_index(["steps", "seed"])["udr"].sort_index()

    pd.testing.assert_series_equal(udr("both"), pd.concat([udr("2"), udr("4")]))
    pd.testing.assert_series_equal(udr("both", seeds=3), udr("4"))


def test_a_setting_takes_the_place_of_its_old_rows_and_no_other(study: Path, rows: pd.DataFrame) -> None:
    old = rows.assign(git_commit="old")
    other = rows.assign(experiment="other", git_commit="old")
    part = [
        row for row in publish.rows_of(study, "tiny", "new") if row["model"] in ("beta_vae", "control: pca")
    ]
    new = pd.DataFrame(part).reindex(columns=rows.columns)
    whole = publish.replaced(pd.concat([old, other]), new)
    counts = whole.groupby(["experiment", "git_commit", "model"], dropna=False).size()
    assert len(whole) == 2 * len(rows)
    assert set(counts["other"].index.get_level_values(0)) == {"old"}
    # Controls are rows of no commit where they are new.
    fresh = whole[(whole["experiment"] == "tiny") & (whole["git_commit"] != "old")]
    assert list(fresh["model"].unique()) == ["beta_vae", "control: pca"]
    assert len(fresh) == len(new)


def test_settings_with_other_than_so_many_seeds_are_left_out(study: Path) -> None:
    assert {row["model"] for row in publish.rows_of(study, "tiny", None, seeds=3)} >= {"vae", "beta_vae"}
    left = [row for row in publish.rows_of(study, "tiny", None, seeds=2)]
    assert left
    assert all(row["model"].startswith("control: ") for row in left)


def test_a_commit_is_shortened() -> None:
    assert publish.shortened("0123456789abcdef0123") == "0123456789ab"
    assert publish.shortened("0123456789abcdef0123+changes") == "0123456789ab+changes"
    assert publish.shortened(None) is None


@pytest.mark.parametrize("block", ["leaderboard", "against_vae", "choice"])
def test_the_tracks_tables_are_made_of_any_study(
    block: str, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps(GRID))
    found = {LABEL: published_tables(rows, "tiny", str(grid), LABEL)}
    monkeypatch.setattr(small_track, "tables", lambda fitted=True: found)
    monkeypatch.setattr(small_track, "SHOWN", ["mig"])
    text = getattr(small_track, block)(LABEL)
    assert text.startswith("| ")
    assert len({line.count("|") for line in text.splitlines() if line.startswith("| ")}) <= 2


@pytest.mark.parametrize("block", ["told_apart", "variance"])
def test_tables_over_all_data_sets(
    block: str, rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps(GRID))
    monkeypatch.setattr(
        small_track,
        "tables",
        lambda fitted=True: {"squares": published_tables(rows, "tiny", str(grid), LABEL)},
    )
    monkeypatch.setattr(small_track, "DATASETS", ["squares"])
    lines = getattr(small_track, block)().splitlines()
    assert "squares" in lines[0]
    assert any(line.startswith("| mig |") for line in lines)


def test_the_order_on_two_data_sets(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four settings in the opposite order: 2 of 24 orders are as far from no correlation."""
    grid = tmp_path / "grid.toml"
    grid.write_text(tomli_w.dumps(GRID))
    turned = rows.assign(mig=-rows["mig"])
    found = {
        name: published_tables(data, "tiny", str(grid), LABEL)
        for name, data in (("squares", rows), ("turned", turned))
    }
    monkeypatch.setattr(small_track, "tables", lambda fitted=True: found)
    monkeypatch.setattr(small_track, "DATASETS", list(found))
    lines = small_track.across().splitlines()
    assert any(line.startswith("| mig | -1.00 | 0.0833 |") for line in lines)
    assert any(line.startswith("| reconstruction_nats | 1.00 | 0.0833 |") for line in lines)


def test_triples_of_seeds_say_what_the_quickstart_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six seeds made up: in the first three one row is clearly best, in the others none."""
    published = small_track.read_runs()
    template = published[published["experiment"] == "gpu-short"].iloc[0]
    (dataset,) = read_grid(ROOT / "grids" / "quickstart.toml").datasets
    rows = [
        {
            **template,
            "experiment": "small-quickstart",
            **{"dataset": dataset.label, "model": model, "setting": setting, "seed": seed},
            **{
                "dci_disentanglement": level * (seed < 3) + (seed % 3) / 100,
                "reconstruction_nats": 20 + 50 * level + seed % 3,
            },
        }
        for model, setting, level in [("vae", "", 0.1), ("ada_gvae", "beta=1", 0.4)]
        for seed in range(6)
    ]
    monkeypatch.setattr(small_track, "read_runs", lambda: pd.DataFrame(rows))
    _, _, first, second = small_track.triples().splitlines()
    best = "Best by DCI disentanglement is ada_gvae (beta=1): 0.410 [0.385, 0.435] over 3 seeds"
    assert first.startswith(f"| 0 to 2 | {best}")
    assert "15.0 nats worse than vae" in first
    assert second.startswith("| 3 to 5 | By DCI disentanglement no row is distinguished from the best mean")
