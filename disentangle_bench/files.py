"""The one way to read a small file that anyone may have written, and the one way to write a file.

Reading: only plain files, whole, and never more than such a file can be. Writing: a reader sees the old content or the
new, never a part, and what the disk refuses is said in words.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from disentangle_bench.errors import BenchError

LARGEST_BYTES = 1 << 26
# One part of a path: never hidden, never leading elsewhere.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


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


def json_text(value: Mapping[str, Any]) -> str:
    """The value as JSON for a file."""
    return json.dumps(value, indent=1) + "\n"


def sha256(content: bytes) -> str:
    """The checksum of the content, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within, what the disk refuses becomes a BenchError that names `path`, the reason and what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise BenchError(
            f"{path} cannot be written: {reason}. What was finished before is kept whole; see to the disk and the"
            " directory's permissions, and give the same command again."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, sync it, rename it: a reader sees the old or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Make the disk have what was written to a file, or the names that were changed in a directory."""
    if os.name == "nt":
        return  # Windows syncs neither directories nor files that are open for reading
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def plain_name(name: str) -> str:
    """The name itself. Raises BenchError unless it is one plain part of a path."""
    if not PLAIN_NAME.fullmatch(name):
        raise BenchError(
            f"{name!r} is no name for a file here: letters, digits, '.', '_' and '-' are allowed"
        )
    return name


def file_name(label: str) -> str:
    """A file name for a label, which may be a path: readable, and never leading elsewhere."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", label).strip("_")[-80:]
    return f"{readable}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def refuse_odd_file(path: Path) -> None:
    """Raise OSError for what is no plain file, such as a pipe, which would be waited for for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
