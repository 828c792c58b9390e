"""Who works on what: several processes share one study, and none does what another is doing.

A claim is a lock on one byte of the study's `.lock` file, at a place made of the claimed name. The operating system
drops it when its process ends, however it ends, so that no claim outlives a `kill -9`. File systems of a network hold
such locks between machines where their lock service is on; where there is none, `--shard` keeps processes apart.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from disentangle_bench.rundir import StudyDir, writing

PRESENT, TABLES, NAMES = 0, 1, 2  # the places of bytes; names start at NAMES
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class Claims:
    """This process's claims in one study. One object a process and study: closing it drops all of them."""

    def __init__(self, study: StudyDir) -> None:
        self.study = study
        self.works = True  # whether the file system has locks
        path = study.path / ".lock"
        with writing(path):
            self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def take(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are this process's now; nobody else gets them until it releases them or ends."""
        return [name for name in names if self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, _place(name))]

    def release(self, names: Iterable[str]) -> None:
        """Give these up."""
        for name in names:
            self._lock(fcntl.LOCK_UN, _place(name))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around the work of a process; the first to come sees to what killed ones have left."""
        try:
            if self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB, PRESENT) and self.works:
                self.study.clean()
            self._lock(fcntl.LOCK_SH, PRESENT)
            yield
        finally:
            os.close(self.file)

    @contextmanager
    def tables(self) -> Iterator[None]:
        """Around rebuilding the tables: one process after the other, so that the last has seen every run."""
        self._lock(fcntl.LOCK_EX, TABLES)
        try:
            yield
        finally:
            self._lock(fcntl.LOCK_UN, TABLES)

    def _lock(self, how: int, place: int) -> bool:
        """Whether the lock was had. Without locks everything is, which at worst does work twice."""
        try:
            fcntl.lockf(self.file, how, 1, place)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            if error.errno not in NO_LOCKS:
                raise
            if self.works:
                self.works = False
                warnings.warn(
                    f"the file system of {self.study.path} has no locks: processes that share this study must be kept"
                    " apart with --shard, or they do the same work",
                    stacklevel=2,
                )
        return True


def _place(name: str) -> int:
    return NAMES + int(hashlib.sha256(name.encode()).hexdigest()[:15], 16)
