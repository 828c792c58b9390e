"""The command `bench` in processes of its own, which need not import for ten seconds each.

They are forked from one process that has imported what studies need, and otherwise are as a shell would start them:
their own directory, environment, output files and signals.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PRELOADED = [
    "torch._dynamo",
    "sklearn.linear_model",
    "disentangle_bench.study.study",
    "disentangle_bench.report.figures",
    "disentangle_bench.metrics.factor_vae",
    "disentangle_bench.metrics.mig",
]
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(PRELOADED)


class Bench:
    """`bench *arguments`, started in `folder`; `paths` are where it finds modules beside what is installed."""

    def __init__(self, *arguments: object, folder: Path, paths: tuple[Path, ...] = ()) -> None:
        self.outputs = [folder / f".{kind}-{time.monotonic_ns()}" for kind in ("out", "err")]
        self.process = processes.Process(
            target=_run, args=([str(argument) for argument in arguments], folder, self.outputs, paths)
        )
        self.process.start()

    def lines(self) -> Iterator[str]:
        """What it says on standard error, line by line as it comes, until it ends."""
        while not self.outputs[1].exists():
            time.sleep(0.001)
        with self.outputs[1].open() as said:
            partial = ""
            while True:
                running = self.process.is_alive()  # asked before reading: nothing comes after its end
                for piece in said.readlines():
                    partial += piece
                    if partial.endswith("\n"):
                        yield partial
                        partial = ""
                if not running:
                    return
                time.sleep(0.002)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self) -> int:
        """Its exit code when it has ended; that of a killed one is the signal's number, negative."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    @property
    def said(self) -> str:
        """All that it has printed, standard error last."""
        return "".join(path.read_text() for path in self.outputs if path.exists())


def _run(arguments: list[str], folder: Path, outputs: list[Path], paths: tuple[Path, ...]) -> None:
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(folder)
    sys.path[:] = [*map(str, paths), *(path for path in sys.path if path)]
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)  # whatever started the tests, nohup say, may ignore some
    from disentangle_bench.cli import main

    main(arguments, prog_name="bench")


def ends_well(bench: Bench) -> None:
    """It ends with exit code 0."""
    code = bench.wait()
    if code:
        pytest.fail(f"it ended with {code}:\n{bench.said}")
