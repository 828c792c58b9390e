"""Metrics in processes of their own: many tables at once, and metrics that are given up when they take too long."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
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
    seconds: float | None = None,
) -> Iterator[dict[str, Any]]:
    """`score_report` of each of the tables [tables, points, latents] with its seed, in order, on all cores.

    With `seconds` as `score_limited`, and so are the tables that are left when a metric kills its process. Processes
    start afresh: a script that calls this must be importable, its doings under `if __name__ == "__main__"`.
    """
    workers = min(len(tables), os.cpu_count() or 1)
    if seconds is not None:
        with ThreadPoolExecutor(workers) as threads:  # each waits for a process that it can kill
            yield from threads.map(
                lambda codes, seed: score_limited(codes, factors, metrics, seed, seconds), tables, seeds
            )
        return
    with ProcessPoolExecutor(
        max_workers=workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(registry.plugin_files(),),
    ) as pool:
        waiting = [
            pool.submit(_score, codes, factors, tuple(metrics), seed)
            for codes, seed in zip(tables, seeds, strict=True)
        ]
        for number, future in enumerate(waiting):
            try:
                report = future.result()
            except (
                BrokenProcessPool
            ):  # which metric of which table it was shows when each has a process of its own
                report = score_limited(tables[number], factors, metrics, seeds[number], None)
            yield report


def score_one(
    codes: NDArray[np.float32],
    factors: NDArray[np.int64],
    metrics: Sequence[str],
    seed: int,
    seconds: float | None,
    on_metric: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """`score_report` in this process where no metric has a limit, else `score_limited`."""
    if seconds is not None:
        return score_limited(codes, factors, metrics, seed, seconds, on_metric)
    from disentangle_bench.scoring import score_report

    return score_report(codes, factors, metrics, seed, on_metric)


def score_limited(
    codes: NDArray[np.float32],
    factors: NDArray[np.int64],
    metrics: Sequence[str],
    seed: int,
    seconds: float | None,
    on_metric: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """`score_report`, where a metric that has not answered after `seconds` is killed and counts as one that raised.

    The clock starts with the metric, not with its process. A metric that kills its process counts so too. None waits
    for each as long as it takes.
    """
    from disentangle_bench.scoring import add_part

    left = list(metrics)
    report: dict[str, Any] = {"scores": {}, "metrics": {}, "failures": {}}
    while True:
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_score_each,
            args=(there, registry.plugin_files(), codes, factors, tuple(left), seed),
            daemon=True,
        )
        process.start()
        there.close()
        try:
            here.recv()  # it has imported what it needs
            while left:
                if not here.poll(seconds):
                    report["failures"][left.pop(0)] = f"TimeLimit: no answer within {seconds:g} s"
                    break
                add_part(report, here.recv())
                left.pop(0)
                on_metric()
            else:
                return report | here.recv()
        except EOFError:
            if not left:
                raise RuntimeError("the process that scores ended before its work was done") from None
            process.join()
            report["failures"][left.pop(0)] = f"its process ended with exit code {process.exitcode}"
        finally:
            here.close()
            process.kill()
            process.join()
        on_metric()


def _score_each(
    answers: Connection,
    plugins: list[Path],
    codes: NDArray[np.float32],
    factors: NDArray[np.int64],
    metrics: tuple[str, ...],
    seed: int,
) -> None:
    """A report per metric, then what a report says of the tables themselves."""
    _begin(plugins)
    from disentangle_bench.scoring import score_report

    answers.send(None)
    for name in metrics:
        answers.send(score_report(codes, factors, [name], seed))
    whole = score_report(codes, factors, [], seed)
    answers.send({key: whole[key] for key in ("points", "mutual_information")})


def _begin(plugins: list[Path]) -> None:
    """One thread a process, set before any numerical library is loaded; and the plug-ins that the parent loaded."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for path in plugins:
        registry.load_plugin(path)


def _end_with_the_parent() -> None:
    """A parent that is killed outright cannot tell its processes to end, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _score(
    codes: NDArray[np.float32], factors: NDArray[np.int64], metrics: tuple[str, ...], seed: int
) -> dict[str, Any]:
    from disentangle_bench.scoring import score_report

    return score_report(codes, factors, metrics, seed)
