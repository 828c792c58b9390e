"""Ctrl-C and SIGTERM as requests to stop, and what is said and returned when a study has stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from disentangle_bench.train.stop import TIME_LIMIT, Stop, Stopped

# 128 + the signal's number, as a shell counts; a time limit gives EX_TEMPFAIL, "try again".
EXIT_CODES = {"Ctrl-C": 130, "SIGTERM": 143, TIME_LIMIT: 75}


@contextmanager
def stopping_politely(stop: Stop) -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM ask `stop`; a study that stops says so and ends with its exit code."""

    def ask(number: int, frame: FrameType | None) -> None:
        stop.ask("Ctrl-C" if number == signal.SIGINT else "SIGTERM")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Stopped as stopped:
        click.echo(
            f"\nStopped: {stopped}. Finished runs and checkpoints are kept; the same command goes on from there.",
            err=True,
        )
        sys.exit(EXIT_CODES[str(stopped)])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
