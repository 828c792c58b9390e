"""The tables and figures of a study, as files: written with checksums, so that nothing is made twice."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from disentangle_bench.errors import BenchError
from disentangle_bench.files import (
    PLAIN_NAME,
    json_text,
    parse_json,
    plain_name,
    read_small,
    sha256,
    write_bytes,
    write_text,
)
from disentangle_bench.records.run_record import DONE, FAILED

# What is kept of a run that tables and their figures are made of, and what else decides them.
RUN_FILES = ("spec.json", "provenance.json", "scores.json", "curves.csv", DONE, FAILED)
LIBRARIES = ("numpy", "pandas", "scipy", "matplotlib")


@dataclass(frozen=True)
class TableFiles:
    """The derived files of the study in `folder`; `.tables` there says of which runs they are."""

    folder: Path

    def digest(self) -> str:
        """A checksum of all that tables are made of: what is kept of runs and controls, this code, its libraries."""
        found = hashlib.sha256(_makers().encode())
        runs = self.folder / "runs"
        folders = sorted(filter(PLAIN_NAME.fullmatch, os.listdir(runs))) if runs.is_dir() else []
        files = [runs / folder / name for folder in folders for name in RUN_FILES]
        others = [
            path
            for kind in ("controls", "entries")
            for path in sorted(self.folder.glob(f"{kind}/[!.]*.json"))
        ]
        for path in (*files, *others):
            try:
                content = sha256(read_small(path))
            except OSError as error:
                content = type(error).__name__
            found.update(f"{path.relative_to(self.folder)} {content}\n".encode(errors="surrogateescape"))
        return found.hexdigest()

    def save(self, files: Mapping[str, bytes], digest: str) -> None:
        """Write tables and figures, by file name, and of what they are: `digest`, taken before they were made."""
        for name, content in files.items():
            write_bytes(self.folder / name, content)
        sums = {name: sha256(content) for name, content in files.items()}
        write_text(self.folder / ".tables", json_text({"digest": digest, "files": sums}))

    def are_current(self) -> bool:
        """Whether all that `save` wrote last is there whole, and still what would be written now."""
        try:
            kept = parse_json(read_small(self.folder / ".tables"))
            sums = {name: sha256(read_small(self.folder / name)) for name in map(plain_name, kept["files"])}
            return bool(sums) and sums == kept["files"] and kept["digest"] == self.digest()
        except (BenchError, OSError, ValueError, LookupError, TypeError):
            return False


def _makers() -> str:
    """What makes tables: this package's files as they are now, and the versions of the libraries they use."""
    root = Path(__file__).parent.parent
    code = [f"{path.relative_to(root)} {_stamp(path)}" for path in sorted(root.rglob("*.py"))]
    return "\n".join([*code, *(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)])


def _stamp(path: Path) -> str:
    about = path.stat()
    return f"{about.st_size} {about.st_mtime_ns}"
