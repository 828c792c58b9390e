"""Text from anywhere, as it can be shown in a terminal, and settings in short."""

from collections.abc import Mapping
from typing import Any


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
