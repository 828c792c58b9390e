"""Stopping before the end: somebody asked, or the time is up. The loop finishes its step and keeps a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(BaseException):
    """Work ended before its time because it was asked to; its message is the reason.

    Like KeyboardInterrupt it is no error, and nothing that records errors may swallow it.
    """


class Stop:
    """A request to stop, made by `ask` or by a time limit that has run out."""

    def __init__(self, seconds: float | None = None) -> None:
        self.reason = ""
        self._end = None if seconds is None else time.monotonic() + seconds
        self._heard = False

    def ask(self, reason: str, hurried: bool = True) -> None:
        """Ask for a stop: at the next step while somebody listens; raises Stopped at once where nobody does.

        Who is `hurried` and asks again does not get to the next step: Stopped is raised at once.
        """
        again, self.reason = bool(self.reason), reason
        if (again and hurried) or not self._heard:
            raise Stopped(reason)

    @property
    def requested(self) -> bool:
        """Whether to stop now."""
        if not self.reason and self._end is not None and time.monotonic() >= self._end:
            self.reason = TIME_LIMIT
        return bool(self.reason)

    def check(self) -> None:
        """Raise Stopped if a stop is requested; for work between which nothing is lost."""
        if self.requested:
            raise Stopped(self.reason)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, requests are looked at often, and `ask` only leaves its word."""
        self._heard = True
        try:
            yield
        finally:
            self._heard = False


TIME_LIMIT = "the time limit is reached"
