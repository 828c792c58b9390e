"""The commands from an empty folder to a page, and finished runs entered in a board."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from boards import in_this_process
from click.testing import CliRunner, Result
from tiny_data import GRID, squares

from disentangle_bench import registry
from disentangle_bench.board.definition import read_board
from disentangle_bench.board.entries import read_codes, read_entry
from disentangle_bench.cli import main
from disentangle_bench.evaluation.load import load_run
from disentangle_bench.grid_file import check_grid
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.study.options import Options
from disentangle_bench.study.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models with two seeds each on the squares, trained for a few steps."""
    registry.DATASETS["squares"] = "tiny_data:SQUARES"
    document = tomllib.loads(GRID.replace("tiny_data:SQUARES", "squares")) | {"metrics": ["mig"]}
    document["models"] = [{"name": "beta_vae", "beta": [2, 4]}, {"name": "ada_gvae"}]
    path = tmp_path_factory.mktemp("study")
    Study(check_grid(document), StudyDir(path / "tiny"), Options(torch.device("cpu"))).train()
    yield path / "tiny"
    del registry.DATASETS["squares"]


@pytest.fixture
def here(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, in which a board is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("disentangle_bench.evaluation.pool.score_many", in_this_process)
    made = bench("board new tiny --dataset squares --points 40 --metric mig --metric sap --seeds 2")
    assert made.exit_code == 0, made.output
    return tmp_path


def bench(command: str, *more: str) -> Result:
    return CliRunner().invoke(main, [*command.split(), *more])


def submit(study: Path, *more: str, entry: str = "Doe2026Beta") -> Result:
    return bench(
        "submit", str(study), *f"--board tiny --entry {entry} --licence CC0-1.0 --tuning none".split(), *more
    )


def test_runs_become_an_entry_that_passes(study: Path, here: Path) -> None:
    done = submit(study, "--select", "model=beta_vae,beta=4.0")
    assert done.exit_code == 0, done.output
    entry = read_entry(here / "results", read_board(here / "results", "tiny"), "Doe2026Beta")
    assert entry.about.name == "beta_vae (beta 4)"
    assert entry.about.supervision == "none"
    assert "Higgins" in str(entry.about.paper)
    assert entry.about.budget.startswith("6 steps of 8 images")
    board = read_board(here / "results", "tiny")
    run = next(path for path in (study / "runs").iterdir() if "beta4-s1" in path.name)
    codes = load_run(run).encode(squares().images(board.points(squares())))
    np.testing.assert_allclose(read_codes(board, entry.path / "codes-s1.npz"), codes.numpy(), atol=1e-3)
    checked = bench("board check tiny")
    assert (checked.exit_code, checked.output) == (0, "tiny: all entries as they should be\n")
    assert bench("board build").exit_code == 0
    assert (here / "results" / "boards" / "tiny" / "index.html").is_file()
    assert bench("board list").output.split() == ["tiny", "squares", "1", "entries"]
    assert "nothing to do" in bench("board score tiny").output


def test_pairs_are_weak_supervision(study: Path, here: Path) -> None:
    assert submit(study, "--select", "model=ada_gvae", "--name", "Ada").exit_code == 0
    entry = read_entry(here / "results", read_board(here / "results", "tiny"), "Doe2026Beta")
    assert (entry.about.supervision, entry.about.name) == ("weak", "Ada")


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ("", "these runs are of 3 settings"),
        ("model=beta_vae", "these runs are of 2 settings"),
        ("model=beta_va", "unknown model of these runs 'beta_va'. Did you mean 'beta_vae'"),
        ("colour=1", "unknown setting to select by 'colour'"),
        ("beta", "write it as key=value"),
    ],
)
def test_runs_of_several_settings_are_refused(study: Path, here: Path, select: str, words: str) -> None:
    refused = submit(study, "--select", select)
    assert refused.exit_code == 2
    assert words in refused.output
    assert not (here / "results" / "entries").exists()


def test_runs_without_weights_or_on_other_data_are_refused(study: Path, here: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(study, copy)
    for weights in copy.glob("runs/*/weights.safetensors"):
        weights.unlink()
    refused = submit(copy, "--select", "model=ada_gvae")
    assert (refused.exit_code, "has no weights" in refused.output) == (2, True)
    for provenance in copy.glob("runs/*/provenance.json"):
        provenance.write_text(provenance.read_text().replace("squares-1", "squares-2"))
    refused = submit(copy, "--select", "model=ada_gvae")
    assert (refused.exit_code, "saw other data" in refused.output) == (2, True)


def test_controls_enter_by_the_same_door(here: Path) -> None:
    entered = bench("board controls tiny")
    assert entered.exit_code == 0, entered.output
    assert bench("board check tiny").exit_code == 0
    bench("board build tiny")
    lines = (here / "results" / "boards" / "tiny.csv").read_text().splitlines()
    assert len(lines) == 5
    assert all(line.startswith(",Control2026") for line in lines[1:])


def test_exit_codes(here: Path) -> None:
    for command, words in [
        ("board new tiny --dataset squares --points 40", "never changes"),
        ("board new ../tiny --dataset squares", "is no name of a board"),
        ("board new other --dataset squares --points 40 --metric migg", "unknown metric 'migg'"),
        ("board new other --dataset squares --points 40 --metric unsupervised", "has no figure to show"),
        ("board new other --dataset squares --points 40 --every row=9", "a whole number 1..4"),
        ("board check nothing", "there is no board"),
        ("board check tiny Doe2026Nobody", "unknown entry of the board tiny 'Doe2026Nobody'"),
        ("board build nothing", "there is no board"),
    ]:
        found = bench(command)
        assert found.exit_code == 2, found.output
        assert words in found.output
        assert "Traceback" not in found.output


def test_a_sub_grid_is_a_question_too(here: Path) -> None:
    made = bench("board new part --dataset squares --every row=2 --points 10 --metric mig")
    assert made.exit_code == 0, made.output
    board = read_board(here / "results", "part")
    assert len(board.load(None)) == 24
    assert bench("board check part").exit_code == 0
