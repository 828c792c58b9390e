"""Who works on what: several processes share one study, and none does what another is doing.

A claim is a lock on one byte of the study's `.lock` file, at a place made of the claimed name. The operating system
drops it when its process ends, however it ends, so that no claim outlives a `kill -9`. File systems of a network hold
such locks between machines where their lock service is on; where there is none, `--shard` keeps processes apart.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from disentangle_bench import locks
from disentangle_bench.files import writing
from disentangle_bench.records.study_dir import StudyDir

# The places of bytes in the file. Those present share the first ones, of which Windows needs one for each process.
PRESENT, MOST_PRESENT, TABLES, NAMES = 0, 256, 256, 257


class Claims:
    """This process's claims in one study. One object a process and study: closing it drops all of them."""

    def __init__(self, study: StudyDir) -> None:
        self.study = study
        self.works = True  # whether there are locks
        path = study.path / ".lock"
        # A link would have a file made elsewhere.
        flags = os.O_RDWR | os.O_CREAT | locks.CLOSED_IN_CHILDREN | getattr(os, "O_NOFOLLOW", 0)
        with writing(path):
            self.file = os.open(path, flags, 0o666)

    def take(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are this process's now; nobody else gets them until it releases them or ends."""
        return [name for name in names if self._try(locks.take, _place(name))]

    def release(self, names: Iterable[str]) -> None:
        """Give these up."""
        for name in names:
            self._try(locks.drop, _place(name))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around the work of a process; the first to come sees to what killed ones have left."""
        try:
            if self._try(locks.take, PRESENT, MOST_PRESENT) and self.works:
                self.study.clean()
                locks.drop(self.file, PRESENT, MOST_PRESENT)
            # Whoever is first in between cleans up before this process has begun anything.
            self._try(locks.take, PRESENT, MOST_PRESENT, shared=True, wait=True)
            yield
        finally:
            os.close(self.file)

    @contextmanager
    def tables(self) -> Iterator[None]:
        """Around rebuilding the tables: one process after the other, so that the last has seen every run."""
        self._try(locks.take, TABLES, wait=True)
        try:
            yield
        finally:
            self._try(locks.drop, TABLES)

    def _try(self, locking: Callable[..., bool | None], start: int, length: int = 1, **how: bool) -> bool:
        """Whether the lock was had. Without locks everything is, which at worst does work twice."""
        if not self.works:
            return True
        try:
            return locking(self.file, start, length, **how) is not False
        except OSError as error:
            if error.errno not in locks.NO_LOCKS:
                raise
            self.works = False
            warnings.warn(
                f"there are no locks for {self.study.path} on this file system or operating system: processes that"
                " share this study must be kept apart with --shard, or they do the same work",
                stacklevel=3,
            )
            return True


def _place(name: str) -> int:
    return NAMES + int(hashlib.sha256(name.encode()).hexdigest()[:15], 16) % locks.PLACES
