"""Stopped politely or killed outright, a study goes on where it was and ends with the scores of an undisturbed one."""

import json
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


CHILD = """
import os, random, sys, time
sys.argv[0] = "bench"
import pandas, torch
import disentangle_bench.pipeline, disentangle_bench.report.figures, disentangle_bench.metrics.mig
import torch._dynamo, disentangle_bench.metrics.factor_vae
from disentangle_bench.cli import main

# One process imports, its children are the studies: a study that starts in an instant can be killed more often.
arguments, seed, kills = sys.argv[1:-2], int(sys.argv[-2]), int(sys.argv[-1])
chance = random.Random(seed)
died = 0
while died < kills:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        main(arguments)
    time.sleep(chance.uniform(0.0, 1.5))
    os.kill(child, 9)
    died += os.waitpid(child, 0)[1] == 9
    print(died, flush=True)
"""


@pytest.mark.parametrize("stack", [1, 2])
def test_twenty_kills_at_random_moments_lose_and_repeat_nothing(folder: Path, stack: int) -> None:
    """The scores, and every byte of the weights, are those of the study that nobody disturbed."""
    study = ["run", "tiny.toml", "--seeds", "1", "--stack-size", str(stack), "--checkpoint-every", "0.05s"]
    study += ["--set", "training.steps=500", "--set", "scoring.points=40"]
    calm, hurt = folder / f"calm{stack}", folder / f"hurt{stack}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    bench = [sys.executable, "-m", "disentangle_bench"]
    subprocess.run(
        [*bench, *study, "--out", calm], cwd=folder, env=environment, check=True, capture_output=True
    )
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *study, "--out", hurt, "7", "10"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    stamps: dict[Path, int] = {}
    resumed = set()
    for _ in process.stdout:
        found = {path: path.stat().st_mtime_ns for path in hurt.glob("runs/[!.]*/weights.safetensors")}
        assert stamps.items() <= found.items(), "a finished run was lost or repeated"
        stamps = found
    assert process.wait() == 0
    subprocess.run(
        [*bench, *study, "--out", hurt], cwd=folder, env=environment, check=True, capture_output=True
    )
    for run in (calm / "runs").iterdir():
        for name in ("weights.safetensors", "curves.csv", "scores.json"):
            assert (hurt / "runs" / run.name / name).read_bytes() == (run / name).read_bytes()
        provenance = json.loads((hurt / "runs" / run.name / "provenance.json").read_text())
        resumed.add(provenance["resumed_at_step"])
    assert numbers(folder, hurt.name).equals(numbers(folder, calm.name))
    assert any(resumed - {None}), "no kill fell into training; the test shows nothing"
    assert not list(hurt.glob("checkpoints/*.safetensors"))
