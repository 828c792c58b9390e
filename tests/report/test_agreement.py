"""UDR in tables: from the codes kept with runs, by hand; and what choosing by it costs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_leaderboard import THREE, many

from disentangle_bench.metrics.udr import udr
from disentangle_bench.records.run_record import SAMPLE, load_sample
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.report.study import make_tables
from disentangle_bench.report.tables import Tables, tables_of
from disentangle_bench.study.run import run

RNG = np.random.default_rng(5)
CODES = RNG.normal(size=(200, 3)).astype(np.float32)
MIXED = (CODES @ np.linalg.qr(RNG.normal(size=(3, 3)))[0]).astype(np.float32)


def made(samples: dict[tuple[str, float | None], list[np.ndarray]]) -> Tables:
    """The hand's study in which the runs of a setting have these codes."""
    records = many(THREE)
    kept = {}
    for record in records:
        codes = samples.get((record.spec.model, record.spec.hypers.get("beta")))
        if codes is not None and record.spec.seed < len(codes):
            kept[record.spec.id] = {"codes": codes[record.spec.seed]}
    return tables_of(runs_table(records), sample_of=kept.get)


def test_runs_that_agree_have_a_high_udr_and_choose_their_setting() -> None:
    tables = made(
        {("vae", None): [CODES, CODES, MIXED], ("beta_vae", 2.0): [CODES, -2 * CODES, CODES[:, ::-1]]}
    )
    rows = tables.leaderboard.set_index(["model", "beta"])
    assert rows.loc[("beta_vae", 2.0), "udr_mean"] == pytest.approx(0.9, abs=0.02)
    assert np.isnan(rows.loc[("beta_vae", 4.0), "udr_mean"])
    columns = list(tables.leaderboard.columns)  # a narrow terminal shows the first of them
    assert columns.index("mig_mean") < columns.index("factor_vae_mean") < columns.index("udr_mean")
    vae = tables.runs[tables.runs["model"] == "vae"].sort_values("seed")
    assert vae["udr"].tolist() == pytest.approx(udr([CODES, CODES, MIXED]).tolist())
    assert vae["udr"].iloc[2] < vae["udr"].iloc[0] < 0.9
    models = tables.table("models")
    assert set(models[models["model"] == "beta_vae"]["best_by_udr"]) == {"beta=2"}


def test_what_a_choice_costs() -> None:
    tables = made({("vae", None): [CODES] * 3, ("beta_vae", 4.0): [MIXED, CODES, CODES]})
    choice = tables.table("choice").set_index(["metric", "chosen_by"])
    # The means of mig: vae .20, beta=2 .22, beta=4 .02. The highest ELBO is the vae's.
    assert choice.loc[("mig", "udr"), ["model", "mean", "best", "regret"]].tolist() == pytest.approx(
        ["vae", 0.2, 0.22, 0.02]
    )
    assert choice.loc[("mig", "elbo"), "model"] == "vae"
    assert choice.loc[("mig", "random"), "mean"] == pytest.approx(0.44 / 3)
    assert choice.loc[("mig", "random"), "regret"] == pytest.approx(0.22 - 0.44 / 3)
    assert (choice["regret"] >= 0).all()
    assert set(choice["n_settings"]) == {3}


def test_one_run_agrees_with_nobody() -> None:
    tables = made({("vae", None): [CODES]})
    assert "udr" not in tables.runs
    assert "udr_mean" not in tables.leaderboard
    assert set(tables.table("choice")["chosen_by"]) == {"elbo", "random"}
    assert tables.table("models")["best_by_udr"].isna().all()


def test_codes_of_other_images_are_not_compared() -> None:
    assert "udr" not in made({("vae", None): [CODES, CODES[:100]]}).runs


def test_codes_too_wide_to_compare_have_no_udr() -> None:
    wide = np.zeros((3, 1_001), dtype=np.float32)
    assert "udr" not in made({("vae", None): [wide, wide]}).runs


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    grid = {
        "name": "agree",
        "seeds": 3,
        "metrics": ["mig"],
        "datasets": [{"name": "tiny_data:SQUARES"}],
        "models": [{"name": "vae"}, {"name": "autoencoder"}],
        "network": {"latents": 3, "channels": [4, 4, 4, 4], "hidden": 8},
        "training": {"steps": 20, "batch_size": 8, "learning_rate": 0.003},
    }
    return StudyDir(run(grid, tmp_path_factory.mktemp("agree") / "study", device="cpu", jobs=1).path)


def test_every_trained_run_keeps_its_codes(study: StudyDir) -> None:
    for record in study.records(curves=False):
        sample = study.sample(record.spec.id)
        assert sample["codes"].shape == (48, 3)
        assert ("kl" in sample) == (record.spec.model == "vae")
    scores = pd.read_csv(study.path / "scores.csv")
    assert scores["udr"].between(0, 1).all()
    assert make_tables([study]).runs["udr"].tolist() == pytest.approx(scores["udr"].tolist())


@pytest.mark.parametrize("content", [None, b"", b"no safetensors", b"\xff" * 64])
def test_a_sample_that_cannot_be_read_costs_one_measure(
    study: StudyDir, tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / SAMPLE).write_bytes(content)
    assert load_sample(tmp_path) is None
