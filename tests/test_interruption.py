"""Stopped politely or killed outright, a study goes on where it was and ends with the scores of an undisturbed one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import tiny_data

STEPS = "training.steps=400"


def start(folder: Path, out: str) -> subprocess.Popen[str]:
    """The study as a process; its lines come from standard error."""
    arguments = ["run", "tiny.toml", "--out", out, "--set", STEPS, "--seeds", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "disentangle_bench", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell ignores Ctrl-C and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def stop_after(folder: Path, out: str, runs: int, how: signal.Signals) -> tuple[int, str]:
    """Stop the study as its run number `runs` begins; its exit code and what it said last."""
    process = start(folder, out)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"[{runs}/"):
            process.send_signal(how)
            break
    rest = process.stderr.read()
    return process.wait(), rest


def numbers(folder: Path, out: str) -> pd.DataFrame:
    return pd.read_csv(folder / out / "scores.csv").drop(columns="training_seconds")


def weights(folder: Path, out: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / out).rglob("*.safetensors")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid and the study that nobody disturbed."""
    folder = tmp_path_factory.mktemp("interrupted")
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    process = start(folder, "undisturbed")
    process.communicate()
    assert process.returncode == 0
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
    assert len(finished) == 2
    process = start(folder, out)
    process.communicate()
    assert process.returncode == 0
    assert numbers(folder, out).equals(numbers(folder, "undisturbed"))
    assert {path: stamp for path, stamp in weights(folder, out).items() if path in finished} == finished
