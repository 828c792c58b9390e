"""How a process that works for another one tells of its progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

TELL_EVERY = 0.5  # seconds between words about progress


class PhaseMessages:
    """A watcher that passes on what it hears to `tell(kind, content)`, progress not too often."""

    def __init__(self, tell: Callable[[str, Any], None]) -> None:
        self.tell = tell
        self.units = 0
        self.last = 0.0

    def phase(self, name: str, total: int, done: int = 0) -> None:
        """A phase begins, of `total` units of which some are done."""
        self.units = 0
        self.tell("phase", (name, total, done))

    def advance(self, units: int) -> None:
        """That many units are done; told now and then."""
        self.units += units
        if time.monotonic() - self.last > TELL_EVERY:
            self.tell("advance", self.units)
            self.units, self.last = 0, time.monotonic()
