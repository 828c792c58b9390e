"""What is learnt of several factors, side by side on the cores that this process may use."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Found = TypeVar("Found")
# None is a thread per core.
_threads: int | None = None


def use_threads(threads: int | None) -> None:
    """Have this process learn so many factors at once, which changes no score: it is one of several, a core each."""
    global _threads
    _threads = threads


def side_by_side(learn: Callable[..., Found], *each: Iterable[Any]) -> list[Found]:
    """`learn` of the first of `each`, of the second, ..., in threads: boosters work outside the interpreter's lock."""
    with ThreadPoolExecutor(_threads or os.cpu_count()) as pool:
        return list(pool.map(learn, *each))
