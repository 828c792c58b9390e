"""A board on the squares, codes for it, and what is said of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tiny_data import squares

from disentangle_bench.board import check, scores
from disentangle_bench.board.definition import Board, new_board
from disentangle_bench.evaluation.pool import score_one

GOOD = "Doe2026Good"
ABOUT = {
    "name": "good",
    "method": "what a test needs",
    "licence": "CC0-1.0",
    "supervision": "none",
    "tuning": "none",
    "budget": "none",
}


def in_this_process(tables, factors, seeds, metrics):
    for codes, seed in zip(tables, seeds, strict=True):
        yield score_one(codes, factors, metrics, seed, None)


def make_board(results: Path, name: str = "tiny", points: int = 40) -> Board:
    asked = {"dataset": "squares", "seeds": 2}
    path = results / "boards" / f"{name}.toml"
    return new_board(path, squares(), asked, (points, 7), ["mig", "modularity"])


def codes_of(seed: int, points: int = 40, latents: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(points, latents)).astype(np.float32)


def score(results: Path, board: Board, *names: str, everything: bool = False) -> dict[str, int]:
    chosen = names or sorted(path.name for path in (results / "entries" / board.name).iterdir())
    scored: dict[str, int] = {}
    assert scores.score_entries(results, board, chosen, None, everything, scored.__setitem__) == {}
    return scored


def problems(results: Path, board: Board, *names: str) -> str:
    return "\n".join(check.check_entries(results, board, names, None))
