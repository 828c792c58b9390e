"""Locks where there is no fcntl, as on Windows: by msvcrt's exclusive ones, or none and a warning."""

import errno
import fcntl
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import tiny_data

from disentangle_bench import locks
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.study.claims import MOST_PRESENT, PRESENT, Claims


class Windows(types.ModuleType):
    """What msvcrt offers, as far as one process tells: exclusive locks on bytes from the file's position on."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.held: dict[tuple[int, int], int] = {}

    def locking(self, file: int, mode: int, length: int) -> None:
        start = os.lseek(file, 0, os.SEEK_CUR)
        if mode == self.LK_UNLCK:
            # Windows gives up whole locks only.
            del self.held[start, length]
            return
        for begun, taken in self.held:
            if start < begun + taken and begun < start + length:
                raise OSError(errno.EACCES, "Permission denied")
        self.held[start, length] = file


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Windows:
    module = Windows()
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", module)
    monkeypatch.setattr(locks, "PLACES", 1 << 30)
    return module


def test_windows_claims_are_exclusive(windows: Windows, tmp_path: Path) -> None:
    ours, theirs = Claims(StudyDir(tmp_path)), Claims(StudyDir(tmp_path))
    assert ours.take(["a", "b"]) == ["a", "b"]
    assert theirs.take(["b", "c"]) == ["c"]
    ours.release(["b"])
    assert theirs.take(["b"]) == ["b"]
    with ours.tables():
        assert len(windows.held) == 4


def test_windows_shares_a_range_a_byte_each(windows: Windows, tmp_path: Path) -> None:
    files = [os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(3)]
    assert all(locks.take(file, PRESENT, MOST_PRESENT, shared=True) for file in files)
    assert not locks.take(files[0], PRESENT, MOST_PRESENT)
    assert len(windows.held) == 3
    windows.held.clear()
    assert locks.take(files[0], PRESENT, MOST_PRESENT)
    assert not locks.take(files[1], PRESENT, MOST_PRESENT, shared=True)
    locks.drop(files[0], PRESENT, MOST_PRESENT)
    assert locks.take(files[1], PRESENT, MOST_PRESENT, shared=True)


def test_only_the_first_on_windows_cleans_up(windows: Windows, tmp_path: Path) -> None:
    study = StudyDir(tmp_path)
    left = tmp_path / ".left.tmp"
    left.touch()
    study.runs.mkdir()
    with Claims(study).working():
        assert not left.exists()
        left.touch()
        with Claims(study).working():
            assert left.exists()


def test_a_places_lock_is_another_process_to_wait_for(tmp_path: Path) -> None:
    with (tmp_path / "part").open("a+b") as ours, (tmp_path / "part").open("a+b") as theirs:
        locks.take_whole(ours)
        with pytest.raises(BlockingIOError):
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_without_any_locks_a_study_still_runs(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    program = (
        "import sys; sys.modules['fcntl'] = None; from disentangle_bench.cli import main; main(sys.argv[1:])"
    )

    def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
        )  # fmt: skip

    for arguments in (
        ["list", "models"],
        ["validate", "tiny.toml"],
        ["run", "tiny.toml", "--out", "study", "--device", "cpu"],
        ["status", "study"],
        ["report", "study"],
        ["evaluate", "tiny_data:brightness", "--into", "study", "--allow", "tiny_data"],
        ["board", "list"],
    ):
        ended = bench(*arguments)
        assert ended.returncode == 0, ended.stderr
        assert ("must be kept apart with --shard" in ended.stderr) == (arguments[0] in ("run", "evaluate"))
