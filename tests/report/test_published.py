"""The published studies' tables and pages are what their runs' records give, to the byte."""

import importlib.util
from pathlib import Path

import pytest

from disentangle_bench.report.study import make_tables
from disentangle_bench.rundir import StudyDir

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "results").glob("reference-*/"))


def reference_script():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "benchmarks" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_tables_come_from_the_records(path: Path) -> None:
    for name, text in make_tables([StudyDir(path)]).files().items():
        assert (path / name).read_text() == text, name


@pytest.mark.parametrize("page", ["README.md", "results/README.md"])
def test_pages_come_from_the_records(page: str) -> None:
    text = (ROOT / page).read_text()
    assert "<!-- leaderboard -->" in text
    assert reference_script().rebuilt(text) == text


def test_labels_are_honest() -> None:
    """Rendered data, few steps and few seeds can be seen in the table itself."""
    header = reference_script().leaderboard().splitlines()[0]
    assert {"provenance", "seeds", "steps"} <= set(header.strip("| ").split(" | "))
