"""Where the workers of a Ray cluster and their driver meet; a file of its own, so that it imports nothing heavy."""

from __future__ import annotations

from typing import Any


class Mailbox:
    """An actor: workers lay down what they have to say, the driver takes it."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str, Any]] = []
        self.reason = ""

    def tell(self, number: int, kind: str, content: Any) -> None:
        """What the worker of a job has to say."""
        self.events.append((number, kind, content))

    def take(self) -> list[tuple[int, str, Any]]:
        """All that was told since the last time: number of the job, kind, content."""
        taken, self.events = self.events, []
        return taken

    def ask_to_stop(self, reason: str) -> None:
        """The driver wants the workers to stop."""
        self.reason = reason

    def asked_to_stop(self) -> str:
        """Why workers are to stop, empty while they are not."""
        return self.reason
