"""A log that cannot be written and signals that ask to stop cost no run."""

import io
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import tiny_data
from forked import Bench, processes

from disentangle_bench.cli.signals import stopping_politely
from disentangle_bench.progress import Lines
from disentangle_bench.stop import Stop
from disentangle_bench.streams import go_on_unread

RUN = ["run", "tiny.toml", "--seeds", "1", "--set", "controls=false", "--set", 'models=[{name="vae"}]']
PRINTS = """
def m(codes, factors):
    print("a metric may print", flush=True)
    return 0.5
"""


def dead_reader() -> int:
    """A pipe that nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk() -> int:
    """A file on a disk without room."""
    return os.open("/dev/full", os.O_WRONLY)


def run_with(kind: str, buffered: bool, folder: Path) -> None:
    """`bench run` with standard streams that cannot be written, in a process of its own."""
    os.chdir(folder)
    for number in (1, 2):
        os.close(number)
    sys.stdout = sys.stderr = None  # what Python itself makes of closed streams
    if kind != "closed":
        writer = dead_reader() if kind == "dead reader" else full_disk()
        os.dup2(writer, 1), os.dup2(writer, 2)
        for number, name in ((1, "stdout"), (2, "stderr")):
            stream = os.fdopen(number, "wb", buffering=-1 if buffered else 0)
            setattr(sys, name, io.TextIOWrapper(stream, write_through=not buffered))
    from disentangle_bench.cli import main

    main([*RUN, "--out", "study", "--plugin", "prints.py"], prog_name="bench")


@pytest.mark.parametrize("kind", ["dead reader", "full disk", "closed"])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_run_whose_output_cannot_be_written_is_done(tmp_path: Path, kind: str, buffered: bool) -> None:
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    (tmp_path / "prints.py").write_text(PRINTS)
    process = processes.Process(target=run_with, args=(kind, buffered, tmp_path))
    process.start()
    process.join()
    assert process.exitcode == 0
    (run,) = (tmp_path / "study" / "runs").iterdir()
    assert (run / "DONE").exists()
    scores = json.loads((run / "scores.json").read_text())
    assert scores["scores"]["m"] == 0.5
    assert scores["failures"] == {}


def test_nothing_of_closed_streams_lands_in_a_file(tmp_path: Path) -> None:
    """A file opened after the command has begun never has the number of a standard stream."""
    process = processes.Process(target=open_one, args=(tmp_path / "number",))
    process.start()
    process.join()
    assert int((tmp_path / "number").read_text()) > 2


def open_one(path: Path) -> None:
    from disentangle_bench.streams import open_closed

    for number in range(3):
        os.close(number)
    open_closed()
    with path.open("w") as file:
        file.write(str(file.fileno()))


def test_a_stream_falls_silent_and_speaks_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is raised while nothing can be written, and what comes later is there."""
    number = dead_reader()
    monkeypatch.setattr(sys, "stdout", os.fdopen(number, "w"))
    print("lost")
    go_on_unread("stdout")
    print("lost too", flush=True)
    os.dup2(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT), number)
    print("there", flush=True)
    assert (tmp_path / "log").read_text() == "there\n"


def test_lines_to_a_stream_that_breaks_are_left_out() -> None:
    lines = Lines(os.fdopen(dead_reader(), "w"))
    lines.run_started(["run"])
    lines.run_finished("run", None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_keeps_a_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    """A shell whose terminal is closed sends SIGHUP twice, and batch systems repeat themselves."""
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    bench = Bench(*RUN, "--out", "study", "--set", "training.steps=100000", folder=tmp_path)
    wait_for_steps(bench, tmp_path / "study")
    bench.send(number)
    bench.send(number)
    assert bench.wait() in (
        128 + number,
        -number,
    )  # the second may come when all is kept and the command ends
    assert len(list(tmp_path.glob("study/checkpoints/*.safetensors"))) == 1
    assert not list(tmp_path.glob("study/runs/*"))
    assert f"Stopped: {number.name}." in bench.said


def wait_for_steps(bench: Bench, study: Path) -> None:
    """Wait until some steps are done."""
    while bench.process.is_alive():
        for path in study.glob("progress/[!.]*.json"):
            runs = json.loads(path.read_text())["runs"].values()
            if any(run["phase"] == "training" and run["done"] for run in runs):
                return
        time.sleep(0.01)
    pytest.fail(f"it ended by itself:\n{bench.said}")


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stopping_politely(stop):
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
