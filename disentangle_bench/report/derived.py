"""Tables that are derived from a study's runs: what one is, the tree's, and those of installed packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from disentangle_bench.errors import BenchError

if TYPE_CHECKING:
    from disentangle_bench.report.tables import Tables

# A table of the tree is one file and one line here: where its DerivedTable is.
DERIVED = (
    "disentangle_bench.report.measures:MEASURES",
    "disentangle_bench.report.summaries:MODELS",
    "disentangle_bench.report.summaries:IMPROVEMENT",
    "disentangle_bench.report.summaries:VARIANCE",
    "disentangle_bench.report.summaries:CORRELATION",
    "disentangle_bench.report.choice:CHOICE",
)
ENTRY_POINTS = "disentangle_bench.tables"
# The files that a study has in any case.
BASIC = ("scores", "seconds", "leaderboard")


@dataclass(frozen=True)
class DerivedTable:
    """A table `<name>.csv`, which `make` makes of a study's Tables.

    The report's page shows it under `heading`, with `text` above it; a table without a heading is a link only.
    """

    name: str
    make: Callable[[Tables], pd.DataFrame]
    heading: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", self.name) or self.name in BASIC:
            raise BenchError(
                f"{self.name!r} is no name for a table: small letters, digits and _ are allowed, and"
                f" {', '.join(BASIC)} are taken"
            )


def own_tables() -> dict[str, DerivedTable]:
    """The tables of DERIVED, by name."""
    return {table.name: table for table in map(_loaded, DERIVED)}


def installed_tables(notes: list[str]) -> Iterator[DerivedTable]:
    """The tables of installed packages; a sentence for each that cannot be had is added to `notes`."""
    taken = set(own_tables())
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            table = _loaded(entry.value)
            if not isinstance(table, DerivedTable):
                raise BenchError(f"it is a {type(table).__name__}, not a DerivedTable")
            if table.name in taken:
                raise BenchError(f"another table is called {table.name!r}; choose another name")
        except (Exception, SystemExit) as error:  # anyone's code runs here
            notes.append(_left_out(entry.value, error))
            continue
        taken.add(table.name)
        yield table


def made_by_package(table: DerivedTable, tables: Tables, notes: list[str]) -> pd.DataFrame | None:
    """The table of an installed package; None, and a sentence in `notes`, where it cannot be made."""
    try:
        made = table.make(tables)
        if not isinstance(made, pd.DataFrame):
            raise BenchError(f"it gave a {type(made).__name__}, not a pandas DataFrame")
    except (Exception, SystemExit) as error:
        notes.append(_left_out(f"{table.name}.csv", error))
        return None
    return made


def _loaded(path: str) -> DerivedTable:
    module, _, attribute = path.partition(":")
    found: DerivedTable = getattr(importlib.import_module(module), attribute)
    return found


def _left_out(what: str, error: BaseException) -> str:
    reason = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
    return f"the table {what} of an installed package is left out: {reason}"
