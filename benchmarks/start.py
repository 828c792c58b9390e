"""How long commands take to start: `python benchmarks/start.py`.

Each is a process of its own with one thread; printed are the CPU seconds of all its processes and the seconds on the
clock, medians of five. "First step" is `bench run grids/quickstart.toml` from its start until its progress file says
that a run's only training step is done; drawn data are cached (a first, uncounted call sees to that). The version that
is measured is the one that this Python imports.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BENCH = [sys.executable, "-m", "disentangle_bench"]
ONE_STEP = ["run", str(ROOT / "grids" / "quickstart.toml"), "--device", "cpu", "--set", "training.steps=1"]
SMALL = ["--set", "scoring.points=1000", "--set", "scoring.reconstruction_points=100"]
REPEATS = 5
POLL_S, LIMIT_S = 0.005, 300.0
TICKS = os.sysconf("SC_CLK_TCK")


def whole_command(*arguments: str) -> tuple[float, float]:
    """CPU and clock seconds of a command from its start to its end."""
    began = time.perf_counter()
    process = subprocess.Popen([*BENCH, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, arguments
    return used.ru_utime + used.ru_stime, time.perf_counter() - began


def first_step(study: Path) -> tuple[float, float]:
    """CPU and clock seconds from the start of `bench run` until a run has its one step behind it; then it is ended."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [*BENCH, *ONE_STEP, "--out", str(study)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not has_stepped(study):
            assert process.poll() is None
            assert time.perf_counter() - began < LIMIT_S
            time.sleep(POLL_S)
        return cpu_seconds(process.pid), time.perf_counter() - began
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def has_stepped(study: Path) -> bool:
    """Whether a run of the study is past its training."""
    for path in study.glob("progress/[!.]*.json"):
        runs = json.loads(path.read_text())["runs"].values()
        if any(run["phase"] in ("encoding", "scoring") for run in runs):
            return True
    return False


def cpu_seconds(group: int) -> float:
    """CPU seconds so far of all processes of the group and of those that have ended in them (Linux)."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def main() -> None:
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finished = [*ONE_STEP, *SMALL, "--out", str(folder / "finished")]
        whole_command(*finished)
        measured = {
            "`bench --help`": lambda number: whole_command("--help"),
            "`bench list metrics`": lambda number: whole_command("list", "metrics"),
            "`bench list models`": lambda number: whole_command("list", "models"),
            "`bench status`, finished": lambda number: whole_command("status", str(folder / "finished")),
            "`bench leaderboard`, finished": lambda number: whole_command(
                "leaderboard", str(folder / "finished")
            ),
            "`bench run`, nothing to do": lambda number: whole_command(*finished),
            "`bench run`, first step": lambda number: first_step(folder / str(number)),
        }
        print("| command | CPU seconds | seconds |")
        print("| --- | --- | --- |")
        for what, measure in measured.items():
            cpu, clock = zip(*(measure(number) for number in range(REPEATS)), strict=True)
            print(f"| {what} | {statistics.median(cpu):.2f} | {statistics.median(clock):.2f} |", flush=True)


if __name__ == "__main__":
    main()
