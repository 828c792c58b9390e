"""Pack what a study on a GPU has produced into files that can be taken along.

    python benchmarks/gpu_study.py STUDY OUT

OUT/study.tgz has scores, curves, provenance and tables. The weights of finished runs and the checkpoints of others are
one archive in up to four parts; what does not fit comes when the command is called again, for STUDY/packed.txt says
what was packed. Unpacked in one place all of it is the study again, which a later call of `on_gpu.sh` goes on with:

    tar xzf OUT/study.tgz && cat OUT/weights.tar.? | tar x
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from disentangle_bench.errors import BenchError
from disentangle_bench.records.study_dir import StudyDir

PARTS, PART_BYTES = 4, 15 * 2**20
LEFT_OUT = {"weights.safetensors", "pictures", "checkpoints", "progress", ".lock"}
DERIVED = ".png"  # figures are drawn again from the rest
TAR_BYTES = 2048  # that an archive adds to each file, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    if not arguments.study.is_dir():
        raise BenchError(f"there is no study {arguments.study}")
    pack_tables(arguments.study, arguments.out)
    pack_weights(arguments.study, arguments.out)


def pack_tables(study: Path, out: Path) -> None:
    target = out / "study.tgz"
    with tarfile.open(target, "w:gz") as archive:
        archive.add(study, arcname="study", filter=without_bulk)
    print(f"{target.name}: {target.stat().st_size / 2**10:.0f} KiB")


def without_bulk(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = Path(entry.name)
    return None if path.name in LEFT_OUT or path.suffix == DERIVED else entry


def pack_weights(study: Path, out: Path) -> None:
    """Write weights that no earlier call has packed, and checkpoints, as the parts hold them; say what is left out."""
    note = study / "packed.txt"
    packed = note.read_text().split() if note.exists() else []
    room = PARTS * PART_BYTES - 10 * TAR_BYTES
    chosen = []
    new = [path for path in weights_by_seed(study) if name_of(path) not in packed]
    checkpoints = sorted((study / "checkpoints").glob("*.safetensors"))
    for path in (*new, *checkpoints):
        size = path.stat().st_size + TAR_BYTES
        if size > room:
            print(f"left out: {name_of(path)}, {size / 2**20:.1f} MiB")
            continue
        room -= size
        chosen.append(path)
    with Parts(out / "weights.tar", PART_BYTES) as parts, tarfile.open(fileobj=parts, mode="w|") as archive:
        for path in chosen:
            archive.add(path, arcname=str(Path("study") / path.relative_to(study)))
    kept = [name_of(path) for path in chosen if path not in checkpoints]
    note.write_text("\n".join([*packed, *kept]))
    print(f"{parts.number} parts with " + (", ".join(map(name_of, chosen)) or "nothing new"))


def name_of(path: Path) -> str:
    """The run whose weights these are, or the checkpoint's own name."""
    return path.parent.name if path.name == "weights.safetensors" else path.name


def weights_by_seed(study: Path) -> Iterator[Path]:
    """The weights of finished runs; the first seed of every model and setting before the second of any."""
    directory = StudyDir(study)
    done = [record.spec for record in directory.records(curves=False) if record.failure is None]
    for spec in sorted(done, key=lambda spec: (spec.seed, spec.id)):
        yield directory.run_path(spec.id) / "weights.safetensors"


class Parts(io.RawIOBase):
    """A file that is written as NAME.0, NAME.1, ..., each of at most so many bytes."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size, self.number, self.room = path, size, 0, 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        rest = memoryview(data)
        while rest:
            if self.room == 0:
                self.number, self.room = self.number + 1, self.size
            now = rest[: self.room]
            with Path(f"{self.path}.{self.number - 1}").open("ab") as file:
                file.write(now)
            self.room -= len(now)
            rest = rest[len(now) :]
        return len(data)


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"error: {error}")
