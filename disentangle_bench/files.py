"""Small files that anyone may have written, read whole: only plain files, and never more than such a file can be."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

LARGEST_BYTES = 1 << 26


def read_small(path: str | Path) -> bytes:
    """The file's content. Raises OSError where it cannot be read, is no plain file or is larger than 64 MiB."""
    # A pipe without a writer would be waited for for ever.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(path))
        if found.st_size > LARGEST_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {LARGEST_BYTES >> 20} MiB", str(path))
        with open(handle, "rb", closefd=False) as file:
            return file.read(LARGEST_BYTES)
    finally:
        os.close(handle)


def parse_json(content: bytes | str) -> Any:
    """What the JSON says. Raises ValueError where it is none, nests without end, or has text that is no Unicode."""
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    try:
        found = json.loads(text)
        # Half of a character (\ud800) can be written as JSON and nowhere else: not in a table, nor on a page.
        if "\\ud" in text.lower():
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("a text in it is no Unicode") from error
    return found
