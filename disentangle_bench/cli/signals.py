"""Signals as requests to stop, and what is said and returned when a study has stopped."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from disentangle_bench.cli.output import say
from disentangle_bench.errors import BenchError
from disentangle_bench.stop import TIME_LIMIT, Stop, Stopped

# SIGHUP comes from a terminal that is closed, SIGUSR1 from a batch system before its time limit. Windows has neither.
NAMES = {
    getattr(signal, name): said
    for name, said in (
        ("SIGINT", "Ctrl-C"),
        ("SIGTERM", "SIGTERM"),
        ("SIGHUP", "SIGHUP"),
        ("SIGUSR1", "SIGUSR1"),
    )
    if hasattr(signal, name)
}
# 128 + the signal's number, as a shell counts; a time limit gives EX_TEMPFAIL, "try again".
EXIT_CODES = {said: 128 + number for number, said in NAMES.items()} | {TIME_LIMIT: 75}


@contextmanager
def stopping_politely(
    stop: Stop, kept: str = "Finished runs and checkpoints are kept; the same command goes on from there."
) -> Iterator[None]:
    """Within, the signals of `NAMES` ask `stop`; what stops says so, and what is `kept`, and ends with its exit code.

    Nobody's code ends the command unheard: where a model or a data set calls sys.exit, BenchError is raised.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        # A person who asks twice is in a hurry. A closed terminal's shell and a batch system repeat themselves.
        stop.ask(NAMES[signal.Signals(number)], hurried=number == signal.SIGINT)

    before = {number: signal.signal(number, ask) for number in NAMES if not _ignored(number)}
    try:
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    except SystemExit as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise BenchError(
            f"{where.filename}, line {where.lineno}, ended the study with sys.exit({error.code!r}); the code of models,"
            " metrics and data sets must raise an error instead"
        ) from error
    except Stopped as stopped:
        say(f"\nStopped: {stopped}. {kept}", err=True)
        sys.exit(EXIT_CODES[str(stopped)])


def _ignored(number: signal.Signals) -> bool:
    """Whether the command was started so that the signal does nothing, as `nohup` does with SIGHUP.

    A script's shell has Ctrl-C ignored in all that it starts in the background, which nobody asked for.
    """
    return number != signal.SIGINT and signal.getsignal(number) == signal.SIG_IGN
