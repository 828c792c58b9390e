"""The cores of this machine: tasks in processes of their own, one for each core."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from disentangle_bench.errors import BenchError
from disentangle_bench.processes.worker import Surroundings, Worker
from disentangle_bench.stop import Stop, Stopped

LOOK_EVERY = 0.2  # seconds between looks at a request to stop
GRACE = 300.0  # seconds that tasks in training have for their last checkpoint when the study is stopped


class Task:
    """A call of `function(caller, *arguments)` in some process; `phase` is the one that it has told of last."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments
        self.phase = ""


T = TypeVar("T", bound=Task)


def count_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Cores(Generic[T]):
    """At most `jobs` processes with so many `threads` each, which do tasks as they come. Use it in a `with`."""

    def __init__(self, jobs: int, threads: int = 1) -> None:
        self.jobs = jobs
        self.surroundings = Surroundings.here(threads, max(threads, count_cores() // max(jobs, 1)))
        self.free: list[Worker] = []
        self.busy: dict[Connection, tuple[Worker, T]] = {}
        self.again: deque[T] = deque()

    def __enter__(self) -> Cores[T]:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in [*self.free, *(worker for worker, _ in self.busy.values())]:
            worker.end()

    def words(self, tasks: Iterable[T], stop: Stop) -> Iterator[tuple[T, str, Any]]:
        """What the tasks tell, as it comes: (task, kind, content), "began" first and "done" or "died" last of each.

        The next task is asked for when a process is free for it. What is put into `again` meanwhile comes before it.
        Raises Stopped when `stop` is asked for, after the last checkpoints of those that train, and BenchError where
        a task does.
        """
        waiting = iter(tasks)
        more = True
        while True:
            while len(self.busy) < self.jobs and not stop.requested and (self.again or more):
                task = self.again.popleft() if self.again else next(waiting, None)
                if task is None:
                    more = False
                else:
                    self._give(task)
                    yield task, "began", None
            if stop.requested:
                yield from self._last_words(stop)
                raise Stopped(stop.reason)
            if not self.busy:
                return
            yield from self._heard()

    def _give(self, task: T) -> None:
        worker = self.free.pop() if self.free else Worker(self.surroundings)
        self.busy[worker.connection] = (worker, task)
        worker.give(task.function, *task.arguments)

    def _heard(self) -> Iterator[tuple[T, str, Any]]:
        """What is there to be heard, after a moment."""
        for connection in wait(list(self.busy), LOOK_EVERY):
            worker, task = self.busy[connection]  # type: ignore[index]
            word = worker.hear()
            assert word is not None  # it was ready
            kind, content = word
            if kind == "phase":
                task.phase = content[0]
            elif kind in ("done", "stopped", "refused", "broke"):
                del self.busy[worker.connection]
                self.free.append(worker)
            elif kind == "died":
                del self.busy[worker.connection]
                worker.end()
            if kind == "refused":
                raise BenchError(content)
            if kind == "broke":
                raise RuntimeError(f"a task of this package failed in a process of its own:\n{content}")
            yield task, kind, content

    def _last_words(self, stop: Stop) -> Iterator[tuple[T, str, Any]]:
        """Let every task that trains keep a checkpoint; what scores is done again later."""
        for worker, _ in self.busy.values():
            worker.ask_to_stop(stop.reason)
        end = time.monotonic() + GRACE
        while any(task.phase in ("", "training") for _, task in self.busy.values()):
            if time.monotonic() > end:
                return
            yield from self._heard()
