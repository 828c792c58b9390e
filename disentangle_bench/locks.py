"""Locks between processes, which the operating system drops when their process ends, however it ends.

They lie on ranges of bytes of an open file, so that one file holds a lock for each of thousands of names, and some can
be shared. Unix has them in `fcntl`, on file systems of a network too. Windows has exclusive ones only, in `msvcrt`:
there, a shared lock is one byte of its range, and an exclusive one is all of them.
"""

from __future__ import annotations

import errno
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def _module(name: str) -> Any:
    """The module of this operating system; None on another."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


fcntl = _module("fcntl")
msvcrt = _module("msvcrt")

# How many places a file has; the C library of Windows may count them with 31 bits.
PLACES = 1 << 60 if fcntl else 1 << 30
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
PAUSE_S = 0.05
# Windows lacks the flag, and never hands open files to a child unasked.
CLOSED_IN_CHILDREN = getattr(os, "O_CLOEXEC", 0)


def take(file: int, start: int, length: int = 1, *, shared: bool = False, wait: bool = False) -> bool:
    """Whether the lock on these bytes of the open file was had, which is certain where it may `wait`.

    Raises OSError with an errno among NO_LOCKS where the system or the file system has none.
    """
    if fcntl is not None:
        how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        return _had(fcntl.lockf, file, how if wait else how | fcntl.LOCK_NB, length, start)
    if msvcrt is None:
        raise OSError(errno.ENOLCK, "this Python has neither fcntl nor msvcrt")
    while True:
        ranges = [(start + k, 1) for k in range(length)] if shared else [(start, length)]
        if any(_windows_lock(file, *part) for part in ranges):
            return True
        if not wait:
            return False
        time.sleep(PAUSE_S)


def drop(file: int, start: int, length: int = 1) -> None:
    """Give up an exclusive lock."""
    if fcntl is not None:
        fcntl.lockf(file, fcntl.LOCK_UN, length, start)
    elif msvcrt is not None:
        os.lseek(file, start, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, length)


def take_whole(file: IO[bytes]) -> None:
    """Wait until the open file is this process's alone; it is until it is closed."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX)
    else:
        # Windows lets nobody else write what is locked: a byte where the content never comes.
        take(file.fileno(), PLACES, wait=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One process after the other; where there are no locks, all at once."""
    if fcntl is not None:
        handle = os.open(folder, os.O_RDONLY | CLOSED_IN_CHILDREN)
    else:
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX) if fcntl is not None else take(handle, 0, wait=True)
        yield
    finally:
        os.close(handle)


def _windows_lock(file: int, start: int, length: int) -> bool:
    os.lseek(file, start, os.SEEK_SET)
    return _had(msvcrt.locking, file, msvcrt.LK_NBLCK, length)


def _had(lock: Any, *how: Any) -> bool:
    """Whether this call took the lock, or found it taken."""
    try:
        lock(*how)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True
