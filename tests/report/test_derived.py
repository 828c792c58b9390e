"""Derived tables: of the tree, of installed packages, and broken ones; the example of docs/leaderboards.md."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic_study
from click.testing import CliRunner
from doc_blocks import DOCS, blocks

from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report import derived
from disentangle_bench.report.derived import DerivedTable
from disentangle_bench.report.study import make_tables, write_tables

DOC = DOCS / "leaderboards.md"
(EXAMPLE,) = [block for block in blocks(DOC, "python") if "DerivedTable" in block]
TREE = ["measures", "models", "improvement", "variance", "metric_correlation", "choice"]
HEAD = "from disentangle_bench.report.derived import DerivedTable\nimport pandas as pd\n"


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    models = {"vae": ("", [0.0]), "beta_vae": ("beta", [4.0])}
    return synthetic_study.write(StudyDir(tmp_path / "study"), synthetic_study.records(1, models, 3))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that installs a module with a table, for as long as the test runs."""
    monkeypatch.syspath_prepend(tmp_path / "site")

    def installed(module: str, code: str, table: str = "TABLE") -> None:
        info = tmp_path / "site" / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[disentangle_bench.tables]\n{module} = {module}:{table}\n")
        (tmp_path / "site" / f"{module}.py").write_text(code)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return installed


def check_seed_range(study: StudyDir) -> None:
    """The example's table has the ends of each setting's scores, in the file and on the page."""
    result = CliRunner().invoke(main, ["report", str(study.path)])
    assert result.exit_code == 0, result.output
    found = pd.read_csv(study.path / "report" / "tables" / "seed_range.csv").set_index(["model", "metric"])
    scores = make_tables([study]).runs
    vae = scores[(scores["model"] == "vae") & (scores["status"] == "DONE")]["mig"]
    assert tuple(found.loc[("vae", "mig"), ["lowest", "highest"]]) == pytest.approx((vae.min(), vae.max()))
    page = (study.path / "report" / "index.html").read_text()
    assert '<section id="table-seed_range"' in page
    assert "Range of seeds" in page
    assert f'<td class="number">{vae.min():.5g}</td>' in page
    assert 'href="tables/seed_range.csv"' in page


def test_the_example_as_a_table_of_an_installed_package(study: StudyDir, install) -> None:
    install("my_package", EXAMPLE, "SEED_RANGE")
    (words,) = blocks(DOC, "toml")
    assert f'[project.entry-points."{derived.ENTRY_POINTS}"]' in words
    check_seed_range(study)
    write_tables(study)
    assert (study.path / "seed_range.csv").is_file()


def test_the_example_as_a_table_of_the_tree(study: StudyDir, tmp_path, monkeypatch) -> None:
    (tmp_path / "in_tree.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(derived, "DERIVED", (*derived.DERIVED, "in_tree:SEED_RANGE"))
    check_seed_range(study)


BROKEN = {
    "raises_on_import": ("import nothing_of_that_name", "ModuleNotFoundError"),
    "has_no_such_name": ("", "AttributeError"),
    "ends_the_process": ("raise SystemExit(3)", "SystemExit: 3"),
    "is_no_table": (f"{HEAD}TABLE = 5", "it is a int, not a DerivedTable"),
    "takes_a_name": (
        f"{HEAD}TABLE = DerivedTable('models', lambda tables: tables.rows)",
        "another table is called",
    ),
    "leads_elsewhere": (
        f"{HEAD}TABLE = DerivedTable('../x', lambda tables: tables.rows)",
        "is no name for a table",
    ),
    "raises": (f"{HEAD}TABLE = DerivedTable('own', lambda tables: 1 / 0)", "ZeroDivisionError"),
    "gives_no_frame": (f"{HEAD}TABLE = DerivedTable('own', lambda tables: [1])", "it gave a list"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_table_costs_itself_and_a_note_says_why(what: str, study: StudyDir, install) -> None:
    before = make_tables([study]).files()
    code, reason = BROKEN[what]
    install(what, code)
    install("fine", f"{HEAD}TABLE = DerivedTable('fine', lambda tables: pd.DataFrame({{'a': [1]}}))")
    made = make_tables([study])
    assert made.files() == before | {"fine.csv": "a\n1\n"}
    (note,) = made.warnings
    assert "of an installed package is left out" in note
    assert reason in note
    result = CliRunner().invoke(main, ["leaderboard", str(study.path)])
    assert result.exit_code == 0
    assert f"note: {note}" in result.stderr


def test_a_table_that_changes_what_it_was_given_changes_no_other(study: StudyDir, install) -> None:
    before = make_tables([study]).files()
    spoil = "def spoil(tables):\n    del tables.runs['mig']\n    tables.rows['mig_mean'] = 0\n"
    spoil += "    tables.statistics['mean'] = 0\n    return tables.rows\n"
    install("spoils", f"{HEAD}{spoil}TABLE = DerivedTable('spoils', spoil)")
    found = make_tables([study]).files()
    assert found.pop("spoils.csv")
    assert found == before


def test_every_table_of_the_tree_is_written_in_the_lists_order(study: StudyDir) -> None:
    assert [table.name for table, _ in make_tables([study]).derived()] == TREE
    assert list(make_tables([study]).files()) == [
        f"{name}.csv" for name in ("scores", "seconds", "leaderboard", *TREE)
    ]


@pytest.mark.parametrize("name", ["scores", "Models", "a/b", "", "a.csv"])
def test_names_that_are_no_tables(name: str) -> None:
    with pytest.raises(BenchError, match="no name for a table"):
        DerivedTable(name, lambda tables: tables.rows)
