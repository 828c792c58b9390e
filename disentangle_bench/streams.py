"""Standard streams that cost no work when nobody reads them any more."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO


class Unread(io.FileIO):
    """A stream whose text is dropped where it cannot be written: its reader is gone, its disk full, it would block."""

    before: TextIO  # the stream in whose place it is, which closes the file when it is forgotten

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """The number of bytes, written or not."""
        size = memoryview(data).nbytes
        try:
            written = super().write(data)
        except OSError:
            return size
        return size if written is None else written


def open_closed() -> None:
    """Give a process that was started with closed standard streams (`>&-`) empty ones.

    Otherwise the next file that is opened gets the number of the closed stream, and whatever a library says there
    goes into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def go_on_unread(*names: str) -> None:
    """Let `sys.stdout` or `sys.stderr`, by name, fall silent from where it cannot be written, and raise nothing.

    A stream that is no file, as a test or a notebook has it, stays as it is.
    """
    for name in names:
        stream = getattr(sys, name)
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)  # PYTHONUNBUFFERED leaves the buffer out
        if not isinstance(stream, io.TextIOWrapper) or type(raw) is not io.FileIO:
            continue
        unread = Unread(raw.fileno(), "w", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(unread),  # type: ignore[type-var]
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering or name == "stderr",
        )
        with suppress(OSError):  # what could not be written before is dropped too
            stream.flush()
        unread.before = stream
        setattr(sys, name, text)
