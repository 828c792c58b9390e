"""What a study takes of memory on a CPU: the proportional set sizes of `bench run` and its processes, at the peak.

    python benchmarks/memory.py [--jobs 1,2,4] [--datasets dsprites_rendered,shapes3d_rendered] [--seconds 40]

A page that several processes share counts once, in parts. Four VAEs are trained on the whole data set at batch 64, and
the study is ended after so many seconds of training. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", default="1,2,4")
    parser.add_argument("--datasets", default="dsprites_rendered,shapes3d_rendered")
    parser.add_argument("--seconds", type=float, default=40.0, help="to look at each study")
    arguments = parser.parse_args()
    for dataset in arguments.datasets.split(","):
        for jobs in arguments.jobs.split(","):
            sizes = peak(dataset, int(jobs), arguments.seconds)
            each = ", ".join(f"{size / 1024:.0f}" for size in sizes)
            print(f"{dataset}, {jobs} jobs: {sum(sizes) / 1024:.0f} MiB (the command {each})", flush=True)


def peak(dataset: str, jobs: int, seconds: float) -> list[int]:
    """KiB of the command and of each of its processes, when they were most together."""
    sets = ('models=[{name="vae"}]', f'datasets=[{{name="{dataset}"}}]', 'metrics=["mig"]')
    grid = (
        'name = "memory"\nseeds = 4\nmodels = [{name = "vae"}]\ndatasets = [{name = "dsprites_rendered"}]\n'
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "grid.toml").write_text(grid)
        command = [sys.executable, "-m", "disentangle_bench", "run", "grid.toml", "--device", "cpu"]
        command += ["--jobs", str(jobs), *(part for text in sets for part in ("--set", text))]
        process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        most: list[int] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            sizes = [shared_out(pid) for pid in tree(process.pid)]
            most = max(most, sizes, key=sum)
            time.sleep(0.5)
        process.terminate()
        process.wait()
    return most


def tree(pid: int) -> list[int]:
    """The process and all that it has started, directly or not."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(each for child in children for each in tree(int(child)))]


def shared_out(pid: int) -> int:
    """Its proportional set size in KiB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
