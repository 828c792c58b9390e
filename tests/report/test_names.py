"""Any name is a name: of options, data sets, models and files, in every table and figure."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_study import GRID, record, write

from disentangle_bench.errors import BenchError
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.compare import compare, parse_choice
from disentangle_bench.report.comparison import group_runs
from disentangle_bench.report.figures import picture, tradeoff
from disentangle_bench.report.html import write_report
from disentangle_bench.report.latex import latex
from disentangle_bench.report.render import markdown
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.report.study import make_tables
from disentangle_bench.report.tables import tables_of
from disentangle_bench.specs import DatasetSpec


def run(seed: int, dataset: DatasetSpec | None = None, options: dict | None = None) -> RunRecord:
    kept = record("set", "vae", "", 0.0, seed, ("mig",))
    spec = kept.spec.model_copy(update={"options": options or {}, "dataset": dataset or kept.spec.dataset})
    return replace(kept, spec=spec)


@pytest.mark.parametrize(
    "name",
    [
        "hidden",
        "seed",
        "steps",
        "model",
        "dataset",
        "batch_size",
        "mig",
        "mig_mean",
        "mig_std",
        "best_mig",
        "source",
        "measure",
        "iqm",
        "n",
        "n_seeds",
        "row",
    ],
)
def test_two_values_of_an_option_are_two_rows_whatever_it_is_called(name: str) -> None:
    table = runs_table([run(seed, None, {name: value}) for value in (3, 7) for seed in (0, 1)])
    assert table[f"option_{name}"].tolist() == [3, 3, 7, 7]
    assert table["seed"].tolist() == [0, 1, 0, 1]
    assert set(table["model"]) == {"vae"}
    board = tables_of(table).leaderboard
    assert dict(zip(board[f"option_{name}"], board["n_seeds"], strict=True)) == {3: 2, 7: 2}
    grouped = group_runs(table)
    chosen = parse_choice(f"model=vae,option_{name}=7", grouped)
    assert set(compare(grouped, chosen, {"model": "vae"})["n_a"]) == {2}


def test_an_option_keeps_its_name_where_it_is_free_and_gives_way_to_one_that_has_the_other() -> None:
    options = [{"hidden": hidden, "option_hidden": 1, "width": hidden + 1} for hidden in (3, 7)]
    table = runs_table([run(seed, None, own) for seed, own in enumerate(options)])
    assert table["option_option_hidden"].tolist() == [3, 7]
    assert table["width"].tolist() == [4, 8]


SUBGRID = DatasetSpec(name="/data/a,b=1.npz", every={"row": 2, "col": 2})
HELD_OUT = DatasetSpec(name="own.npz", hold_out={"row": (0, 1), "col": (2,)})


@pytest.mark.parametrize("dataset", [SUBGRID, HELD_OUT])
def test_a_label_with_commas_and_equals_signs_can_be_chosen(dataset: DatasetSpec) -> None:
    grouped = group_runs(runs_table([run(0, dataset), run(1, dataset), run(0)]))
    label = dataset.label
    assert "," in label or "=" in label
    for text in (f"dataset={label},seed=1", f"seed=1, dataset={label}", f"seed=1,dataset={label},model=vae"):
        choice = parse_choice(text, grouped)
        assert (choice["dataset"], choice["seed"]) == (label, "1")
        assert set(compare(grouped, choice, {"dataset": label})["n_a"]) == {1}
    with pytest.raises(BenchError, match="unknown dataset"):
        compare(grouped, parse_choice("dataset=own.npz[row/3,col/3],model=vae", grouped), {"model": "vae"})
    with pytest.raises(BenchError, match="key=value"):
        parse_choice("model=vae,seed", grouped)


NAMES = [r"$\foo$.npz", "$x_1^2$", "100%_{}~^#&", "<b>&lt;<i>", r"\input{x}", "[a](b)", "_a_ *b* `c`"]


@pytest.mark.parametrize("name", NAMES)
def test_figures_and_tables_take_a_name_as_it_stands(name: str) -> None:
    made = tables_of(runs_table([run(seed, DatasetSpec(name=name)) for seed in range(3)]))
    svg = picture(tradeoff(made), "svg").decode()
    assert f"<!-- {name.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}" in svg
    heading = latex(made.rows, made.leaderboard).split(r"\textit{")[1].splitlines()[0].removesuffix(r"}} \\")
    bare = re.sub(r"\\text\w+\{\}|\\[&%$#_{}]", "", heading)
    assert not set(bare) & set("\\~^|<>&%$#_{}")
    cell = markdown(made.rows, made.leaderboard).splitlines()[2].split(" | ")[1]
    assert re.sub(r"\\([\W_])", r"\1", cell) == name
    assert not re.search(r"(?<!\\)[<>*`$~&]", cell)


def test_a_name_that_breaks_lines_stays_in_its_line() -> None:
    runs = [run(seed, DatasetSpec(name="a\nb")) for seed in range(3)]
    runs[0] = replace(runs[0], provenance=runs[0].provenance | {"threads": 4})
    made = tables_of(runs_table(runs))
    assert made.warnings
    text = latex(made.rows, made.leaderboard, made.warnings)
    assert all(re.match(r"%|\\|VAE|model", line) for line in text.splitlines())
    assert "| a b |" in markdown(made.rows, made.leaderboard, made.warnings)


@pytest.mark.parametrize("failure", [None, "diverged\n"])
def test_a_report_while_nothing_has_scored(failure: str | None, tmp_path: Path) -> None:
    runs = [run(seed) for seed in range(2)]
    for i, kept in enumerate(runs):
        own = {key: kept.scores["scores"][key] for key in ("reconstruction_nats", "elbo")}
        scores = kept.scores | {"scores": own, "metrics": {}, "failures": {"mig": "ValueError: x"}}
        runs[i] = replace(kept, scores=scores, failure=failure)
    study = write(StudyDir(tmp_path / "study"), iter(runs), GRID)
    made = make_tables([study])
    assert all(text.strip() for text in made.files().values())
    page = write_report(study).read_text(encoding="utf-8")
    assert f"{len(runs)} runs: {0 if failure else 2} finished" in page
