"""The record of an evaluation: what was scored, on which points, how, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from disentangle_bench.errors import BenchError
from disentangle_bench.files import json_text, parse_json, read_small, write_text, writing
from disentangle_bench.records.schemas import RecordKept, checked


@dataclass(frozen=True)
class Record:
    """One evaluation of one representation with one seed.

    source: what was scored: `kind` ("encoder" or "codes") and `what`.
    dataset: label, provenance and fingerprint.
    points: the number of points and the sha256 of their positions.
    scoring: metrics with their revisions, protocol, how many points were asked for, the bounds of reconstruction.
    scores: by key, None for what is not finite.
    controls: the same of codes whose worth is known, by control.
    failures: why metrics raised, by metric.
    provenance: versions, device, commit, time.
    """

    name: str
    seed: int
    source: Mapping[str, Any]
    dataset: Mapping[str, Any]
    points: Mapping[str, Any]
    scoring: Mapping[str, Any]
    scores: Mapping[str, float | None]
    controls: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def save(self, path: str | Path) -> None:
        """Write the record as JSON. Raises BenchError where it cannot be written."""
        with writing(Path(path)):
            write_text(Path(path), json_text(asdict(self) | {"notes": list(self.notes)}))


def load_record_file(path: str | Path) -> Record:
    """The record that `save` wrote. Raises BenchError where it cannot be read."""
    try:
        kept = checked(RecordKept, parse_json(read_small(path)))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read as the record of an evaluation: {error}") from error
    known = {name: kept[name] for name in Record.__dataclass_fields__ if name in kept}
    return Record(**known | {"notes": tuple(kept.get("notes", ()))})
