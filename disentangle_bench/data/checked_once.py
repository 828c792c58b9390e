"""Large published files whose images are read in place: hashed once, not at every start."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.data.official import FileFacts, check, file_hashes
from disentangle_bench.files import json_text, parse_json, read_small, sha256, write_text
from disentangle_bench.locks import alone_in

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import Notify


def fingerprint_of(path: Path, facts: FileFacts, notify: Notify | None) -> str:
    """A hash of the file's content, which is the published one; hexadecimal.

    The content is read once. What was found is kept beside the file, with its inode, size and the time of its last
    change, and holds until one of these differs. Raises BenchError where the file is not the published one.
    """
    record = path.with_name(f"{path.name}.checked.json")
    found = _recorded(record, path)
    if found is not None:
        return found
    try:
        with alone_in(path.parent):
            # Another process may have hashed it meanwhile.
            found = _recorded(record, path)
            if found is None:
                stamp = _stamp(path)
                found = _hashed(path, facts, notify)
                write_text(record, json_text({"stamp": stamp, "fingerprint": found}))
    except OSError as error:
        warnings.warn(
            f"{record} cannot be written ({error}); {path.name} is hashed at every start", stacklevel=2
        )
        return found or _hashed(path, facts, notify)
    return found


def _hashed(path: Path, facts: FileFacts, notify: Notify | None) -> str:
    """The fingerprint of a file that is found to be the published one now."""
    check(path, facts, notify)
    # The published hashes are right where `check` has passed, so that no second pass is needed.
    hashes = facts.hashes or file_hashes(path, ["sha256"], notify)
    return sha256(" ".join(f"{kind} {hashes[kind]}" for kind in sorted(hashes)).encode())


def _recorded(record: Path, path: Path) -> str | None:
    """The fingerprint that was found of the file as it is now; None where there is no record of it."""
    try:
        known = parse_json(read_small(record))
    except (OSError, ValueError):
        return None
    if not isinstance(known, dict) or known.get("stamp") != _stamp(path):
        return None
    found = known.get("fingerprint")
    return found if isinstance(found, str) else None


def _stamp(path: Path) -> list[int]:
    """What tells a file from another without a look at its content."""
    about = path.stat()
    return [about.st_ino, about.st_size, about.st_mtime_ns]
