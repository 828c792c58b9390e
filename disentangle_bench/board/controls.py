"""Codes of known worth as entries of a board, so that its figures can be read against a ceiling and chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.board.definition import Board
from disentangle_bench.board.entries import write_entry
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.metrics.controls import ground_truth, random

STEPS = 16  # to a standard deviation: codes of controls are rounded, so that their files stay small
Made = Callable[[FactorDataset, Board, int], NDArray[np.float32]]


def _factors(dataset: FactorDataset, board: Board, seed: int) -> NDArray[np.float32]:
    factors = dataset.factors(board.points(dataset)).cpu().numpy()
    rng = np.random.default_rng([seed, *b"factors"])
    # Without these the seeds would have the same codes; no metric that the board asks for depends on either.
    order, signs = rng.permutation(factors.shape[1]), rng.choice([-1.0, 1.0], factors.shape[1])
    return (ground_truth(factors, rng)[:, order] * signs).astype(np.float32)


def _random(dataset: FactorDataset, board: Board, seed: int) -> NDArray[np.float32]:
    factors = np.zeros((board.drawn.number, 1), dtype=np.int64)
    return _rounded(random(factors, np.random.default_rng([seed, *b"random"])))


def _components(dataset: FactorDataset, board: Board, seed: int) -> NDArray[np.float32]:
    from disentangle_bench.evaluate.controls import principal_components
    from disentangle_bench.evaluate.encode import encode_dataset

    encode = principal_components(dataset, seed)
    return _rounded(encode_dataset(encode, dataset, board.drawn.number, board.drawn.seed)[0])


def _untrained(dataset: FactorDataset, board: Board, seed: int) -> NDArray[np.float32]:
    from disentangle_bench.evaluate.controls import untrained
    from disentangle_bench.evaluate.encode import encode_dataset

    encode = untrained(dataset, seed).encode
    return _rounded(encode_dataset(encode, dataset, board.drawn.number, board.drawn.seed)[0])


def _rounded(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    spread = codes.std(axis=0)
    centred = (codes - codes.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.round(centred * STEPS).astype(np.float32)


CONTROLS: dict[str, tuple[Made, dict[str, str]]] = {
    "Control2026Factors": (
        _factors,
        {"name": "control: factors", "method": "the factors themselves, in any order, with any signs"},
    ),
    "Control2026Untrained": (
        _untrained,
        {
            "name": "control: untrained",
            "method": "the standard VAE's encoder before its first step, 10 latents",
        },
    ),
    "Control2026Components": (
        _components,
        {"name": "control: PCA", "method": "the first 10 principal components of the pixels of 5000 images"},
    ),
    "Control2026Random": (_random, {"name": "control: random", "method": "10 latents of Gaussian noise"}),
}


def enter_controls(results: Path, board: Board, dataset: FactorDataset) -> list[str]:
    """Write the entries of all controls with as many seeds as the board needs, and return their names.

    What is not the factors is rounded to sixteenths of a latent's standard deviation.
    """
    for name, (made, said) in CONTROLS.items():
        about: dict[str, Any] = {
            **said,
            "licence": "CC0-1.0",
            "supervision": "full" if made is _factors else "none",
            "tuning": "none",
            "budget": "none",
            "control": True,
        }
        write_entry(
            results, board, name, about, {seed: made(dataset, board, seed) for seed in range(board.seeds)}
        )
    return list(CONTROLS)
