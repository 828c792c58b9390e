"""The leaderboard and the tables beside it against small numbers worked out by hand."""

import io
import json
import math
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from synthetic_study import record

from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.scores import COLUMNS
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import check_grid
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.compare import compare, parse_choice
from disentangle_bench.report.comparison import group_runs
from disentangle_bench.report.figures import all_figures, picture, tradeoff
from disentangle_bench.report.latex import latex
from disentangle_bench.report.render import markdown, only, ranks_with_ties, readable
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.report.study import load_scores, make_tables, write_tables
from disentangle_bench.report.tables import Tables, tables_of
from disentangle_bench.report.terminal import terminal_tables
from disentangle_bench.report.words import in_words

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
    kept = {"likelihood": "bernoulli", "floor_nats": None, "constant_nats": None}
    return RunRecord(spec, provenance, {"scores": scores, "metrics": metrics, "reconstruction": kept}, curve)


def leaderboard(runs: list[RunRecord], sort: str | None = None) -> pd.DataFrame:
    return tables_of(runs_table(runs), sort=sort).leaderboard


# As above with three seeds; beta=4 is worse than vae in all, beyond doubt, and beta=2 is not in any.
THREE = {
    ("vae", None): [(100.0, 0.18, 0.5), (110.0, 0.22, 0.7), (105.0, 0.20, 0.6)],
    ("beta_vae", 2.0): [(120.0, 0.25, 0.6), (110.0, 0.20, 0.5), (112.0, 0.21, 0.6)],
    ("beta_vae", 4.0): [(330.0, 0.01, 0.1), (350.0, 0.02, 0.1), (340.0, 0.03, 0.11)],
}


def many(numbers) -> list[RunRecord]:
    """Records of these numbers, a seed for each."""
    specs = {(spec.model, spec.hypers.get("beta")): spec for spec in expand(GRID)}
    return [
        one(specs[key].model_copy(update={"seed": seed}), run)
        for key, runs in numbers.items()
        for seed, run in enumerate(runs)
    ]


@pytest.fixture
def board() -> pd.DataFrame:
    return leaderboard(records())


def row(board: pd.DataFrame, model: str, beta: float | None = None) -> pd.Series:
    chosen = board[
        (board["model"] == model) & (board["beta"].isna() if beta is None else board["beta"] == beta)
    ]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_means_and_deviations(board: pd.DataFrame) -> None:
    vae = row(board, "vae")
    assert vae["mig_mean"] == pytest.approx(0.2)
    measured = tables().table("measures").set_index(["model", "measure"])["std"]
    assert measured["vae", "mig"] == pytest.approx(math.sqrt(0.02))  # (0.1^2 + 0.1^2) / (2 - 1)
    assert vae["reconstruction_nats_mean"] == 105
    assert vae[["mig_ci_low", "mig_ci_high"]].isna().all()  # two seeds say nearly nothing of the spread
    assert (vae["n_seeds"], vae["mig_n"], vae["n_failed"], vae["steps"]) == (2, 2, 0, 7)


def test_three_seeds_have_students_interval() -> None:
    vae = row(leaderboard(many(THREE)), "vae")
    # .18, .22, .2: mean .2, deviation .02, and 4.3027 is the quantile .975 of Student's t with 2 degrees of freedom.
    reach = 4.3027 * 0.02 / math.sqrt(3)
    assert (vae["mig_ci_low"], vae["mig_ci_high"]) == pytest.approx((0.2 - reach, 0.2 + reach), abs=1e-4)


def test_failures_are_counted(board: pd.DataFrame) -> None:
    single = row(board, "beta_vae", 2.0)
    assert (single["n_seeds"], single["n_failed"]) == (1, 1)
    assert single["mig_mean"] == pytest.approx(0.4)
    assert single[["mig_ci_low", "mig_ci_high"]].isna().all()
    lost = row(board, "factor_vae")
    assert (lost["n_seeds"], lost["n_failed"]) == (0, 2)
    assert pd.isna(lost["mig_mean"])
    assert pd.isna(lost["rank"])
    assert not lost["pareto_mig"]


def test_fronts_of_means_and_ranks(board: pd.DataFrame) -> None:
    # (reconstruction, mig): vae (105, .2), beta 2 (120, .4), beta 4 (140, .3): the last is beaten by the second.
    rows = tables_of(runs_table(records())).rows
    marks = {(m, None if pd.isna(b) else b): p for m, b, p in rows[["model", "beta", "front_mig"]].to_numpy()}
    assert marks == {
        ("vae", None): True,
        ("beta_vae", 2.0): True,
        ("beta_vae", 4.0): False,
        ("factor_vae", None): False,
    }
    # (reconstruction, factor_vae): (105, .6), (120, .6), (140, .9): the second is beaten by the first.
    by_cost = rows.sort_values("reconstruction_nats_mean")
    assert list(by_cost["front_factor_vae"]) == [True, False, True, False]
    assert not board[["pareto_mig", "best_mig"]].any(axis=None)  # two seeds tell nothing
    assert list(board["rank"].dropna()) == [1, 2, 3]
    assert list(board["mig_mean"].dropna()) == sorted(board["mig_mean"].dropna(), reverse=True)


def test_sorting_by_a_measure_where_low_is_good() -> None:
    table = leaderboard(records(), sort="reconstruction_nats")
    assert list(table["reconstruction_nats_mean"].dropna()) == [105, 120, 140]
    tied = leaderboard(records(), sort="factor_vae")
    assert list(tied["rank"].dropna()) == [1, 2, 2]
    with pytest.raises(BenchError, match="Did you mean 'mig'"):
        leaderboard(records(), sort="mgi")


def test_columns_and_types_survive_the_csv(tmp_path: Path, board: pd.DataFrame) -> None:
    study = StudyDir(tmp_path / "hand")
    study.write_grid(GRID)
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
    kept = ("mean", "ci_low", "ci_high", "n", "median")
    measures = (
        "reconstruction_nats",
        "excess_nats",
        "excess_share",
        "mse",
        "kl",
        "elbo",
        "mig",
        "factor_vae",
    )
    assert list(read.columns[8:48]) == [f"{measure}_{name}" for measure in measures for name in kept]
    assert len(read.columns) == 48 + 3 + 2 + 1
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
    study.write_grid(GRID)
    for kept in records():
        study.save(kept)
    tables = ("scores", "leaderboard", "measures", "models", "improvement", "variance", "metric_correlation")
    names = (*(f"{name}.csv" for name in tables), "tradeoff.png", "curves.png")
    write_tables(study)
    before = {name: (study.path / name).read_bytes() for name in names}
    for name in names:
        (study.path / name).unlink()
    write_tables(study)
    assert {name: (study.path / name).read_bytes() for name in names} == before


def tables(controls=(), runs=None) -> Tables:
    return tables_of(runs_table(runs or records()), controls)


CONTROLS = [
    {
        "dataset": "dsprites_rendered[posX/4]",
        "provenance": "rendered",
        "rows": [{"control": "rotated|50%", "seed": seed, "mig": 0.9 + seed / 50} for seed in range(2)],
    }
]


def test_people_read_rounded_numbers_with_intervals() -> None:
    made = tables()
    text = readable(made.rows, made.leaderboard).set_index("model")
    vae = text.loc["vae"]
    assert str(vae["mig"]) == "0.200"
    assert str(text.loc["factor_vae"]["mig"]) == "-"
    lines = markdown(made.rows, made.leaderboard).splitlines()
    assert all(line.count("|") == lines[0].count("|") for line in lines[: 2 + len(made.leaderboard)])
    assert lines[2 + len(made.leaderboard)] == ""
    assert lines[-1].endswith(
        "Fewer than 3 seeds a row: there is no interval, and nothing is marked as best."
    )
    (table,) = terminal_tables(made.rows, made.leaderboard, "t", 200)
    assert table.row_count == len(made.leaderboard)


def printed(made: Tables, width: int, sort: str | None = None) -> list[str]:
    """The lines of the leaderboard in a terminal so wide."""
    console = Console(width=width, file=io.StringIO())
    console.print(*terminal_tables(made.rows, made.leaderboard, "t", width, sort))
    return console.file.getvalue().splitlines()


def test_a_terminal_shows_the_measures_that_it_has_room_for_and_names_the_others() -> None:
    made = tables(CONTROLS, many(THREE))
    wide, narrow = printed(made, 130), printed(made, 80)
    # What all rows share stands above; its brackets are no markup.
    assert wide[1].strip() == "dataset: dsprites_rendered[posX/4], provenance: rendered"
    # Metrics have people's names, models those of the grid.
    titles = " ".join(wide[3:6])
    assert " MIG " in titles
    assert "FactorVAE" in titles
    assert any("│ beta_vae" in line for line in wide)
    assert not any("No room" in line for line in wide)
    assert " MIG " in " ".join(narrow[3:6])
    assert "FactorVAE" not in " ".join(narrow[3:6])
    assert "No room here for FactorVAE metric: leaderboard.csv has all" in " ".join(narrow)
    assert any("[0.150, 0.250]" in line for line in narrow)  # an interval is not broken
    other = " ".join(printed(made, 80, "factor_vae")[3:6])
    assert "FactorVAE" in other
    assert " MIG " not in other
    assert max(map(len, printed(made, 60))) <= 60


def test_the_best_are_marked_and_controls_stand_apart_and_are_never_best() -> None:
    made = tables(CONTROLS, many(THREE))
    text = readable(made.rows, made.leaderboard)
    assert [str(c).split()[0] for c in text["mig"] if c.best] == ["0.220*", "0.200*"]  # a set, not a point
    assert [str(c)[:5] for c in text["reconstruction (nats)"] if c.best] == ["114.0", "105.0"]
    first, second = markdown(made.rows, made.leaderboard).split("Controls: ")
    assert r"**0.220**\*" in first
    assert "0.020 [" in first
    assert "Few seeds (3 a row)" in first
    assert "control" not in first
    assert r"control: rotated\|50%" in second
    table = latex(made.rows, made.leaderboard)
    assert r"\textbf{0.220}$^{\ast}$" in table
    assert r"control: rotated\textbar{}50\%" in table
    assert table.count(r"\midrule") == 2
    assert table.index(r"\midrule", table.index("\nVAE &")) < table.index("control: ")


def test_a_paper_chooses_columns_and_digits_and_has_names_for_people() -> None:
    made = tables(CONTROLS, many(THREE))
    shown = only(made.leaderboard, ["factor_vae", "reconstruction_nats"])
    lines = latex(made.rows, shown, digits=1).splitlines()
    assert "model & seeds & FactorVAE metric & reconstruction (nats) \\\\" in lines
    assert r"\multicolumn{4}{l}{\textit{dsprites\_rendered[posX/4], rendered}} \\" in lines
    assert any(line.startswith(r"$\beta$-VAE, beta = 2 & 3 & \textbf{0.6}") for line in lines)
    assert any(re.search(r"& \\textbf\{105\.0\} \{\\scriptsize \[", line) for line in lines)
    assert any(line.startswith("% All models: ") and "steps 7" in line for line in lines)
    words = markdown(made.rows, shown, digits=1).splitlines()[0]
    assert words.endswith("| factor_vae | reconstruction (nats) |")
    assert markdown(made.rows, only(made.leaderboard, ["elbo"])).splitlines()[0].endswith("| ELBO |")
    with pytest.raises(BenchError, match=r"unknown measure .factor_va.\. Did you mean .factor_vae."):
        only(made.leaderboard, ["factor_va"])


def test_nothing_is_bold_where_the_seeds_tell_nothing_apart() -> None:
    made = tables(runs=many({key: THREE[key] for key in (("vae", None), ("beta_vae", 2.0))}))
    assert made.leaderboard["best_mig"].all()
    assert made.leaderboard["pareto_mig"].all()
    cells = readable(made.rows, made.leaderboard)["mig"]
    assert not any(cell.best for cell in cells)
    assert all(cell.star for cell in cells)
    alone = tables(runs=many({("vae", None): THREE["vae", None]}))
    assert not readable(alone.rows, alone.leaderboard)["mig"].iloc[0].star


def test_a_set_that_failed_altogether_is_no_comparison_of_its_own() -> None:
    assert set(tables(CONTROLS).rows["group"]) == {0}


def test_shared_ranks_are_shown_as_such() -> None:
    rows = tables_of(runs_table(records()), sort="factor_vae").rows
    assert list(ranks_with_ties(rows)) == ["1", "2=", "2=", ""]


def test_models_by_hand() -> None:
    models = tables().table("models").set_index(["metric", "model"])
    beta = models.loc["mig", "beta_vae"]
    assert (beta["n_settings"], beta["n_seeds"], beta["n_failed"], beta["settings_on_front"]) == (2, 3, 1, 0)
    assert pd.isna(beta["hypervolume"])  # nobody has kept what a perfect picture and a constant one cost
    assert pd.isna(beta["best_by_labels_ci_low"])
    # The ELBO is -reconstruction - 9, so beta 2 is chosen without labels; factor_vae's labels choose beta 4.
    chosen = models.loc["factor_vae", "beta_vae"]
    assert (chosen["best_by_elbo"], chosen["best_by_labels"]) == ("beta=2", "beta=4")
    assert (chosen["best_by_elbo_mean"], chosen["best_by_labels_mean"]) == pytest.approx((0.6, 0.9))
    assert pd.isna(models.loc["mig", "factor_vae"]["hypervolume"])


def test_improvement_by_hand() -> None:
    table = tables().table("improvement")
    assert set(table["model_a"]) | set(table["model_b"]) == {"beta_vae", "vae"}  # factor_vae has no run
    by_labels = table[(table["metric"] == "factor_vae") & (table["chosen_by"] == "labels")].iloc[0]
    assert (by_labels["model_a"], by_labels["setting_a"], by_labels["model_b"]) == (
        "beta_vae",
        "beta=4",
        "vae",
    )
    assert by_labels["probability"] == 1  # .9 and .9 against .5 and .7
    by_elbo = table[(table["metric"] == "factor_vae") & (table["chosen_by"] == "elbo")].iloc[0]
    assert (by_elbo["setting_a"], by_elbo["n_a"], by_elbo["n_b"]) == ("beta=2", 1, 2)
    assert (by_elbo["n_failed_a"], by_elbo["n_failed_b"]) == (1, 0)
    assert by_elbo["probability"] == 0.5  # .6 beats .5 and loses to .7


def test_variance_and_correlation_count_failed_runs() -> None:
    made = tables()
    mig = made.table("variance").set_index("measure").loc["mig"]
    assert (mig["n_models"], mig["n_settings"], mig["n_runs"], mig["n_failed"]) == (2, 3, 5, 3)
    # .1 .3 | .4 | .25 .35, mean .28: objectives' means .2 and 1/3, settings' .2, .4 and .3.
    noise = (2 * 0.1**2 + 2 * 0.05**2) / 2  # five runs around three means
    total = 0.18**2 + 0.02**2 + 0.12**2 + 0.03**2 + 0.07**2 + noise
    assert mig["objective"] == pytest.approx((2 * 0.08**2 + 3 * (1 / 3 - 0.28) ** 2 - noise) / total)
    pair = made.table("metric_correlation").set_index(["measure_a", "measure_b"]).loc["mig", "factor_vae"]
    assert (pair["n_runs"], pair["n_failed"]) == (5, 3)
    # mig ranks 1 3 5 2 4; factor_vae .5 .7 .6 .9 .9 ranks 1 3 2 4.5 4.5; sum of products 47, squares 55 and 54.5.
    assert pair["spearman"] == pytest.approx((47 - 45) / math.sqrt(10 * 9.5))


def test_a_column_joins_a_hundred_others_without_a_warning() -> None:
    runs = records()
    for number in range(120):
        runs[0].scores["scores"][f"mig_component_{number}"] = 0.5
    table = runs_table(runs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table.insert(0, "one_more", 1.0)


def test_compare_two_choices() -> None:
    grouped = group_runs(runs_table(records()))
    found = compare(
        grouped, parse_choice("model=beta_vae, beta=4", grouped), parse_choice("model=vae", grouped)
    ).set_index("measure")
    assert found.loc["mig", "probability"] == 0.75  # .25 beats .1, .35 beats both
    assert found.loc["reconstruction_nats", "probability"] == 0  # low is good, and it is higher
    assert (found.loc["mig", "mean_a"], found.loc["mig", "mean_b"]) == pytest.approx((0.3, 0.2))
    pooled = compare(grouped, {"model": "beta_vae"}, {"model": "factor_vae"})
    assert set(pooled["settings_a"]) == {2}
    assert (set(pooled["n_failed_a"]), set(pooled["n_failed_b"]), set(pooled["n_b"])) == ({1}, {2}, {0})
    for choice, message in (("modell=vae", "Did you mean 'model'"), ("model=vea", "Did you mean 'vae'")):
        with pytest.raises(BenchError, match=message):
            compare(grouped, parse_choice(choice, grouped), {"model": "vae"})
    with pytest.raises(BenchError, match="key=value"):
        parse_choice("model", grouped)
    with pytest.raises(BenchError, match="all at once"):
        compare(grouped, {"model": "vae", "beta": "2"}, {"model": "vae"})


def study_of(path: Path, runs) -> StudyDir:
    study = StudyDir(path)
    study.write_grid(GRID)
    for kept in runs:
        study.save(kept)
    return study


def test_studies_are_merged_and_what_cannot_be_mixed_is_kept_apart(tmp_path: Path) -> None:
    plain = study_of(tmp_path / "plain", records())
    again = study_of(tmp_path / "again", [r for r in records() if r.spec.model == "vae"])
    assert make_tables([plain, again]).leaderboard.equals(make_tables([plain]).leaderboard)
    assert (
        "2 run directories are copies of a run that is there already"
        in make_tables([plain, again]).warnings[0]
    )

    def changed(record: RunRecord, **about) -> RunRecord:
        scores = json.loads(json.dumps(record.scores))
        if scores and "revision" in about:
            scores["metrics"]["mig"]["revision"] = about["revision"]
        provenance = record.provenance | {"precision": about.get("precision", "float32")}
        # Seeds of its own: the same run scored again would count once.
        spec = record.spec.model_copy(update={"seed": record.spec.seed + 10})
        return RunRecord(spec, provenance, scores, record.curves, failure=record.failure)

    revised = study_of(tmp_path / "revised", [changed(r, revision=2) for r in records()])
    both = make_tables([plain, revised])
    assert (
        len(both.leaderboard) == 2 * 4 - 1
    )  # the setting without any finished run counts with the first: one row
    assert set(both.leaderboard["revisions"]) == {"mig 1", "mig 2"}
    assert list(both.leaderboard["rank"].dropna()) == [1, 2, 3, 1, 2, 3]
    assert any(
        "the metrics' revisions or sources (mig 1, mig 2) and are ranked apart" in w for w in both.warnings
    )

    quick = study_of(tmp_path / "quick", [changed(r, precision="bfloat16") for r in records()])
    both = make_tables([plain, quick])
    assert len(both.leaderboard) == 2 * 4
    assert sorted(both.leaderboard["rank"].dropna()) == [1, 1, 3, 3, 5, 5]  # one ranking of twice the rows
    assert any("precision (float32, bfloat16) and stand in rows of their own" in w for w in both.warnings)


def test_figures_are_pictures_and_the_same_every_time() -> None:
    def drawn() -> dict[str, bytes]:
        figures = all_figures(tables(), list(enumerate(r for r in records() if r.failure is None)))
        return {f"{n}.{s}": picture(f, s) for n, f in figures.items() for s in ("png", "svg", "pdf")}

    once = drawn()
    assert set(once) == {
        f"{n}.{s}" for n in ("tradeoff", "metric_correlation", "curves") for s in ("png", "svg", "pdf")
    }
    assert once["tradeoff.png"].startswith(b"\x89PNG")
    assert once == drawn()


@pytest.mark.parametrize(("width", "across"), [(6.9, 3), (3.35, 1)])
def test_figures_are_as_wide_as_a_page_and_their_panels_wrapped(width: float, across: int) -> None:
    made = tables(runs=many(THREE))
    figures = all_figures(made, [(0, many(THREE)[0])], width)
    assert {figure.get_figwidth() for figure in figures.values()} == {width}
    panels = figures["curves"].axes
    # Three panels of one data set, side by side or one below the other.
    assert [panel.get_subplotspec().colspan.start for panel in panels] == [k % across for k in range(3)]
    assert [panel.get_subplotspec().rowspan.start for panel in panels] == [k // across for k in range(3)]
    for name, figure in figures.items():
        assert b"/Type3" not in picture(figure, "pdf"), name


def test_a_study_without_runs() -> None:
    with pytest.raises(BenchError, match="no run"):
        leaderboard([])


def with_options(model: str, seed: int, **options: object) -> RunRecord:
    kept = record("set", model, "beta", 4.0, seed, ("mig",))
    return replace(kept, spec=kept.spec.model_copy(update={"options": options}))


def test_an_option_that_only_some_runs_of_a_model_asked_for_keeps_them_apart() -> None:
    warm = [with_options("beta_vae", seed, warmup_steps=500) for seed in (0, 1)]
    plain = [with_options("beta_vae", seed) for seed in (0, 1, 2)]
    board = leaderboard([*warm, *plain, with_options("vae", 0)])
    assert set(zip(board["model"], board["warmup_steps"].fillna(0), board["n_seeds"], strict=True)) == {
        ("beta_vae", 500, 2),
        ("beta_vae", 0, 3),
        ("vae", 0, 1),
    }
    # What only one model has, and all of its runs alike, is no column.
    assert "warmup_steps" not in leaderboard([*warm, with_options("vae", 0)])


def test_many_settings_become_one_column_for_people() -> None:
    few = [with_options("vae", seed, a=seed, b=seed) for seed in (0, 1)]
    many = [with_options("vae", seed, a=seed, b=seed, c=seed, d=2 * seed) for seed in (0, 1)]
    for runs, names in ((few, {"a", "b"}), (many, {"setting"})):
        made = tables_of(runs_table(runs))
        text = readable(made.rows, made.leaderboard)
        assert names == set(text.columns) & {"a", "b", "c", "d", "setting"}
    assert sorted(text["setting"]) == ["a=0, b=0, c=0, d=0", "a=1, b=1, c=1, d=2"]
    assert {"a", "b", "c", "d"} <= set(made.leaderboard.columns)


def test_rows_without_settings_have_no_words() -> None:
    assert in_words(pd.DataFrame(index=[3, 7])) == ["", ""]


def test_settings_in_words_leave_out_what_has_a_column_of_its_own() -> None:
    runs = [with_options("vae", seed, a=seed, b=seed, c=seed, d=seed) for seed in (0, 1)]
    training = runs[1].spec.training.model_copy(update={"steps": 7})
    spec = runs[1].spec.model_copy(update={"training": training})
    runs[1] = replace(runs[1], spec=spec, provenance=runs[1].provenance | {"precision": "bfloat16"})
    made = tables_of(runs_table(runs))
    text = readable(made.rows, made.leaderboard)
    assert dict(zip(text["setting"], zip(text["precision"], text["steps"], strict=True), strict=True)) == {
        "a=0, b=0, c=0, d=0": ("float32", str(runs[0].spec.training.steps)),
        "a=1, b=1, c=1, d=1": ("bfloat16", "7"),
    }


def test_a_run_counts_once_however_often_it_was_copied_or_scored(tmp_path: Path) -> None:
    study = study_of(tmp_path / "study", records())
    (first, *_) = sorted(path for path in study.runs.iterdir() if (path / "DONE").exists())
    shutil.copytree(first, study.runs / f"{first.name}-copy")
    made = make_tables([study])
    assert made.leaderboard.equals(tables().leaderboard)
    assert len(made.runs) == 8
    assert "1 run directory is a copy of a run that is there already" in made.warnings[0]
    # The same run scored again by a later revision, and one that failed here and finished there.
    rescored = [r for r in records() if r.failure is None]
    rescored = [replace(r, scores=r.scores | {"scores": r.scores["scores"] | {"mig": 0.9}}) for r in rescored]
    mended = one(next(r.spec for r in records() if r.failure is not None), (100.0, 0.5, 0.5))
    both = make_tables([study, study_of(tmp_path / "again", [*rescored, mended])])
    assert (len(both.runs), both.runs.attrs["repeated"]) == (8, 1 + 5 + 1)
    assert both.runs["mig"].max() == 0.5
    assert (both.runs["status"] == "DONE").sum() == 6


def test_what_computed_the_runs_is_in_the_table_and_a_mixture_is_said() -> None:
    runs = records()
    runs[0] = replace(runs[0], provenance=runs[0].provenance | {"threads": 4, "versions": {"torch": "2.9.0"}})
    runs[1] = replace(runs[1], provenance=runs[1].provenance | {"threads": 1, "versions": {"torch": "2.9.0"}})
    table = runs_table(runs)
    assert (table["threads"].iloc[0], table["torch"].iloc[0]) == (4, "2.9.0")
    assert table["threads"].iloc[2:].isna().all()
    said = tables_of(table).warnings
    assert len(said) == 1
    assert "runs differ in threads (4, 1) and stand together" in said[0]
    made = tables(runs=runs)
    for write in (markdown, latex):
        assert "runs differ in threads" in write(made.rows, made.leaderboard, made.warnings)


def test_a_mean_of_some_of_the_seeds_says_so() -> None:
    runs = many(THREE)
    runs[0] = replace(runs[0], scores=runs[0].scores | {"scores": runs[0].scores["scores"] | {"mig": None}})
    made = tables(runs=runs)
    assert list(made.leaderboard["mig_n"]) == [3, 2, 3]
    assert set(made.leaderboard["n_seeds"]) == set(made.leaderboard["factor_vae_n"]) == {3}
    assert str(readable(made.rows, made.leaderboard)["mig"].iloc[1]) == "0.210 n=2"
    assert "n=: the mean is over so many of the row's seeds, the others have no value (mig)." in markdown(
        made.rows, made.leaderboard
    )
    assert "n=:" not in markdown(tables().rows, tables().leaderboard)
    chosen = made.table("models").set_index(["metric", "model"]).loc["mig", "vae"]
    assert (chosen["n_seeds"], chosen["best_by_elbo_n_seeds"]) == (3, 2)


def measured(record: RunRecord, likelihood: str | None, floor=None, constant=None) -> RunRecord:
    """The record with what its reconstruction has to be read against."""
    kept = {"likelihood": likelihood, "floor_nats": floor, "constant_nats": constant}
    return replace(record, scores=record.scores | {"reconstruction": kept})


def test_nats_of_two_likelihoods_are_never_compared() -> None:
    runs = [measured(r, "gaussian" if r.spec.model == "vae" else "bernoulli") for r in many(THREE)]
    made = tables_of(runs_table(runs), sort="reconstruction_nats")
    assert list(made.rows["reconstruction_likelihood"]) == ["bernoulli", "bernoulli", "gaussian"]
    assert list(made.leaderboard["rank"]) == [1, 2, 1]
    assert list(ranks_with_ties(made.rows)) == ["1", "2", "1"]
    assert "reconstruction_likelihood" in made.leaderboard.columns
    assert any("differ in likelihood (gaussian, bernoulli)" in warning for warning in made.warnings)
    # beta=4 is beaten by beta=2, and vae, alone with its nats, has no star; in MIG alone all three are compared.
    assert list(made.leaderboard["pareto_mig"]) == [True, False, True]
    cells = readable(made.rows, made.leaderboard)
    assert [cell.star for cell in cells["mig"]] == [True, False, False]
    assert [cell.best for cell in cells["mig"]] == [True, False, True]
    assert [cell.best for cell in cells["reconstruction (nats)"]] == [True, False, False]
    assert "reconstruction_nats" not in set(made.table("variance")["measure"])
    nats = made.table("metric_correlation").set_index(["measure_a", "measure_b"])["spearman"]
    assert pd.isna(nats["reconstruction_nats", "mig"])
    assert not pd.isna(nats["factor_vae", "mig"])
    found = compare(made.grouped_runs, {"model": "vae"}, {"model": "beta_vae", "beta": "2"}).set_index(
        "measure"
    )
    assert found.loc[["reconstruction_nats", "elbo"], "probability"].isna().all()
    assert found.loc["mig", "probability"] > 0
    assert len(figures_of(made)) == 2


def figures_of(made: Tables) -> list[object]:
    """The panels of the trade-off's first metric, one above the other."""
    return [axes for axes in tradeoff(made).axes if axes.get_ylabel() == "MIG"]


def test_a_run_has_the_likelihood_that_it_was_scored_with_or_its_models_own() -> None:
    specs = [r.spec.model_copy(update={"options": {}}) for r in many(THREE)][:4]
    specs[1] = specs[1].model_copy(update={"options": {"likelihood": "gaussian_learned"}})
    specs[3] = specs[3].model_copy(update={"model": "mine:Model"})
    runs = [one(spec, (100.0, 0.1, 0.5)) for spec in specs]
    runs[1], runs[2] = one(specs[1], None), one(specs[2], None)
    runs[3] = measured(runs[3], None)
    table = runs_table(runs)
    assert table["reconstruction_likelihood"].fillna("").tolist() == [
        *("bernoulli", "gaussian_learned", ""),
        "mine:Model's own",
    ]
    assert table["excess_nats"].isna().all()


def test_a_setting_that_failed_altogether_stands_with_its_model() -> None:
    runs = [measured(r, "gaussian") if r.spec.model == "vae" else r for r in many(THREE)]
    lost = one(runs[0].spec.model_copy(update={"options": {"warmup_steps": 5}, "seed": 9}), None)
    rows = tables(runs=[*reversed(runs), lost]).rows.set_index("n_failed")
    assert rows.loc[1, "reconstruction_likelihood"] == "gaussian"


def test_excess_and_hypervolume_by_hand() -> None:
    # 105 nats where 55 are the least and 155 the best constant image's: half of what there was to gain is left.
    runs = [measured(r, "bernoulli", 55.0, 155.0) for r in many(THREE)]
    made = tables(runs=runs)
    vae = row(made.leaderboard, "vae")
    assert (vae["excess_nats_mean"], vae["excess_share_mean"]) == pytest.approx((50, 0.5))
    volumes = made.table("models").set_index(["metric", "model"])["hypervolume"]
    assert volumes["mig", "vae"] == pytest.approx(0.5 * 0.2)
    # beta=4 is worse than a constant image and adds nothing to beta=2, (114 - 55) / 100 from perfect.
    assert volumes["mig", "beta_vae"] == pytest.approx(0.41 * 0.22)
    least = [measured(r, "gaussian_learned") for r in many(THREE)]
    assert tables(runs=least).table("models")["hypervolume"].isna().all()
    assert tables(runs=least).leaderboard["excess_share_n"].max() == 0


def turned(record: RunRecord) -> RunRecord:
    """The record with 1 - MIG in MIG's place, of which less is better."""
    scores = json.loads(json.dumps(record.scores))
    scores["scores"]["mig"] = 1 - scores["scores"]["mig"]
    scores["metrics"]["mig"]["lower_is_better"] = ["mig"]
    return replace(record, scores=scores)


def test_a_metric_of_which_less_is_better_is_ranked_marked_and_compared_so() -> None:
    runs = [measured(r, "bernoulli", 55.0, 155.0) for r in many(THREE)]
    plain, other = tables(runs=runs), tables(runs=[turned(r) for r in runs])
    same = ["model", "beta", "rank", "best_mig", "pareto_mig", "pareto_factor_vae"]
    pd.testing.assert_frame_equal(plain.leaderboard[same], other.leaderboard[same])
    assert other.leaderboard["mig_mean"].to_numpy() == pytest.approx(
        1 - plain.leaderboard["mig_mean"].to_numpy()
    )
    assert (plain.rows["front_mig"] == other.rows["front_mig"]).all()
    for column in ("hypervolume", "best_by_labels"):
        pd.testing.assert_series_equal(plain.table("models")[column], other.table("models")[column])
    pd.testing.assert_frame_equal(plain.table("improvement"), other.table("improvement"))
    spearman = [made.table("metric_correlation")["spearman"].to_numpy() for made in (plain, other)]
    assert spearman[0] == pytest.approx(spearman[1])
    found = [
        compare(made.grouped_runs, {"model": "vae"}, {"beta": "4"}).set_index("measure")
        for made in (plain, other)
    ]
    assert found[0]["probability"].to_dict() == found[1]["probability"].to_dict()
    assert "MIG (lower is better)" in {axes.get_ylabel() for axes in tradeoff(other).axes}


def test_correlations_rank_from_worst_to_best() -> None:
    # Less reconstruction is better, and goes with more of the ELBO in every run of these.
    found = tables().table("metric_correlation").set_index(["measure_a", "measure_b"])["spearman"]
    assert found["reconstruction_nats", "elbo"] == pytest.approx(1)


def test_settings_chosen_for_their_scores_have_no_test() -> None:
    table = tables(runs=many(THREE)).table("improvement").set_index(["metric", "chosen_by"])
    by_elbo, by_labels = table.loc["mig", "elbo"], table.loc["mig", "labels"]
    # .25 .2 .21 against .18 .22 .2 have the ranks 6 2.5 4 and 1 5 2.5. Of 20 choices of three 5 sum to 12.5 or more.
    assert by_elbo["p_value"] == pytest.approx(2 * 5 / 20)
    assert by_elbo["p_holm"] == by_elbo["p_value"]  # one pair
    assert by_labels[["ci_low", "ci_high", "p_value", "p_holm"]].isna().all()
    assert 0 < by_labels["probability"] < 1


def test_no_metric_can_have_the_name_of_a_runs_column() -> None:
    """What tables call their own columns, wherever a study has them, is refused as a metric's key."""
    runs = runs_table(records())
    own = set(runs.columns) - {"mig", "factor_vae", "factor_vae_active", "beta", "gamma"}
    assert {"excess_share", "threads", "reconstruction_nats"} <= own
    assert own <= COLUMNS


def test_scores_of_few_images_are_told_with_where_chance_stands() -> None:
    def said(points: int, controls: list) -> str:
        runs = runs_table(
            replace(one, scores=one.scores | {"points": points}) if one.failure is None else one
            for one in records()
        )
        return "\n".join(tables_of(runs, controls).warnings)

    assert "scored on" not in said(1000, [])
    few = said(999, [])
    assert "as few as 999 images" in few
    assert "`controls = true`" in few
    assert "`control: random`" in said(999, CONTROLS)
