"""Checkpoints of training that is not finished: tensors and what they are of, both held against checksums."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from disentangle_bench.errors import BenchError, Damaged
from disentangle_bench.files import parse_json, refuse_odd_file, sha256, sync, writing
from disentangle_bench.records.run_record import reason_of
from disentangle_bench.records.schemas import CheckpointKept, checked


@dataclass(frozen=True)
class CheckpointFiles:
    """A folder of checkpoints, one file for each stack of runs."""

    folder: Path

    def save(self, about: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Keep the state of the runs that `about["runs"]` lists by `id`, in place of an older one of these runs."""
        final = self._file([run["id"] for run in about["runs"]])
        temporary = self.folder / f".{final.stem}.{secrets.token_hex(4)}.tmp"
        arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
        text = json.dumps(about)
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)
            try:
                sums = {"about_sha256": sha256(text.encode()), "tensors_sha256": _tensors_sha256(arrays)}
                _write_tensors(temporary, arrays, {"about": text} | sums)
                temporary.replace(final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            sync(self.folder)

    def each(
        self, on_damaged: Callable[[Damaged], None] = lambda error: None
    ) -> Iterator[tuple[dict[str, Any], Path]]:
        """What `save` was given of each checkpoint, and its file; `on_damaged` hears of those left out."""
        for path in sorted(self.folder.glob("[!.]*.safetensors")):
            try:
                yield _read(path, tensors=False)[0], path
            except FileNotFoundError:
                continue  # its runs are finished: another process has dropped it since
            except Damaged as error:
                on_damaged(error)

    def load(self, path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The same and the tensors of the checkpoint in this file. Raises Damaged where it is."""
        return _read(path, tensors=True)

    def drop(self, stack: Sequence[str], is_over: Callable[[str], bool]) -> None:
        """Delete the checkpoint of this stack, and those all of whose runs are over, by their ids."""
        self._file(stack).unlink(missing_ok=True)  # a damaged one does not say whose it is
        for about, path in self.each():
            if all(is_over(run["id"]) for run in about["runs"]):
                path.unlink(missing_ok=True)

    def _file(self, ids: Sequence[str]) -> Path:
        return self.folder / f"{sha256(' '.join(ids).encode())[:16]}.safetensors"


def _read(path: Path, tensors: bool) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What was said of a checkpoint, and its tensors where they are asked for; both are held against checksums."""
    try:
        refuse_odd_file(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            kept = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()} if tensors else {}  # noqa: SIM118
        if "about_sha256" not in kept:
            raise ValueError("it has no checksum")
        if kept["about_sha256"] != sha256(kept.get("about", "").encode()):
            raise ValueError("what it says of its runs does not have the checksum that was written")
        if tensors and kept.get("tensors_sha256") != _tensors_sha256(arrays):
            raise ValueError("its tensors do not have the checksum that was written")
        return checked(CheckpointKept, parse_json(kept["about"])), arrays
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BenchError(f"the checkpoint {path} cannot be read: {reason_of(error)}") from error
    except (ValueError, TypeError, KeyError, SafetensorError) as error:
        raise Damaged(f"the checkpoint {path} cannot be used: {reason_of(error)}") from error


def _tensors_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A checksum of names, types, shapes and every byte of these contiguous arrays, in the order of their names."""
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _write_tensors(path: Path, tensors: dict[str, NDArray[Any]], about: dict[str, str]) -> None:
    """Write a new file of tensors, synced, with the permissions that the umask gives any new file."""
    # The library makes files that nobody but their owner may read.
    with path.open("xb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    try:
        safetensors.numpy.save_file(tensors, path, about)
    except SafetensorError as error:  # what the disk refuses, in the library's words
        raise OSError(str(error)) from error
    path.chmod(mode)
    sync(path)
