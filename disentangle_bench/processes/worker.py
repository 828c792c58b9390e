"""Processes of this machine that do one task after the other, and say how they get on.

A pool of the standard library ends all its processes when one of them dies; here a process costs nothing but its own
task. It is forked, so that one more starts in an instant: from the command itself, which sees to it that it may be, or,
where somebody's own program is the parent, from a server that has imported what tasks need and does nothing else.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from types import ModuleType
from typing import Any

from disentangle_bench import registry
from disentangle_bench.data import cache
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.side_by_side import use_threads
from disentangle_bench.processes.messages import PhaseMessages
from disentangle_bench.stop import Stop, Stopped
from disentangle_bench.streams import go_on_unread

# Windows cannot fork.
SERVER = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
PRELOADED = ["disentangle_bench.study.tasks"]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# A terminal and a batch system send these to all processes; the one that started the others decides what ends.
LEFT_TO_THE_PARENT = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


@dataclass(frozen=True)
class Surroundings:
    """What a process needs to do a task as this one would: directory, modules, plug-ins, environment, whole files.

    `forked`: from this process, which has all that already.
    """

    folder: str
    paths: tuple[str, ...]
    environment: dict[str, str]
    plugins: tuple[Path, ...]
    threads: int = 1
    metric_threads: int | None = None
    verified: Mapping[str, cache.Verified] = field(default_factory=dict)
    forked: bool = False

    @classmethod
    def here(cls, threads: int = 1, metric_threads: int | None = None) -> Surroundings:
        """Those of this process, with so many threads for torch, and for metrics (None: one per core)."""
        paths = tuple(os.path.abspath(path) for path in sys.path)
        plugins = tuple(path.absolute() for path in registry.plugin_files())
        return cls(
            os.getcwd(),
            paths,
            dict(os.environ),
            plugins,
            threads,
            metric_threads,
            cache.verified(),
            _may_fork,
        )

    def take(self) -> None:
        """Make them this process's."""
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.threads)
        use_threads(self.metric_threads)
        if self.forked:
            return
        os.chdir(self.folder)
        sys.path[:] = self.paths
        os.environ.clear()
        os.environ.update(self.environment | dict.fromkeys(THREADS, "1"))
        cache.trust(self.verified)
        for path in self.plugins:
            registry.load_plugin(path)


def fork_from_here() -> None:
    """Let processes be forked from this one, where that is safe; for a command, which knows what it has done so far.

    A fork keeps one thread of its parent's, and waits for ever where it needs another: of OpenMP, so that torch gets
    one thread here, or of a GPU's gradients.
    """
    global _may_fork
    import torch

    torch.set_num_threads(1)
    os.environ.update(dict.fromkeys(THREADS, "1"))  # for libraries that are still to be loaded
    _may_fork = sys.platform == "linux" and not torch.accelerator.is_available()


def may_fork() -> bool:
    """Whether processes are forked from this one."""
    return _may_fork


_may_fork = False


class Caller(PhaseMessages):
    """A task's end of the line: what it tells is heard by who has given it, and `stop` may be asked for."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(lambda kind, content: connection.send((kind, content)))
        self.stop = Stop()


class Worker:
    """A process of its own. It gets a task with `give`, and `hear` has what comes of it.

    What is heard ends with one of ("done", result), ("stopped", reason), ("refused", message of a BenchError),
    ("broke", traceback) or, where the process is gone, ("died", how).
    """

    def __init__(self, surroundings: Surroundings) -> None:
        processes: Any = multiprocessing.get_context("fork" if surroundings.forked else SERVER)
        self.connection, there = processes.Pipe()
        _open.add(self.connection)
        self.process = processes.Process(target=_serve, args=(there, surroundings))
        with nullcontext() if surroundings.forked else _starting():
            self.process.start()
        there.close()
        # A process that was itself started by multiprocessing waits at its end for all that it has started.
        self._finalize = Finalize(self, _end, (self.connection, self.process), exitpriority=1)

    def give(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Have it call task(caller, *arguments)."""
        self._send(("task", (task, arguments)))

    def ask_to_stop(self, reason: str) -> None:
        """Let the task know that it is to stop."""
        self._send(("stop", reason))

    def hear(self, seconds: float | None = None) -> tuple[str, Any] | None:
        """The next word, awaited; None where `seconds` pass without one."""
        try:
            if not self.connection.poll(seconds):
                return None
            word: tuple[str, Any] = self.connection.recv()
            return word
        except (EOFError, OSError):
            self.process.join()
            return "died", f"its process ended with exit code {self.process.exitcode}"

    def end(self) -> None:
        """End the process, whatever it does."""
        self._finalize()

    def _send(self, message: tuple[str, Any]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died, which is heard next
            self.connection.send(message)


# The ends of lines that lead from this process to others.
_open: set[Connection] = set()


def _end(connection: Connection, process: Any) -> None:
    connection.close()
    _open.discard(connection)
    process.kill()
    process.join()


@contextmanager
def _starting() -> Iterator[None]:
    """Within, processes start without the user's script, which would do all of its work again in each of them.

    The server that they are forked from begins with one thread, as numerical libraries look for that when they load.
    """
    with _one_at_a_time:
        script, before = sys.modules["__main__"], dict(os.environ)
        sys.modules["__main__"] = ModuleType("__main__")
        os.environ.update(dict.fromkeys(THREADS, "1"))
        multiprocessing.set_forkserver_preload(PRELOADED)
        try:
            yield
        finally:
            sys.modules["__main__"] = script
            for name in THREADS:
                os.environ.pop(name)
                os.environ.update({name: before[name]} if name in before else {})


_one_at_a_time = threading.Lock()


# From here on: what runs in a worker.


def _serve(connection: Connection, surroundings: Surroundings) -> None:
    """Do task after task until there is nobody to give one."""
    # A line is at its end when nobody holds the other one any more; a fork must not hold those of its siblings.
    for other in list(_open):
        other.close()
    _open.clear()
    for name in LEFT_TO_THE_PARENT:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    go_on_unread("stdout", "stderr")
    tasks: queue.SimpleQueue[tuple[Caller, Callable[..., Any], tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    ready = False
    while True:
        caller, task, arguments = tasks.get()
        try:
            if not ready:
                surroundings.take()
                ready = True
            word: tuple[str, Any] = ("done", task(caller, *arguments))
        except Stopped as stopped:
            word = ("stopped", str(stopped))
        except BenchError as error:
            word = ("refused", str(error))
        except Exception:
            word = ("broke", traceback.format_exc())
        connection.send(word)


def _listen(connection: Connection, tasks: queue.SimpleQueue[Any]) -> None:
    """Take in tasks and requests to stop; end with the parent, which may be killed outright."""
    caller = Caller(connection)
    try:
        while True:
            what, content = connection.recv()
            if what == "stop":
                caller.stop.reason = content
            else:
                caller = Caller(connection)
                tasks.put((caller, *content))
    finally:
        os._exit(1)
