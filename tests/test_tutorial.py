"""The tutorial and the front page run as they stand, block by block, in one directory; the notebook in a kernel."""

import re
import shlex
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from click.testing import CliRunner
from doc_blocks import DOCS, all_blocks
from nbclient import NotebookClient

from disentangle_bench import registry
from disentangle_bench.cli import main

TUTORIAL = DOCS / "tutorial"
# In the order of the tutorial: a page uses what those before it made.
PAGES = [
    TUTORIAL / f"{page}.md"
    for page in re.findall(r"^\d\. .*?\((\w+)\.md\)", (TUTORIAL / "index.md").read_text(), re.M)
]
NAMED = re.compile(r"# (\S+\.(?:py|toml))\n")
# Reconstruction is measured on fewer images than the text's grids ask for.
SMALLER = ("--set", "scoring.reconstruction_points=300")
DRAWN = DOCS.parent / "datasets"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory):
    """The reader's directory, with what was imported there forgotten at the end."""
    folder = tmp_path_factory.mktemp("tutorial")
    modules, plugins = set(sys.modules), set(registry._PLUGINS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        if DRAWN.is_dir():
            patch.setenv("DISENTANGLE_BENCH_DATA", str(DRAWN))
        # Other tests of this process may have imported modules of the same names.
        for page in PAGES:
            for _, text in all_blocks(page):
                if named := NAMED.match(text):
                    patch.delitem(sys.modules, Path(named[1]).stem, raising=False)
                    registry._PLUGINS.discard(Path(named[1]).stem)
        yield folder
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
    registry._PLUGINS.clear()
    registry._PLUGINS.update(plugins)


def bench(command: list[str]) -> None:
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, f"{shlex.join(command)}\n{result.output}"


def do(page: Path, language: str, text: str, smaller: tuple[str, ...] = SMALLER) -> None:
    """What a reader does with a block; a command that trains also gets the options `smaller`."""
    named = NAMED.match(text)
    if named:
        Path(named[1]).write_text(text)
    elif language == "python":
        exec(compile(text, str(page), "exec"), {})
    elif language == "shell":
        for line in text.replace("\\\n", " ").splitlines():
            program, *command = shlex.split(line, comments=True)
            if program == "bench":
                bench([*command, *smaller] if command[0] == "run" else command)
            else:
                assert line.startswith("python3 -m venv .venv && .venv/bin/pip install")
    else:
        assert language == "text"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page: Path, place: Path) -> None:
    for language, text in all_blocks(page):
        do(page, language, text)


def test_the_front_page_runs(place: Path) -> None:
    smaller = ("--set", "training.steps=20", "--set", "scoring.points=500", "--seeds", "1", *SMALLER)
    for language, text in all_blocks(DOCS / "index.md"):
        do(DOCS / "index.md", language, text, smaller)


def test_the_reference_has_every_column(place: Path) -> None:
    """Of the files of the first study, which an earlier test has made."""
    text = (DOCS / "reference" / "csv.md").read_text()
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    measures = re.findall(r"`(\w+)`", text[text.index("A measure is ") :].partition("\n\n")[0])
    ours = [*measures, "mig", "factor_vae", "still_latents"]
    for name in ("scores.csv", "seconds.csv", "leaderboard.csv", "measures.csv"):
        section = sections[name] + (sections["scores.csv"] if name != "seconds.csv" else "")
        said = set(re.findall(r"`([\w<>]+)`", section))
        said |= {
            each.replace(kind, measure)
            for each in said
            for kind in ("<measure>", "<metric>")
            for measure in ours
        }
        columns = set(pd.read_csv(place / "results" / "first" / name).columns)
        # Details of a metric are its own page's.
        assert columns - said - {"still_latents", "factor_vae_train", "factor_vae_active"} == set(), name


def kinds(notebook: nbformat.NotebookNode) -> list[set[str]]:
    """Of what kinds the outputs of each cell with code are: pictures, text."""
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [{kind for output in outputs for kind in output.get("data", {"text": ""})} for outputs in cells]


def test_the_notebook_runs(place: Path) -> None:
    notebook = nbformat.read(TUTORIAL / "notebook.ipynb", as_version=4)
    shown = kinds(notebook)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(place)}}).execute()
    assert kinds(notebook) == shown
