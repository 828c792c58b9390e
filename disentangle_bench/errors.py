"""The one error that is the user's to mend, and the words that help to mend it."""

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake that the user can correct: the message says what is wrong and what to do.

    The command line prints the message alone and exits with 2; everything else that is raised is a
    defect and keeps its traceback.
    """


class Damaged(BenchError):
    """A file does not hold what was written into it, so that nothing of it may be used."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for a name that is not there, with the names that look most like it and all allowed ones."""
    names = sorted(known)
    folded = {known_name.lower(): known_name for known_name in names}
    near = [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=2, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return BenchError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")


def decapitalised(message: str) -> str:
    """The message as it stands after a colon."""
    return message[:1].lower() + message[1:]
