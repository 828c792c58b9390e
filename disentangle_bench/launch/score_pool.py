"""Metrics in processes of their own: many tables at once, and metrics that are given up when they take too long."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from disentangle_bench import registry
from disentangle_bench.streams import go_on_unread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TABLE_KEYS = ("points", "mutual_information")  # what a report says of the tables, whatever the metrics


def score_many(
    tables: NDArray[np.float32],
    factors: NDArray[np.int64],
    seeds: Sequence[int],
    metrics: Sequence[str],
    seconds: float | None = None,
) -> Iterator[dict[str, Any]]:
    """`score_report` of each of the tables [tables, points, latents] with its seed, in order, on all cores.

    With `seconds` as `score_limited`, and so are the tables that are left when a metric kills its process.
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
        with _without_main():
            waiting = [
                pool.submit(_score, codes, factors, tuple(metrics), seed)
                for codes, seed in zip(tables, seeds, strict=True)
            ]
        try:
            for number, future in enumerate(waiting):
                try:
                    report = future.result()
                except BrokenProcessPool:
                    # Which metric of which table it was shows when each has a process of its own.
                    report = score_limited(tables[number], factors, metrics, seeds[number], None)
                yield report
        except BaseException:
            _abandon(pool)
            raise


def score_one(
    codes: NDArray[np.float32],
    factors: NDArray[np.int64],
    metrics: Sequence[str],
    seed: int,
    seconds: float | None,
    on_metric: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """`score_report`, with this package's metrics in this process and anyone's else in another, which they may end.

    With `seconds` it is `score_limited`.
    """
    if seconds is not None:
        return score_limited(codes, factors, metrics, seed, seconds, on_metric)
    from disentangle_bench.scoring import add_part, metric_report, score_report

    report: dict[str, Any] = {"scores": {}, "metrics": {}, "failures": {}}
    for name in metrics:
        score = metric_report if name in registry.METRICS else _report_of_others
        add_part(report, score(name, codes, factors, seed))
        on_metric()
    whole = score_report(codes, factors, [], seed)
    return report | {key: whole[key] for key in TABLE_KEYS}


def _report_of_others(
    name: str, codes: NDArray[np.float32], factors: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """`metric_report` of a metric that is not this package's, by a process that lasts until one ends it."""
    from disentangle_bench.scoring import metric_report

    pool = _pool_for_others()
    try:
        with _without_main():
            answer = pool.submit(metric_report, name, codes, factors, seed)
        return answer.result()
    except BrokenProcessPool:
        _abandon(pool)
        report = score_limited(codes, factors, [name], seed, None)  # says how it ends its process
        return {key: report[key] for key in ("scores", "metrics", "failures")}
    except BaseException:
        _abandon(pool)  # the metric may never come to its end
        raise


def _pool_for_others() -> ProcessPoolExecutor:
    """The process for metrics that are not this package's: the one there is, while it would import the same."""
    files = registry.plugin_files()
    stamps = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files if path.exists()]
    needs = (os.getcwd(), tuple(sys.path), tuple(stamps))
    for before, pool in list(_pools.items()):
        if before != needs:
            _abandon(pool)
    if needs not in _pools:
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (files,))
        # A process that was itself started by multiprocessing waits at its end for all that it has started.
        Finalize(None, _abandon, (pool,), exitpriority=1)
        _pools[needs] = pool
    return _pools[needs]


# At most one, by what it has been started with.
_pools: dict[Any, ProcessPoolExecutor] = {}


def _abandon(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool, whatever they do; nobody waits for them any more."""
    processes = list((pool._processes or {}).values())  # no public name for it before Python 3.14
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for needs in [needs for needs, kept in _pools.items() if kept is pool]:
        del _pools[needs]


@contextmanager
def _without_main() -> Iterator[None]:
    """Within, processes start without the user's script, which would do all of its work again in each of them."""
    with _starting:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


_starting = threading.Lock()


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
    from disentangle_bench.scoring import add_part, score_report

    left = list(metrics)
    report: dict[str, Any] = {"scores": {}, "metrics": {}, "failures": {}}
    while left:
        here, there = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_score_each,
            args=(there, registry.plugin_files(), codes, factors, tuple(left), seed),
            daemon=True,
        )
        with _without_main():
            process.start()
        there.close()
        failure = None
        try:
            here.recv()  # it has imported what it needs
            while left:
                if not here.poll(seconds):
                    failure = f"TimeLimit: no answer within {seconds:g} s"
                    break
                add_part(report, here.recv())
                left.pop(0)
                on_metric()
        except EOFError:
            process.join()
            failure = f"its process ended with exit code {process.exitcode}"
        finally:
            here.close()
            process.kill()
            process.join()
        if failure is not None:
            report["failures"][left.pop(0)] = failure
            on_metric()
    whole = score_report(codes, factors, [], seed)
    return report | {key: whole[key] for key in TABLE_KEYS}


def _score_each(
    answers: Connection,
    plugins: list[Path],
    codes: NDArray[np.float32],
    factors: NDArray[np.int64],
    metrics: tuple[str, ...],
    seed: int,
) -> None:
    """A word when all is imported, then a report per metric."""
    _begin(plugins)
    from disentangle_bench.scoring import score_report

    answers.send(None)
    for name in metrics:
        answers.send(score_report(codes, factors, [name], seed))


def _begin(plugins: list[Path]) -> None:
    """One thread a process, set before any numerical library is loaded; and the plug-ins that the parent loaded."""
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    go_on_unread("stdout", "stderr")
    # A terminal and a batch system send these to all processes; the parent decides, and ends this one.
    for name in ("SIGINT", "SIGHUP", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
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
