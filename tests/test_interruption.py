"""Stopped politely or killed outright, a study goes on where it was and ends with the scores of an undisturbed one."""

import contextlib
import json
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import tiny_data
from forked import Bench, ends_well

STEPS = "training.steps=300"


def start(folder: Path, out: str) -> Bench:
    """The study as a process, which trains two runs at a time however many cores there are."""
    return Bench(
        "run", "tiny.toml", "--out", out, "--set", STEPS, "--seeds", "2", "--jobs", "2", folder=folder
    )


def stop_after(folder: Path, out: str, runs: int, how: signal.Signals) -> tuple[int, str]:
    """Stop the study as its run number `runs` begins; its exit code and what it said."""
    process = start(folder, out)
    for line in process.lines():
        if line.startswith(f"[{runs}/"):
            process.send(how)
            break
    return process.wait(), process.said


def numbers(folder: Path, out: str) -> pd.DataFrame:
    return pd.read_csv(folder / out / "scores.csv")


def weights(folder: Path, out: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / out / "runs").rglob("*.safetensors")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid and the study that nobody disturbed."""
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    ends_well(start(folder, "undisturbed"))
    return folder


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_stopped_study_goes_on(folder: Path, how: signal.Signals) -> None:
    out = how.name
    code, said = stop_after(folder, out, runs=3, how=how)
    if how == signal.SIGINT:
        assert code == 130
        assert "the same command goes on from there" in said
        assert "Traceback" not in said
    else:
        assert code == -signal.SIGKILL
    finished = weights(folder, out)
    # A run has several files. Two processes at most are in the middle of a run.
    assert 1 <= len({path.parent for path in finished}) <= 3
    ends_well(start(folder, out))
    assert numbers(folder, out).equals(numbers(folder, "undisturbed"))
    assert {path: stamp for path, stamp in weights(folder, out).items() if path in finished} == finished


def wait_for_checkpoint(process: Bench, study: Path) -> None:
    """Until the study has a checkpoint that is newer than this call, or its process has ended."""
    began = time.time_ns()
    while process.process.is_alive():
        for path in study.glob("checkpoints/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime_ns > began:
                    return
        time.sleep(0.002)


@pytest.mark.parametrize("stack", [1, 2])
def test_twenty_kills_at_random_moments_lose_and_repeat_nothing(folder: Path, stack: int) -> None:
    """The scores, and every byte of the weights, are those of the study that nobody disturbed."""
    study = ["run", "tiny.toml", "--seeds", "1", "--stack-size", str(stack), "--checkpoint-every", "0.05s"]
    study += ["--set", "training.steps=400", "--set", "scoring.points=40"]
    calm, hurt = folder / f"calm{stack}", folder / f"hurt{stack}"
    ends_well(Bench(*study, "--out", calm, folder=folder))
    chance = random.Random(7)
    stamps: dict[Path, int] = {}
    resumed = set()
    for kill in range(10):
        process = Bench(*study, "--out", hurt, folder=folder)
        # Every second one falls into training, however long a busy machine takes to begin.
        if kill % 2:
            wait_for_checkpoint(process, hurt)
        time.sleep(chance.uniform(0.0, 0.2 if kill % 2 else 1.5))
        if not process.process.is_alive():
            break
        process.send(signal.SIGKILL)
        process.wait()
        found = {path: path.stat().st_mtime_ns for path in hurt.glob("runs/[!.]*/weights.safetensors")}
        assert stamps.items() <= found.items(), "a finished run was lost or repeated"
        stamps = found
    ends_well(Bench(*study, "--out", hurt, folder=folder))
    for run in (calm / "runs").iterdir():
        for name in ("weights.safetensors", "curves.csv", "scores.json"):
            assert (hurt / "runs" / run.name / name).read_bytes() == (run / name).read_bytes()
        provenance = json.loads((hurt / "runs" / run.name / "provenance.json").read_text())
        resumed.add(provenance["resumed_at_step"])
    assert numbers(folder, hurt.name).equals(numbers(folder, calm.name))
    assert any(resumed - {None}), "no kill fell into training; the test shows nothing"
    assert not list(hurt.glob("checkpoints/*.safetensors"))
