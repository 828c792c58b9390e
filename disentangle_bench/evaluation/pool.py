"""Metrics in processes of their own: many tables at once, and metrics that end their process or take too long."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.processes.cores import Cores, Task, count_cores
from disentangle_bench.processes.worker import Caller, Surroundings, Worker
from disentangle_bench.stop import Stop

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from disentangle_bench.evaluation.tables import Truth
    from disentangle_bench.metrics.metric import Factors

TABLE_KEYS = ("points", "mutual_information")  # what a report says of the tables, whatever the metrics


def score_many(
    tables: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    factors: Factors | Truth,
    seeds: Sequence[int],
    metrics: Sequence[str],
    seconds: float | None = None,
) -> Iterator[dict[str, Any]]:
    """`score_one` of each of the tables [points, latents] with its seed, in order, on all cores."""
    waiting = (
        Task(_score, number, (codes, factors), tuple(metrics), seed, seconds)
        for number, (codes, seed) in enumerate(zip(tables, seeds, strict=True))
    )
    found: dict[int, dict[str, Any]] = {}
    following = 0
    with Cores[Task](min(len(tables), count_cores())) as cores:
        for task, kind, content in cores.words(waiting, Stop()):
            number = task.arguments[0]
            if kind == "done":
                found[number] = content
            elif kind == "died":
                # Which metric it was shows when each has a process of its own.
                found[number] = score_limited(tables[number], factors, metrics, seeds[number], None)
            while following in found:
                yield found.pop(following)
                following += 1


def score_one(
    codes: NDArray[np.float32],
    factors: Factors | Truth,
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
    from disentangle_bench.evaluation.scores import add_part, metric_report, score_report

    report: dict[str, Any] = {"scores": {}, "metrics": {}, "failures": {}}
    for name in metrics:
        score = metric_report if name in registry.METRICS else _report_of_others
        add_part(report, score(name, codes, factors, seed))
        on_metric()
    whole = score_report(codes, factors, [], seed)
    return report | {key: whole[key] for key in TABLE_KEYS}


def score_limited(
    codes: NDArray[np.float32],
    factors: Factors | Truth,
    metrics: Sequence[str],
    seed: int,
    seconds: float | None,
    on_metric: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """`score_report`, where a metric that has not answered after `seconds` is killed and counts as one that raised.

    The clock starts with the metric, not with its process. A metric that kills its process counts so too. None waits
    for each as long as it takes.
    """
    from disentangle_bench.evaluation.scores import add_part, score_report

    report: dict[str, Any] = {"scores": {}, "metrics": {}, "failures": {}}
    worker = None
    try:
        for name in metrics:
            worker = worker or _ready()
            part, worker = _report_within(worker, name, codes, factors, seed, seconds)
            add_part(report, part)
            on_metric()
    finally:
        if worker is not None:
            worker.end()
    whole = score_report(codes, factors, [], seed)
    return report | {key: whole[key] for key in TABLE_KEYS}


def _report_within(
    worker: Worker,
    name: str,
    codes: NDArray[np.float32],
    factors: Factors | Truth,
    seed: int,
    seconds: float | None,
) -> tuple[dict[str, Any], Worker | None]:
    """A metric's report by a process, which is None afterwards where it had to be ended."""
    worker.give(_report, name, codes, factors, seed)
    word = worker.hear(seconds)
    if word is None:
        failure = f"TimeLimit: no answer within {seconds:g} s"
    else:
        kind, content = word
        if kind == "done":
            return content, worker
        if kind == "refused":
            raise BenchError(content)
        failure = content
    worker.end()
    return {"scores": {}, "metrics": {}, "failures": {name: failure}}, None


def _ready() -> Worker:
    """A process that has imported what metrics need."""
    worker = Worker(Surroundings.here())
    worker.give(_begin)
    worker.hear()
    return worker


def _report_of_others(
    name: str, codes: NDArray[np.float32], factors: Factors | Truth, seed: int
) -> dict[str, Any]:
    """`metric_report` of a metric that is not this package's, by a process that lasts until one ends it."""
    needs = _needs()
    worker = _lasting.pop(needs, None) or _ready()
    for before in list(_lasting):
        _lasting.pop(before).end()
    try:
        report, left = _report_within(worker, name, codes, factors, seed, None)
    except BaseException:
        worker.end()  # the metric may never come to its end
        raise
    if left is not None:
        _lasting[needs] = left
    return report


def _needs() -> Any:
    """What a process that lasts was started with; it is not asked with code that is no more."""
    files = registry.plugin_files()
    stamps = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files if path.exists()]
    return os.getcwd(), tuple(sys.path), tuple(stamps)


# At most one, by what it needs.
_lasting: dict[Any, Worker] = {}
# A process that was forked has none: the line leads from its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lasting.clear)


# From here on: what runs in a worker.


def _begin(caller: Caller) -> None:
    """Import what metrics need, before any clock runs."""
    import disentangle_bench.evaluation.scores  # noqa: F401


def _report(
    caller: Caller, name: str, codes: NDArray[np.float32], factors: Factors | Truth, seed: int
) -> dict[str, Any]:
    from disentangle_bench.evaluation.scores import metric_report

    return metric_report(name, codes, factors, seed)


def _score(
    caller: Caller,
    number: int,
    tables: tuple[NDArray[np.float32], Factors | Truth],
    metrics: tuple[str, ...],
    seed: int,
    seconds: float | None,
) -> dict[str, Any]:
    codes, factors = tables
    return score_one(codes, factors, metrics, seed, seconds)
