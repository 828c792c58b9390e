"""A stranger's way: an encoder of ten lines, entered in a board, checked, ranked and shown."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from disentangle_bench.cli import main

ENCODER = """
import torch

torch.manual_seed({seed})
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 32), torch.nn.ReLU(), torch.nn.Linear(32, 5))


def encode(images):
    return network(images).detach()
"""


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    made = bench("board", "new", "small", "--dataset", "tiny_data.npz", "--points", 40, "--metric", "mig")
    assert made.exit_code == 2  # there is no such data set
    images = np.random.default_rng(0).integers(0, 255, (48, 16, 16), dtype=np.uint8)
    values = np.stack(np.meshgrid(np.arange(4), np.arange(4), np.arange(3), indexing="ij"), -1).reshape(-1, 3)
    images[np.arange(48), values[:, 0] * 4, values[:, 1] * 4] = 255
    np.savez("mine.npz", images=images, factors=values)
    made = bench("board", "new", "small", "--dataset", "mine.npz", "--points", 40, "--metric", "mig")
    assert made.exit_code == 0, made.output
    for seed in range(3):
        (tmp_path / f"enc{seed}_{tmp_path.name}.py").write_text(ENCODER.format(seed=seed))
    return tmp_path


def enter(folder: Path, seed: int, *more: object) -> Result:
    name = f"enc{seed}_{folder.name}:encode"
    return bench("evaluate", name, "--board", "small", "--entry", "Ann2026Linear", "--seed", seed, *more)


def test_an_encoder_of_ten_lines_is_entered_checked_ranked_and_shown(folder: Path) -> None:
    for seed in range(3):
        result = enter(folder, seed)
        assert result.exit_code == 0, result.output
    entry = folder / "results" / "entries" / "small" / "Ann2026Linear"
    assert sorted(path.name for path in entry.glob("codes-*")) == [f"codes-s{s}.npz" for s in range(3)]
    lacking = bench("board", "check", "small")
    assert lacking.exit_code == 1
    assert "licence is still to be filled in" in lacking.output
    about = (entry / "entry.toml").read_text().replace("to be filled in", "none")
    (entry / "entry.toml").write_text(about)
    assert bench("board", "check", "small").exit_code == 0, bench("board", "check", "small").output
    assert bench("board", "build", "small").exit_code == 0
    table = pd.read_csv(folder / "results" / "boards" / "small.csv")
    assert table.loc[0, "entry"] == "Ann2026Linear"
    assert table.loc[0, "mig_n"] == 3
    assert "Ann2026Linear" in (folder / "results" / "boards" / "small" / "index.html").read_text()


def test_codes_in_a_file_enter_too(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for seed, rows in ((0, 40), (1, 48)):  # of the board's points, and of all
        np.save("codes.npy", rng.normal(size=(rows, 3)))
        how = ("--board", "small", "--entry", "Ann2026Noise", "--seed", seed)
        result = bench("evaluate", "--codes", "codes.npy", *how)
        assert result.exit_code == 0, result.output
    np.save("codes.npy", rng.normal(size=(39, 3)))
    result = bench(
        "evaluate", "--codes", "codes.npy", "--board", "small", "--entry", "Ann2026Noise", "--seed", 2
    )
    assert result.exit_code == 2
    assert "39 rows" in result.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--metric", "sap"), "--metric does nothing with --board"),
        (("--dataset", "dsprites_rendered"), "not of dsprites_rendered"),
        (("--out", "x.json"), "--out does nothing with --board"),
    ],
)
def test_a_board_knows_its_question(folder: Path, more: tuple[str, ...], said: str) -> None:
    result = enter(folder, 0, *more)
    assert result.exit_code == 2
    assert said in result.output
    assert bench("evaluate", "a:b", "--board", "small").exit_code == 2


def test_a_board_may_score_as_a_paper_does(folder: Path) -> None:
    made = bench("board", "new", "chen", "--dataset", "mine.npz", "--points", 40, "--protocol", "chen2018")
    assert made.exit_code == 0, made.output
    for seed in range(3):
        name = f"enc{seed}_{folder.name}:encode"
        result = bench("evaluate", name, "--board", "chen", "--entry", "Ann2026Linear", "--seed", seed)
        assert result.exit_code == 0, result.output
    entry = folder / "results" / "entries" / "chen" / "Ann2026Linear"
    (entry / "entry.toml").write_text((entry / "entry.toml").read_text().replace("to be filled in", "none"))
    checked = bench("board", "check", "chen")
    assert checked.exit_code == 0, checked.output
    assert bench("board", "build", "chen").exit_code == 0
    assert pd.read_csv(folder / "results" / "boards" / "chen.csv").loc[0, "mig_n"] == 3
    refused = bench(
        "board", "new", "other", "--dataset", "mine.npz", "--protocol", "chen2018", "--metric", "sap"
    )
    assert refused.exit_code == 2
    board = folder / "results" / "boards" / "chen.toml"
    board.write_text(board.read_text().replace("chen2018", "nobody2000"))
    assert "one of default, dlib2019" in bench("board", "list").output


def test_an_encoder_that_raises_is_a_message_and_no_entry(folder: Path) -> None:
    (folder / f"bad_{folder.name}.py").write_text('def encode(images):\n    raise RuntimeError("no layer")\n')
    result = bench("evaluate", f"bad_{folder.name}:encode", "--board", "small", "--entry", "Ann2026Bad")
    assert result.exit_code == 2, result.output
    assert "cannot be evaluated: RuntimeError" in result.output
    assert not list((folder / "results").glob("entries/small/*"))
