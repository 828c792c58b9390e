"""Many tables of codes scored at once, a process each: metrics are single-threaded or nearly so."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disentangle_bench import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def score_many(
    tables: NDArray[np.float32],
    factors: NDArray[np.int64],
    seeds: Sequence[int],
    metrics: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """`score_report` of each of the tables [tables, points, latents] with its seed, in order, on all cores.

    Processes start afresh: a script that calls this must be importable, its doings under `if __name__ == "__main__"`.
    """
    with ProcessPoolExecutor(
        max_workers=min(len(tables), os.cpu_count() or 1),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(registry.plugin_files(),),
    ) as pool:
        waiting = [
            pool.submit(_score, codes, factors, tuple(metrics), seed)
            for codes, seed in zip(tables, seeds, strict=True)
        ]
        for future in waiting:
            yield future.result()


def _begin(plugins: list[Path]) -> None:
    """One thread a process, set before any numerical library is loaded; and the plug-ins that the parent loaded."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for path in plugins:
        registry.load_plugin(path)


def _score(
    codes: NDArray[np.float32], factors: NDArray[np.int64], metrics: tuple[str, ...], seed: int
) -> dict[str, Any]:
    from disentangle_bench.scoring import score_report

    return score_report(codes, factors, metrics, seed)
