"""A results folder of the test's own."""

from pathlib import Path

import pytest
from boards import ABOUT, GOOD, codes_of, in_this_process, make_board, score

from disentangle_bench import registry
from disentangle_bench.board.entries import write_entry


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with the board `tiny` and one scored entry; scoring happens in this process."""
    monkeypatch.setitem(registry.DATASETS, "squares", "tiny_data:SQUARES")
    monkeypatch.setattr("disentangle_bench.evaluation.pool.score_many", in_this_process)
    board = make_board(tmp_path)
    write_entry(tmp_path, board, GOOD, ABOUT, {seed: codes_of(seed) for seed in range(2)})
    score(tmp_path, board)
    return tmp_path
