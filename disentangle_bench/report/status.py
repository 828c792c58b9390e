"""How a study that somebody else is running gets on, from what is on disk."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from disentangle_bench.errors import BenchError
from disentangle_bench.records.costs import Costs
from disentangle_bench.records.run_record import DONE, FAILED
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import RunSpec

STALE_AFTER = 60.0  # seconds without a sign of life


@dataclass(frozen=True)
class Phase:
    """What a run in work is doing: `done` of `total` units of the phase."""

    run: str
    phase: str
    done: int
    total: int


@dataclass(frozen=True)
class Status:
    """Counts of a study's runs, who is at work, and when it may be ready.

    `state` is "running", "stopped" (somebody began and is gone), "idle" (nobody is at work) or "finished". `rate` is in
    runs per hour of all jobs at work, or of one where none is, and None where no run has finished; `seconds_left`
    is None where nobody is at work or nothing is known. `unreadable` says of each run that cannot be read, by its id,
    why and what to do; it counts as neither done nor failed.
    """

    total: int
    done: int
    failed: int
    state: str
    running: tuple[Phase, ...]
    rate: float | None
    seconds_left: float | None
    unreadable: Mapping[str, str]


def study_status(study: StudyDir, expected: Sequence[RunSpec], now: float | None = None) -> Status:
    """The status of the study whose grid describes the runs `expected`, at the time `now` (seconds).

    The rate of a job comes from the seconds that finished runs were charged (those of a stack share theirs), and the
    time that is left from `Costs.left`.
    """
    now = time.time() if now is None else now
    statuses = {spec.id: study.status(spec.id) for spec in expected}
    costs, unreadable = _costs(study, [spec for spec in expected if statuses[spec.id]])
    counts = Counter(status for run_id, status in statuses.items() if run_id not in unreadable)
    at_work = study.progress.each()
    alive = _alive(at_work, now)
    if alive:
        state = "running"
    elif not counts[None]:
        state = "finished"
    else:
        state = "stopped" if at_work else "idle"
    running = _phases(alive)
    left = [spec for spec in expected if statuses[spec.id] is None]
    return Status(
        total=len(expected),
        done=counts[DONE],
        failed=counts[FAILED],
        state=state,
        running=running,
        rate=3600 * max(1, _jobs(alive)) / costs.mean if costs.mean else None,
        seconds_left=seconds_left(left, at_work, costs, now),
        unreadable=unreadable,
    )


def at_work_now(study: StudyDir) -> tuple[Phase, ...]:
    """What the runs in work are doing."""
    return _phases(_alive(study.progress.each(), time.time()))


def seconds_left(
    left: Sequence[RunSpec], at_work: Sequence[dict[str, Any]], costs: Costs, now: float | None = None
) -> float | None:
    """Seconds until the runs `left` are finished, by what others cost (`Costs.left`).

    `at_work` are a study's progress files. None where nobody is at work or nothing is known.
    """
    alive = _alive(at_work, time.time() if now is None else now)
    trained = {p.run: p.done / p.total for p in _phases(alive) if p.phase == "training" and p.total > 0}
    return costs.left(left, trained, _jobs(alive)) if alive else None


def _alive(at_work: Sequence[dict[str, Any]], now: float) -> list[dict[str, Any]]:
    """The progress files whose writers gave a sign of life lately and, if they are of this machine, still exist."""
    return [p for p in at_work if now - float(p.get("updated", 0)) <= STALE_AFTER and _exists(p)]


def _exists(progress: dict[str, Any]) -> bool:
    if progress.get("host") != platform.node() or os.name == "nt":
        return True  # on Windows, asking whether a process exists would end it
    try:
        os.kill(int(progress["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is there and somebody else's
    return True


def _jobs(alive: Sequence[dict[str, Any]]) -> int:
    """How many jobs are at work; a stack is one."""
    return sum(max(1, int(progress.get("jobs", 1))) for progress in alive)


def _phases(alive: Sequence[dict[str, Any]]) -> tuple[Phase, ...]:
    return tuple(
        Phase(run, str(p["phase"]), int(p["done"]), int(p["total"]))
        for progress in alive
        for run, p in progress.get("runs", {}).items()
    )


def _costs(study: StudyDir, there: Sequence[RunSpec]) -> tuple[Costs, dict[str, str]]:
    """What finished runs have cost; and why runs cannot be read, by id."""
    costs = Costs()
    unreadable: dict[str, str] = {}
    for spec in there:
        try:
            costs.add(study.load(spec.id, curves=False))
        except BenchError as error:
            unreadable[spec.id] = str(error)
    return costs, unreadable
