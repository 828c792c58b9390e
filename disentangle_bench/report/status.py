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
    runs per hour of all processes at work, or of one where none is, and None where no run has finished; `seconds_left`
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

    The rate of a process comes from the seconds that finished runs were charged (those of a stack share theirs).
    What is left is taken to cost what finished runs of the same data set and model did, less what the runs in work have
    trained already, and to be shared evenly by the processes at work.
    """
    now = time.time() if now is None else now
    statuses = {spec.id: study.status(spec.id) for spec in expected}
    costs, unreadable = _costs(study, [spec for spec in expected if statuses[spec.id]])
    counts = Counter(status for run_id, status in statuses.items() if run_id not in unreadable)
    at_work = study.progress.each()
    alive = [progress for progress in at_work if _alive(progress, now)]
    if alive:
        state = "running"
    elif not counts[None]:
        state = "finished"
    else:
        state = "stopped" if at_work else "idle"
    running = tuple(phase for progress in alive for phase in _phases(progress))
    every = [seconds for charged in costs.values() for seconds in charged]
    left = [spec for spec in expected if statuses[spec.id] is None]
    return Status(
        total=len(expected),
        done=counts[DONE],
        failed=counts[FAILED],
        state=state,
        running=running,
        rate=3600 * max(1, len(alive)) * len(every) / sum(every) if sum(every) > 0 else None,
        seconds_left=_left(left, running, costs) / len(alive) if alive and every else None,
        unreadable=unreadable,
    )


def _alive(progress: dict[str, Any], now: float) -> bool:
    """Whether the writer of this progress gave a sign of life lately and, if it is of this machine, still exists."""
    if now - float(progress.get("updated", 0)) > STALE_AFTER:
        return False
    if progress.get("host") != platform.node():
        return True
    if os.name == "nt":
        return True  # there, asking whether a process exists would end it
    try:
        os.kill(int(progress["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is there and somebody else's
    return True


def _phases(progress: dict[str, Any]) -> tuple[Phase, ...]:
    runs = progress.get("runs", {})
    return tuple(Phase(run, str(p["phase"]), int(p["done"]), int(p["total"])) for run, p in runs.items())


def _costs(
    study: StudyDir, there: Sequence[RunSpec]
) -> tuple[dict[tuple[str, str], list[float]], dict[str, str]]:
    """The seconds that finished runs were charged, by data set and model; and why runs cannot be read, by id."""
    costs: dict[tuple[str, str], list[float]] = {}
    unreadable: dict[str, str] = {}
    for spec in there:
        try:
            record = study.load(spec.id, curves=False)
        except BenchError as error:
            unreadable[spec.id] = str(error)
            continue
        seconds = record.provenance.get("seconds")
        if seconds and record.failure is None:
            costs.setdefault(_kind(spec), []).append(sum(seconds.values()))
    return costs, unreadable


def _kind(spec: RunSpec) -> tuple[str, str]:
    return spec.dataset.label, spec.model


def _left(
    left: Sequence[RunSpec], running: Sequence[Phase], costs: Mapping[tuple[str, str], Sequence[float]]
) -> float:
    every = [seconds for charged in costs.values() for seconds in charged]
    trained = {p.run: p.done / p.total for p in running if p.phase == "training" and p.total > 0}
    seconds = 0.0
    for spec in left:
        known = costs.get(_kind(spec), every)
        seconds += sum(known) / len(known) * (1 - min(trained.get(spec.id, 0.0), 1.0))
    return seconds
