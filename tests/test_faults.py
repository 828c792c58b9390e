"""Full disks, read-only directories, lost files, odd paths and clocks, metrics that hang, memory that is not there.

Every time: one clear message or a failed run with its reason, nothing finished is lost, and the same command completes.
"""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_data
from click.testing import CliRunner, Result

from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation import controls as calibrate
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.records.table_files import TableFiles
from disentangle_bench.study.claims import Claims
from disentangle_bench.study.finished import rebuild_tables

SMALL = ("--set", "scoring.points=40", "--set", "controls=false", "--set", 'metrics=["mig"]')
PLUGIN = """
import os, time

def hangs(codes, factors):
    time.sleep(1e6)

def kills(codes, factors):
    os._exit(9)

def raises(codes, factors):
    raise ValueError("never")

def spread(codes, factors):
    return float(codes.std())
"""


def bench(*arguments: object) -> Result:
    """The command, in this process; what is no message is raised."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    (tmp_path / "odd_metrics.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path]).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(disk: Path, but: int = 0) -> Path:
    """Fill the disk up, all but so many bytes."""
    filler = disk / "filler"
    free = shutil.disk_usage(disk).free - but
    filler.write_bytes(bytes(max(0, free)))
    return filler


def finished(study: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in study.glob("runs/[!.]*/weights.safetensors")}


def leftovers(study: Path) -> list[Path]:
    return [*study.rglob(".*.tmp"), *study.glob("runs/.*")]


def test_a_full_disk_at_a_checkpoint(folder: Path, disk: Path) -> None:
    study = disk / "study"
    run = (
        "run",
        "tiny.toml",
        "--out",
        study,
        "--checkpoint-every",
        "0.01s",
        "--set",
        "training.steps=300",
        *SMALL,
    )
    filler = fill(disk, but=40_000)  # a checkpoint of the VAE takes more
    result = bench(*run)
    assert result.exit_code == 2
    assert "checkpoints cannot be written: " in result.output
    assert "No space left" in result.output
    assert not leftovers(study)
    filler.unlink()
    assert bench(*run).exit_code == 0
    assert len(finished(study)) == 6


def test_a_full_disk_at_a_run_at_scores_and_at_tables(
    folder: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = disk / "study"
    run = ("run", "tiny.toml", "--out", study, *SMALL)
    fill(disk, but=100_000)
    result = bench(*run)
    assert result.exit_code == 2
    assert "No space left" in result.output
    kept = finished(study)
    assert 1 <= len(kept) < 6
    assert not leftovers(study)
    (disk / "filler").unlink()
    assert bench(*run).exit_code == 0
    assert finished(study).items() >= kept.items()

    fill(disk)
    kept_scores = {path: path.read_bytes() for path in study.glob("runs/*/scores.json")}
    result = bench("score", study, "--metric", "sap", "--allow", "tiny_data")
    assert result.exit_code == 2
    assert "No space left" in result.output
    directory = StudyDir(study)
    with pytest.raises(BenchError, match=r"scores\.json cannot be written: No space left"):
        directory.save_scores(next(iter(kept_scores)).parent.name, {"scores": "x" * 10_000})
    assert {path: path.read_bytes() for path in study.glob("runs/*/scores.json")} == kept_scores

    kept_tables = {path: path.read_bytes() for path in study.glob("*.csv")}
    with monkeypatch.context() as patch:
        patch.setattr(TableFiles, "are_current", lambda self: False)
        with pytest.raises(BenchError, match="No space left"):
            rebuild_tables(directory, Claims(directory))
    assert {path: path.read_bytes() for path in study.glob("*.csv")} == kept_tables
    assert not leftovers(study)
    (disk / "filler").unlink()
    result = bench("score", study, "--metric", "sap", "--allow", "tiny_data")
    assert result.exit_code == 0
    assert finished(study).items() >= kept.items()


def test_files_may_not_grow(folder: Path) -> None:
    """The same with a limit on the size of files, which hits weights and lets small files pass."""
    study = folder / "study"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, hard))
    try:
        result = bench("run", "tiny.toml", "--out", study, *SMALL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 2
    assert "File too large" in result.output
    assert not leftovers(study)
    assert bench("run", "tiny.toml", "--out", study, *SMALL).exit_code == 0


def test_a_read_only_study(folder: Path, disk: Path) -> None:
    study = disk / "study"
    assert bench("run", "tiny.toml", "--out", study, "--seeds", "1", *SMALL).exit_code == 0
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for command in (
        ("run", "tiny.toml", "--out", study, *SMALL),
        ("run", "tiny.toml", "--out", disk / "new", *SMALL),
        ("score", study, "--metric", "sap", "--allow", "tiny_data"),
        ("leaderboard", study),
    ):
        result = bench(*command)
        assert result.exit_code == (0 if command[0] == "leaderboard" else 2), result.output
        if command[0] != "leaderboard":
            assert "Read-only file system" in result.output
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert bench("run", "tiny.toml", "--out", study, *SMALL).exit_code == 0
    assert len(finished(study)) == 6


def remove(path: Path) -> None:
    path.unlink()


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [remove, halve])
@pytest.mark.parametrize("name", ["scores.json", "provenance.json", "spec.json"])
def test_damaged_runs_are_named_and_replaced(folder: Path, harm: Callable[[Path], None], name: str) -> None:
    study = folder / "study"
    run = ("run", "tiny.toml", "--out", study, "--seeds", "1", *SMALL)
    assert bench(*run).exit_code == 0
    path = sorted(study.glob(f"runs/*/{name}"))[1]
    harm(path)
    kept = finished(study)
    more = (*run[:4], "--seeds", "2", *SMALL)
    for command in (more, ("status", study), ("score", study, "--metric", "sap", "--allow", "tiny_data")):
        result = bench(*command)
        said = result.output.replace("\n", "")
        assert result.exit_code == 1, said
        assert said.count(f"the run directory {path.parent} is damaged") == 1
        assert f"1 run cannot be read and is left alone: {path.parent.name}" in said
        assert "5 runs done, 0 failed" in said or "5 of 6 runs done, 0 failed, 0 to go; finished" in said
    assert finished(study).items() > kept.items()
    boards = [pd.read_csv(study / table) for table in ("scores.csv", "leaderboard.csv")]
    assert len(boards[0]) == boards[1]["n_seeds"].sum() == 5
    assert boards[0]["sap"].notna().all()
    shutil.rmtree(path.parent)
    assert bench(*more).exit_code == 0
    assert len(finished(study)) == 6


def test_a_study_whose_only_run_cannot_be_read(folder: Path) -> None:
    run = ("run", "tiny.toml", "--out", "study", "--seeds", "1", *SMALL, "--set", 'models=[{name="vae"}]')
    assert bench(*run).exit_code == 0
    (path,) = Path("study").glob("runs/*")
    halve(path / "curves.csv")
    for command in (run, (*run, "--dry-run"), (*run, "--retry-failed")):
        result = bench(*command)
        assert result.exit_code == 1, result.output
        assert result.output.count("curves.csv: line") == 1
        assert "1 run cannot be read and is left alone" in result.output


def test_a_run_without_its_weights_costs_itself_when_it_is_scored(folder: Path) -> None:
    study = folder / "study"
    assert bench("run", "tiny.toml", "--out", study, "--seeds", "1", *SMALL).exit_code == 0
    path = min(study.glob("runs/*/weights.safetensors"))
    path.unlink()
    score = ("score", study, "--metric", "sap", "--allow", "tiny_data")
    result = bench(*score)
    assert result.exit_code == 1
    assert result.output.replace("\n", "").count(f"{path.parent} has no weights") == 1
    assert "2 runs done, 0 failed" in result.output
    assert pd.read_csv(study / "scores.csv")["sap"].notna().sum() == 2
    assert bench("status", study).exit_code == 0, "nothing of it is read there"


@pytest.mark.parametrize("newer", [True, False])
def test_what_bench_run_must_not_have_deleted(folder: Path, newer: bool) -> None:
    """A run of a newer version, or one that may not be read, is not called damaged by any command."""
    study = folder / "study"
    run = ("run", "tiny.toml", "--out", study, "--seeds", "1", *SMALL)
    assert bench(*run).exit_code == 0
    path = min(study.glob("runs/*/scores.json"))
    if newer:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"scores": {"mig": [0.5, 0.1]}}))
        about = path.with_name("provenance.json")
        kept = json.loads(about.read_text())
        kept["versions"]["disentangle_bench"] = "9.0"
        about.write_text(json.dumps(kept))
    else:
        path.unlink()
        path.mkdir()
    for command in (run, ("status", study), ("score", study, "--metric", "sap", "--allow", "tiny_data")):
        result = bench(*command)
        assert result.exit_code == 1, result.output
        assert "Delete" not in result.output
        assert "damaged" not in result.output
        assert ("newer version" if newer else "cannot be read: ") in result.output


def test_a_clock_that_jumps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + chance.uniform(-1e8, 1e8))
    assert bench("run", "tiny.toml", "--out", "study", "--checkpoint-every", "0.01s", *SMALL).exit_code == 0
    for path in Path("study").glob("runs/*/provenance.json"):
        assert all(0 <= seconds < 600 for seconds in json.loads(path.read_text())["seconds"].values())
    assert bench("status", "study").exit_code == 0


def test_a_path_that_is_no_text(folder: Path) -> None:
    out = os.fsdecode(b"caf\xe9 \xff")
    done = subprocess.run(
        [sys.executable, "-m", "disentangle_bench", "run", "tiny.toml", "--seeds", "1", "--out", out, *SMALL],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / out / "leaderboard.csv").is_file()
    assert b"3 runs done" in done.stdout


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_paths_that_cannot_be(folder: Path, name: str) -> None:
    for command in (("run", "tiny.toml", "--out", name), ("leaderboard", name), ("validate", name)):
        result = bench(*command)
        assert result.exit_code == 2, result.output
    assert sorted(path.name for path in folder.iterdir()) == ["odd_metrics.py", "tiny.toml"]


@pytest.mark.parametrize("stack", [1, 2])
def test_metrics_that_hang_or_die_cost_their_own_column(folder: Path, stack: int) -> None:
    grid = ("--set", 'metrics=["odd_metrics:hangs", "mig", "odd_metrics:kills", "odd_metrics:spread"]')
    models = ("--set", 'models=[{name="vae"}]', "--set", 'scoring.points="all"')
    arguments = ("run", "tiny.toml", "--seeds", stack, "--stack-size", stack, *grid, *models)
    result = bench(*arguments, "--metric-limit", "1s", "--out", "study")
    assert result.exit_code == 0
    assert "odd_metrics:hangs gave no score: TimeLimit: no answer within 1 s" in result.output
    assert "odd_metrics:kills gave no score: its process ended with exit code 9" in result.output
    fine = ("--set", 'metrics=["mig", "odd_metrics:spread"]')
    assert bench(*arguments, *fine, "--out", "fine").exit_code == 0
    limited, plain = (
        [record.scores for record in StudyDir(Path(name)).records()] for name in ("study", "fine")
    )
    for one, other in zip(limited, plain, strict=True):
        assert one["scores"] == other["scores"]
        assert one["mutual_information"] == other["mutual_information"]
        assert set(one["failures"]) == {"odd_metrics:hangs", "odd_metrics:kills"}
    again = bench("score", "study", "--metric", "sap", "--metric-limit", "1s", "--allow", "tiny_data")
    assert again.exit_code == 0


def test_a_metric_that_kills_its_process_while_a_stack_is_scored(folder: Path) -> None:
    """Without a limit all tables share processes, which one such metric takes down together."""
    grid = ("--set", 'metrics=["mig", "odd_metrics:kills"]', "--set", 'models=[{name="vae"}]')
    result = bench("run", "tiny.toml", "--seeds", 2, "--stack-size", 2, *grid, "--out", "study")
    assert result.exit_code == 0, result.output
    assert "odd_metrics:kills gave no score: its process ended with exit code 9" in result.output
    assert all("mig" in record.scores["scores"] for record in StudyDir(Path("study")).records())


@pytest.mark.parametrize(
    ("metric", "limit", "reason"),
    [("raises", (), "BenchError"), ("kills", ("--metric-limit", "9s"), "its process ended with exit code 9")],
)
def test_controls_outlive_metrics_that_raise_or_die(
    folder: Path, monkeypatch: pytest.MonkeyPatch, metric: str, limit: tuple[str, ...], reason: str
) -> None:
    if limit:
        monkeypatch.setattr(calibrate, "CONTROLS", {})  # two are left: a process each takes its time
    grid = ("--set", f'metrics=["odd_metrics:{metric}"]', "--set", 'models=[{name="pca"}]')
    run = ("run", "tiny.toml", "--seeds", 1, *grid, "--set", "controls=true", *limit, "--out", "study")
    first, again = bench(*run), bench(*run)
    assert first.exit_code == again.exit_code == 0
    assert f"odd_metrics:{metric} on control 'pca' gave no score: {reason}" in first.output
    assert "controls on" in first.output
    assert "controls on" not in again.output, "what failed is tried again unasked"
    (kept,) = Path("study").glob("controls/*.json")
    before = json.loads(kept.read_text())
    del before["failures"]  # as a study had it whose controls could not fail
    kept.write_text(json.dumps(before))
    assert bench(*run).exit_code == 0


def test_memory_that_is_not_there(folder: Path) -> None:
    """A network of terabytes; the other runs of the study are done before and after it."""
    run = ("run", "tiny.toml", "--out", "study", "--seeds", "1", *SMALL, "--set", 'models=[{name="vae"}]')
    result = bench(*run, "--set", "network.hidden=4000000000")
    assert result.exit_code == 1
    (failed,) = Path("study").glob("runs/*/FAILED")
    assert "memory" in failed.read_text()
    assert bench(*run).exit_code == 0


def test_a_data_set_that_vanishes(folder: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 16, 16), dtype=np.uint8)
    factors = np.stack([np.arange(12) // 4, np.arange(12) % 4], 1)
    np.savez("own.npz", images=images, factors=factors)
    run = ("run", "tiny.toml", "--out", "study", *SMALL, "--set", 'datasets=[{name="own.npz"}]')
    run = (*run, "--set", 'models=[{name="vae"}]', "--set", "scoring.points=12")
    done = bench(*run, "--seeds", "1")
    assert done.exit_code == 0, done.output
    kept = finished(Path("study"))
    Path("own.npz").rename("elsewhere.npz")
    result = bench(*run, "--seeds", "2")
    assert result.exit_code == 2
    assert "own.npz" in result.output
    Path("elsewhere.npz").rename("own.npz")
    assert bench(*run, "--seeds", "2").exit_code == 0
    assert finished(Path("study")).items() > kept.items()


ODD_MODELS = """
from disentangle_bench.models.vae import BetaVAE

class Flat(BetaVAE):
    def encode(self, call, images):
        return super().encode(call, images)[:, 0]

class Deep(BetaVAE):
    def encode(self, call, images):
        return super().encode(call, images)[:, :, None]

class Twice(BetaVAE):
    def encode(self, call, images):
        codes = super().encode(call, images)
        return codes.repeat(2, 1)

class Empty(BetaVAE):
    def encode(self, call, images):
        return super().encode(call, images)[:, :0]

class Nothing(BetaVAE):
    def encode(self, call, images):
        return None
"""


@pytest.mark.parametrize("stack", [1, 2])
def test_codes_of_a_wrong_shape_cost_their_run_alone(folder: Path, stack: int) -> None:
    (folder / "odd_models.py").write_text(ODD_MODELS)
    names = ["Flat", "Deep", "Twice", "Empty", "Nothing"]
    models = ", ".join(f'{{name="odd_models:{name}"}}' for name in names)
    result = bench("run", "tiny.toml", *SMALL, "--seeds", stack, "--set", f'models=[{models}, {{name="vae"}}]',
                   "--set", 'scoring.points="all"', "--stack-size", stack, "--out", "study")  # fmt: skip
    assert result.exit_code == 1
    records = list(StudyDir(folder / "study").records())
    assert len(records) == stack * 6
    for record in records:
        assert (record.failure is None) == (record.spec.model == "vae"), record.failure
