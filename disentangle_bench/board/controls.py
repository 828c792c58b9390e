"""Codes of known worth as entries of a board, so that its figures can be read against a ceiling and chance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from disentangle_bench.board.definition import Board
from disentangle_bench.board.entries import write_entry
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.metrics.controls import ground_truth, random

STEPS = 16  # to a standard deviation: codes of controls are rounded, so that their files stay small
CONTROLS = {
    "Control2026Factors": ("factors", "the factors themselves, in any order, with any signs"),
    "Control2026Untrained": ("untrained", "the standard VAE's encoder before its first step, 10 latents"),
    "Control2026Components": ("PCA", "the first 10 principal components of the pixels of 5000 images"),
    "Control2026Random": ("random", "10 latents of Gaussian noise"),
}


def enter_controls(results: Path, board: Board, dataset: FactorDataset) -> list[str]:
    """Write the entries of all controls with as many seeds as the board needs, and return their names.

    What is not the factors is rounded to sixteenths of a latent's standard deviation.
    """
    codes = [list(_codes(dataset, board, seed)) for seed in range(board.seeds)]
    for number, (name, (called, method)) in enumerate(CONTROLS.items()):
        texts = {"licence": "CC0-1.0", "tuning": "none", "budget": "none"}
        supervision = "full" if called == "factors" else "none"
        about = {"name": f"control: {called}", "method": method, "supervision": supervision, **texts}
        tables = {seed: codes[seed][number] for seed in range(board.seeds)}
        write_entry(results, board, name, about | {"control": True}, tables)
    return list(CONTROLS)


def _codes(dataset: FactorDataset, board: Board, seed: int) -> Iterator[NDArray[np.float32]]:
    """Codes [points, latents] of each of the controls, in their order."""
    from disentangle_bench.evaluation.controls import principal_components, untrained
    from disentangle_bench.evaluation.encode import encode_dataset
    from disentangle_bench.evaluation.tables import values_of

    drawn = (board.drawn.number, board.drawn.seed)
    blind, truth = encode_dataset(untrained(dataset, seed).encode, dataset, *drawn)
    factors = values_of(truth)
    rng = np.random.default_rng([seed, *b"factors"])
    # Without these all seeds would have the same codes. A metric that sees more in an order or a sign is at fault.
    order, signs = rng.permutation(factors.shape[1]), rng.choice([-1.0, 1.0], factors.shape[1])
    yield (ground_truth(factors, rng)[:, order] * signs).astype(np.float32)
    yield _rounded(blind)
    yield _rounded(encode_dataset(principal_components(dataset, seed), dataset, *drawn)[0])
    yield _rounded(random(factors, np.random.default_rng([seed, *b"random"])))


def _rounded(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    spread = codes.std(axis=0)
    centred = (codes - codes.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return np.round(centred * STEPS).astype(np.float32)
