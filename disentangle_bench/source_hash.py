"""Whether somebody's metric or model is still the code that it was: a hash of the files that it is made of."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = __name__.partition(".")[0]
LIBRARIES = {"site-packages", "dist-packages"}  # where what lies beside a module need not belong to it


def source_hash(name: str, found: Any) -> str | None:
    """A hash (12 hex digits) of the source of `found`, which a grid calls `name`; None for this package's own.

    Hashed are the file of the module that `name` gives, the one that defines the function, the class or the metric's
    score function, and what these use of the files beside them. They count as they were when first asked for.
    """
    things = (found, type(found), getattr(found, "score", None))
    names = {getattr(thing, "__module__", None) for thing in things}
    if ":" in name:
        names.add(name.partition(":")[0])
    modules: dict[str, ModuleType] = {}
    for module in filter(None, (sys.modules.get(str(each)) for each in names)):
        _add(module, modules)
    contents = [_content(modules[each]) for each in sorted(modules)]
    if not any(contents):
        return None
    return hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in contents)).hexdigest()[:12]


def _add(module: ModuleType, found: dict[str, ModuleType]) -> None:
    """Put the module and all that it uses of the files beside it into `found`, by name."""
    top = module.__name__.partition(".")[0]
    if module.__name__ in found or top in sys.stdlib_module_names or top in (PACKAGE, "__main__"):
        return
    found[module.__name__] = module
    for other in _used(module):
        if _beside(module, other):
            _add(other, found)


def _used(module: ModuleType) -> Iterator[ModuleType]:
    for value in list(vars(module).values()):
        if inspect.ismodule(value):
            yield value
        elif (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ in sys.modules:
            yield sys.modules[value.__module__]


def _beside(module: ModuleType, other: ModuleType) -> bool:
    """Whether `other` is a file in the folder of `module`, or below; of libraries only the same package's."""
    if module.__name__.partition(".")[0] == other.__name__.partition(".")[0]:
        return True
    here, there = getattr(module, "__file__", None), getattr(other, "__file__", None)
    if here is None or there is None or LIBRARIES & set(Path(there).parts):
        return False
    return Path(here).resolve().parent in Path(there).resolve().parents


@cache
def _content(module: ModuleType) -> bytes:
    """The module's file, read once: a process goes on with the code that it has loaded."""
    try:
        return Path(str(module.__file__)).read_bytes()
    except (AttributeError, OSError):
        return b""
