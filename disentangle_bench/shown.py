"""Text from anywhere, as it can be shown in a terminal; settings, names and times in short."""

import shutil
import textwrap
from collections.abc import Mapping
from typing import Any, TextIO


def printable(text: str) -> str:
    """The text with everything that a terminal would obey rather than show written out, such as `\\x1b`.

    Lines and tabs stay. Marks that turn the direction of writing are written out too.
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def settings(given: Mapping[str, Any]) -> str:
    """Keys and values as labels show them: `shapes=square+heart,scales=4`."""
    return ",".join(f"{key}={_setting(value)}" for key, value in sorted(given.items()))


def _setting(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "+".join(map(_setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def shortened(text: str, width: int) -> str:
    """The text in at most `width` characters, at least 3: what is too long loses its middle, less of its end."""
    if len(text) <= width:
        return text
    first = (width - 1) // 3
    return f"{text[:first]}…{text[len(text) - (width - 1 - first) :]}"


def wrapped(text: str, stream: TextIO, indent: int = 0) -> str:
    """The text with its lines broken between words where `stream` is a terminal, else as it is.

    `indent` characters stand before the first line already.
    """
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    keep = {"break_long_words": False, "break_on_hyphens": False, "replace_whitespace": False}
    lines = f"{'-' * indent}{text}".split("\n")
    return "\n".join(textwrap.fill(line, width, **keep) for line in lines)[indent:]  # type: ignore[arg-type]


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h` or `12 days`, whichever reads best."""
    for unit, size, below in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172800)):
        if seconds < below:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.0f} days"
