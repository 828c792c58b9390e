"""What each process of a study is doing now, for who watches from elsewhere."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disentangle_bench.files import file_name, json_text, parse_json, read_small, writing
from disentangle_bench.records.schemas import ProgressKept, checked


@dataclass(frozen=True)
class ProgressFiles:
    """A folder with a file for each process: `<host>-<pid>.json`."""

    folder: Path

    def write(self, progress: Mapping[str, Any]) -> None:
        """Keep what the process of `progress["host"]` and `progress["pid"]` is doing now."""
        path = self._file(str(progress["host"]), int(progress["pid"]))
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(exist_ok=True)
            # Not synced: it is worth nothing after a power cut.
            temporary.write_text(json_text(progress), encoding="utf-8")
            temporary.replace(path)
        except OSError:
            # Hours of training are not given up for a line of `bench status`; where the disk is full or gone, the
            # next checkpoint or run says so.
            temporary.unlink(missing_ok=True)

    def end(self) -> None:
        """This process does nothing any more."""
        path = self._file(platform.node(), os.getpid())
        with writing(path):
            path.unlink(missing_ok=True)

    def each(self) -> list[dict[str, Any]]:
        """What each process has written last; those that were killed have left theirs too."""
        found = []
        for path in sorted(self.folder.glob("[!.]*.json")):
            try:
                found.append(checked(ProgressKept, parse_json(read_small(path))))
            except (OSError, ValueError):
                continue  # it has just ended, the power was cut while it wrote, or somebody else did
        return found

    def _file(self, host: str, pid: int) -> Path:
        return self.folder / f"{file_name(host)}-{pid}.json"
