"""Rows that were not trained here stand in the leaderboard beside runs, whatever they lack."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import synthetic_study
from rich.console import Console
from synthetic_study import FOREIGN_METRICS, foreign_row

from disentangle_bench.errors import BenchError
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.compare import compare, parse_choice
from disentangle_bench.report.figures import all_figures, picture, tradeoff
from disentangle_bench.report.foreign import TRAINED, ForeignRow
from disentangle_bench.report.html import page
from disentangle_bench.report.latex import latex
from disentangle_bench.report.render import markdown, readable
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.report.study import make_tables
from disentangle_bench.report.tables import Tables, tables_of
from disentangle_bench.report.terminal import terminal_tables

METRICS = tuple(FOREIGN_METRICS)
MODELS = {"vae": ("", [0.0]), "beta_vae": ("beta", [4.0])}


def trained(**settings: object) -> list:
    runs = synthetic_study.records(1, MODELS, 3, METRICS, **settings)
    return [run for run in runs if run.failure is None]


def tables(*rows: ForeignRow, runs: list | None = None) -> Tables:
    return tables_of(runs_table([*(trained() if runs is None else runs), *rows]))


def by_model(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index("model")


def test_a_foreign_row_is_ranked_among_the_runs_of_the_same_data() -> None:
    made = tables(*(foreign_row(seed) for seed in range(3)))
    shown = by_model(made.leaderboard)
    assert set(made.rows["group"]) == {0}
    assert shown["rank"].to_dict() == {"their codes": 1, "beta_vae": 2, "vae": 3}
    assert shown["source"].to_dict() == {"their codes": "codes file", "beta_vae": TRAINED, "vae": TRAINED}
    theirs = shown.loc["their codes"]
    assert theirs["mig_mean"] == pytest.approx(0.951)
    assert (theirs["n_seeds"], theirs["n_failed"], theirs["reconstruction_nats_n"]) == (3, 0, 0)
    assert theirs[["steps", "beta", "reconstruction_nats_mean", "elbo_ci_low"]].isna().all()
    assert theirs["best_mig"]
    assert not shown.loc["vae", "best_mig"]
    assert not theirs[["best_reconstruction_nats", "pareto_mig", "pareto_factor_vae"]].any()
    # The trained rows keep their settings, marks of reconstruction and stars.
    alone = by_model(tables().leaderboard)
    same = [name for name in alone.columns if name.startswith(("pareto", "reconstruction", "n_", "best_rec"))]
    pd.testing.assert_frame_equal(shown.loc[alone.index, same], alone[same])
    assert "source" not in alone
    assert "reconstruction_likelihood" not in shown
    assert made.rows["setting"].tolist() == ["", "beta=4", ""]


def test_an_entry_of_one_seed_has_a_rank_and_neither_interval_nor_mark() -> None:
    theirs = by_model(tables(foreign_row()).leaderboard).loc["their codes"]
    assert theirs["rank"] == 1
    assert pd.isna(theirs["mig_ci_low"])
    assert not theirs["best_mig"]


def test_a_score_that_is_missing_has_no_rank() -> None:
    scores = {"mig": None, "factor_vae": 0.5}
    made = tables(*(foreign_row(seed, scores=scores) for seed in range(3)))
    theirs = by_model(made.leaderboard).loc["their codes"]
    assert pd.isna(theirs["rank"])
    assert (theirs["mig_n"], theirs["factor_vae_n"]) == (0, 3)
    assert "their codes" not in set(made.table("improvement").query("metric == 'mig'")["model_a"])


@pytest.mark.parametrize(
    "change",
    [
        {"data_fingerprint": "cd" * 32},
        {"provenance": "official"},
        {"points": 500},
        {"reconstruction_points": 5},
        {"metrics": FOREIGN_METRICS | {"mig": FOREIGN_METRICS["mig"] | {"revision": 2}}},
    ],
)
def test_what_measures_another_thing_is_ranked_apart(change: dict) -> None:
    made = tables(*(foreign_row(seed, **change) for seed in range(3)))
    assert made.rows.groupby("group")["rank"].apply(list).tolist() == [[1, 2], [1]]
    assert any("ranked apart" in warning for warning in made.warnings)


def test_a_row_with_reconstruction_is_compared_within_its_likelihood() -> None:
    scores = {"mig": 0.5, "factor_vae": 0.5, "reconstruction_nats": 1.0, "elbo": -2.0}
    like = [
        foreign_row(seed, scores=scores, reconstruction_points=10_000, likelihood="bernoulli")
        for seed in range(3)
    ]
    made = tables(*like)
    theirs = by_model(made.leaderboard).loc["their codes"]
    assert theirs["best_reconstruction_nats"]
    assert theirs["pareto_mig"]
    assert len(tradeoff(made).axes) == 2
    own = tables(*(replace(row, likelihood=None) for row in like))
    likelihoods = by_model(own.leaderboard)["reconstruction_likelihood"]
    assert likelihoods["their codes"] == "their codes's own"
    assert len(tradeoff(own).axes) == 4  # nats of two scales are drawn apart
    assert own.table("models").query("model == 'their codes'")["best_by_elbo"].tolist() == ["(only one)"] * 2


def test_tables_of_models_and_variance_without_reconstruction() -> None:
    plain, made = tables(), tables(*(foreign_row(seed) for seed in range(3)))
    theirs = made.table("models").query("model == 'their codes'").set_index("metric")
    assert theirs["best_by_elbo"].isna().all()
    assert theirs.loc["mig", "best_by_labels_mean"] == pytest.approx(0.951)
    assert theirs["hypervolume"].isna().all()
    # Shares of variance are about what was trained; a reconstruction that some rows lack has its row all the same.
    pd.testing.assert_frame_equal(made.table("variance"), plain.table("variance"))
    assert "reconstruction_nats" in set(made.table("variance")["measure"])
    nats = made.table("metric_correlation").set_index(["measure_a", "measure_b"])
    assert nats.loc[("reconstruction_nats", "elbo"), "n_runs"] == len(trained())
    assert nats.loc[("mig", "factor_vae"), "n_runs"] == len(trained()) + 3
    assert nats.loc[("reconstruction_nats", "elbo"), "spearman"] > 0
    beaten = made.table("improvement").query("chosen_by == 'labels' and metric == 'mig'")
    assert set(beaten["model_a"]) | set(beaten["model_b"]) == {"vae", "beta_vae", "their codes"}
    line = made.table("measures").query("model == 'their codes' and measure == 'mig'").iloc[0]
    assert (line["source"], line["n"]) == ("codes file", 3)


def test_settings_make_rows_and_a_name_that_a_model_has_gets_its_source() -> None:
    rows = [
        foreign_row(0, settings={"layer": 1, "steps": 5}),
        foreign_row(0, settings={"layer": 2, "steps": 5}),
        foreign_row(1, settings={"layer": 2, "steps": 5}),
        foreign_row(1, settings={"layer": 2, "steps": 5}),
        foreign_row(0, name="vae"),
    ]
    made = tables(*rows)
    shown = made.leaderboard[made.leaderboard["source"] != TRAINED]
    found = zip(shown["model"], shown["layer"].fillna(0), shown["n_seeds"], strict=True)
    assert set(found) == {("their codes", 1, 1), ("their codes", 2, 2), ("vae (codes file)", 0, 1)}
    assert made.runs.attrs["repeated"] == 1
    assert "layer=2" in set(made.rows["setting"])
    assert by_model(made.leaderboard).loc["vae", "n_seeds"] == len(
        [r for r in trained() if r.spec.model == "vae"]
    )


def test_a_leaderboard_of_foreign_rows_alone() -> None:
    made = tables(*(foreign_row(seed) for seed in range(3)), runs=[])
    assert made.leaderboard["rank"].tolist() == [1]
    assert all(text.strip() for text in made.files().values())
    assert picture(tradeoff(made), "png").startswith(b"\x89PNG")
    assert "their codes" in page(made, [], "theirs", synthetic_study.GRID)


def test_people_see_where_a_row_is_from() -> None:
    made = tables(*(foreign_row(seed) for seed in range(3)))
    text = readable(made.rows, made.leaderboard).set_index("model")
    assert (text.loc["their codes", "source"], text.loc["their codes", "steps"]) == ("codes file", "")
    assert str(text.loc["their codes", "reconstruction (nats)"]) == "-"
    assert text.loc["vae", "steps"] == "300000"
    assert "| their codes | codes file |" in markdown(made.rows, made.leaderboard)
    assert "\ntheir codes & codes file & 3 & " in latex(made.rows, made.leaderboard)
    console = Console(width=160, file=io.StringIO())
    console.print(*terminal_tables(made.rows, made.leaderboard, "t", 160))
    assert "codes file" in console.file.getvalue()
    assert "set0: some rows were not trained here (codes file)" in made.warnings


def test_the_page_and_the_figures_show_them() -> None:
    made = tables(*(foreign_row(seed) for seed in range(3)))
    runs = trained()
    rows = dict(zip(made.runs["run"], made.row_of_run, strict=True))
    figures = all_figures(made, [(rows[run.spec.id], run) for run in runs])
    assert len(figures["tradeoff"].axes) == 2
    (legend,) = figures["tradeoff"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["beta_vae", "vae"]
    text = page(made, [], "with theirs", synthetic_study.GRID)
    assert re.search(r"their codes</span></th>\s*<td>codes file</td>", text)
    assert f"{len(runs)} runs: {len(runs)} finished" in text
    assert "NaN" not in text


def test_runs_can_be_compared_with_them_by_source_and_by_numbers() -> None:
    grouped = tables(*(foreign_row(seed) for seed in range(3))).grouped_runs
    a, b = parse_choice("source=codes file", grouped), parse_choice("model=vae,steps=300000.0", grouped)
    found = compare(grouped, a, b).set_index("measure")
    assert found.loc["mig", "probability"] == 1
    assert pd.isna(found.loc["reconstruction_nats", "probability"])


def test_a_study_and_its_entries_together(tmp_path: Path) -> None:
    study = synthetic_study.write(StudyDir(tmp_path / "study"), iter(trained()))
    made = make_tables([study], foreign=[foreign_row(), foreign_row(1)])
    assert len(made.seconds) == len(trained())
    assert len(made.runs) == len(trained()) + 2
    assert made.runs["run"].isna().sum() == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "needs a name"),
        ({"source": TRAINED}, "source other than 'trained here'"),
        ({"scores": {"mig": 0.5}}, "'factor_vae' has no score 'factor_vae'"),
        ({"scores": {"mig": float("nan"), "factor_vae": 0.5}}, "'mig' is nan"),
        ({"scores": {"mig": 0.5, "factor_vae": 0.5, "steps": 3.0}}, "'steps' has the name of another column"),
    ],
)
def test_what_is_no_row_is_refused(change: dict, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        foreign_row(**change)
