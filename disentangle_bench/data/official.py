"""The published files: where they are, what their hashes are, and which of them lie in a folder, whole.

A file counts as official only if its hash is the published one. `files` arguments exist so that tests can pass facts
of their own; the facts of the real files are `FILES`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.data.layouts import DSPRITES_H5, DSPRITES_NPZ, SHAPES3D_H5, Layout
from disentangle_bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import Notify

PIECE = 1 << 22


@dataclass(frozen=True)
class FileFacts:
    """A published file: its name, its address, its layout and every hash (hexadecimal) that is known of it.

    `hashes` may have the keys "md5", "sha1", "sha256" and "git-blob" (the sha1 that git gives the content); all
    must be right. `size` is in bytes, None where it is not published.
    """

    name: str
    url: str
    layout: Layout
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True)
class FileStatus:
    """What is known of a file in a folder: `verified` is None where there is no file, else whether it is whole."""

    dataset: str
    path: Path
    url: str
    size: int | None
    verified: bool | None
    reason: str = ""


DSPRITES_BASE = (
    "https://github.com/deepmind/dsprites-dataset/raw/master/dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
)
FILES: Mapping[str, tuple[FileFacts, ...]] = {
    "dsprites": (
        FileFacts(
            name="dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
            url=f"{DSPRITES_BASE}.npz",
            layout=DSPRITES_NPZ,
            hashes={
                "md5": "7da33b31b13a06f4b04a70402ce90c2e",
                "git-blob": "d98996d3f8ee1550e06b9d4ed78d0beb478910d5",
            },
        ),
        FileFacts(
            name="dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5",
            url=f"{DSPRITES_BASE}.hdf5",
            layout=DSPRITES_H5,
            hashes={
                "sha256": "729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb",
                "md5": "b331c4447a651c44bf5e8ae09022e230",
            },
            size=28_024_106,
        ),
    ),
    "shapes3d": (
        FileFacts(
            name="3dshapes.h5",
            url="https://storage.googleapis.com/3d-shapes/3dshapes.h5",
            layout=SHAPES3D_H5,
            hashes={
                "sha256": "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",
                "md5": "099a2078d58cec4daad0702c55d06868",
            },
            size=267_573_662,
        ),
    ),
}
# What the loaders make of these files and find again at the next start; the number is raised when that changes.
CACHES = {"dsprites": "dsprites.packed.r1.npy", "shapes3d": "shapes3d.r1.npy"}


def files_of(name: str) -> tuple[FileFacts, ...]:
    """The published files of a data set, the preferred one first. Raises BenchError for an unknown name."""
    if name not in FILES:
        raise unknown_name("data set with published files", name, FILES)
    return FILES[name]


def find(files: Sequence[FileFacts], data_dir: Path, name: str) -> tuple[Path, FileFacts]:
    """The first of these files that lies in `data_dir`, verified.

    Raises BenchError where there is none, with what to do, and where one is not what it should be.
    """
    for facts in files:
        path = data_dir / facts.name
        if path.is_file():
            check(path, facts)
            return path, facts
    wanted = " or ".join(facts.name for facts in files)
    raise BenchError(
        f"the official files of {name} are not in {data_dir}. `bench data get {name}` downloads them; without a "
        f"network, put {wanted} there (from {files[0].url}). {name}_rendered needs no download."
    )


def check(path: Path, facts: FileFacts, notify: Notify | None = None) -> None:
    """Raise BenchError with the reason unless the file has the published size and every published hash."""
    size = path.stat().st_size
    if facts.size is not None and size != facts.size:
        raise BenchError(f"{path} has {size} bytes, the published file has {facts.size}: it is not that file")
    for kind, found in file_hashes(path, facts.hashes, notify).items():
        if found != facts.hashes[kind]:
            raise BenchError(
                f"{path} is damaged or another file: its {kind} is {found}, published is {facts.hashes[kind]}"
            )


def file_hashes(
    path: Path, kinds: Sequence[str] | Mapping[str, str], notify: Notify | None
) -> dict[str, str]:
    """The hashes of these kinds, hexadecimal, in one pass over the file."""
    size, done = path.stat().st_size, 0
    digests = {
        kind: hashlib.new("sha1" if kind == "git-blob" else kind, usedforsecurity=False) for kind in kinds
    }
    if "git-blob" in digests:
        digests["git-blob"].update(b"blob %d\0" % size)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            for digest in digests.values():
                digest.update(piece)
            done += len(piece)
            if notify is not None:
                notify(f"checking {path.name}", done, size)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def listing(data_dir: Path, files: Mapping[str, Sequence[FileFacts]] = FILES) -> list[FileStatus]:
    """For every published file of every data set, what lies in `data_dir`: plain data for a table."""
    return [status(name, facts, data_dir) for name, known in files.items() for facts in known]


def verify(name: str, data_dir: Path) -> list[FileStatus]:
    """What lies in `data_dir` of one data set. Raises BenchError for an unknown name."""
    return [status(name, facts, data_dir) for facts in files_of(name)]


def status(dataset: str, facts: FileFacts, data_dir: Path) -> FileStatus:
    """Whether the file is in `data_dir`, how large it is and whether it is whole."""
    path = data_dir / facts.name
    if not path.is_file():
        return FileStatus(dataset, path, facts.url, None, None)
    size = path.stat().st_size
    try:
        check(path, facts)
    except (BenchError, OSError) as error:
        return FileStatus(dataset, path, facts.url, size, False, str(error))
    return FileStatus(dataset, path, facts.url, size, True)
