"""How long a study of eight runs takes on a CPU: `bench run` on all cores against loops that train one after the other.

    python benchmarks/study_speed.py [--side 64] [--steps 200] [--rounds 5] [--out FILE]
                                     [--pythae PYTHON] [--disent PYTHON] [--before CHECKOUT] [--beside-another]

All trainers take turns, round after round; the table has medians and, for each other trainer, the median ratio of its
time to that of `bench run`. Eight VAEs (seeds) are trained at batch 64 on dSprites of 64 x 64 with the standard
networks, or on every second pixel's mean, 32 x 32, with those of the small track. The time is that of a whole command,
from its start to its end: `bench run` also encodes, scores (MIG on 1,000 images), draws and writes tables, the others
only import, read the data and train. Loops have all cores for each model. pythae and disent train their own VAE objects
around the same networks in a loop; each has an interpreter that has it (pip install pythae; pip install disent numba).
`--before` is a checkout of an earlier version. With `--beside-another` a second process is busy all the time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from loops import SIZES, plain_loop
from peers import PEERS

from disentangle_bench.data.load import load_dataset
from disentangle_bench.processes.cores import count_cores

RUNS = 8
EVERY = {"orientation": 4, "posX": 2, "posY": 2}  # 46,080 images
HERE = Path(__file__).parent
BUSY = "while True: sum(range(1000))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, choices=SIZES, default=64)
    parser.add_argument("--steps", type=int, default=200, help="of each model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table as JSON too")
    parser.add_argument("--pythae", metavar="PYTHON", help="an interpreter that has pythae")
    parser.add_argument("--disent", metavar="PYTHON", help="an interpreter that has disent")
    parser.add_argument("--before", metavar="CHECKOUT", help="an earlier version of this package")
    parser.add_argument("--beside-another", action="store_true", help="beside a busy process")
    parser.add_argument("--loop", choices=["plain", *PEERS], help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.loop:
        train_in_turn(arguments.loop, arguments.data, arguments.steps)
        return
    if arguments.out:
        arguments.out = arguments.out.absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        data = write_data(arguments.side, Path(folder))
        write_grid(arguments.side, arguments.steps, data)
        other = subprocess.Popen([sys.executable, "-c", BUSY]) if arguments.beside_another else None
        try:
            seconds = measured(commands(arguments, data), arguments.rounds)
        finally:
            if other is not None:
                other.kill()
    show(seconds, arguments)


def write_data(side: int, folder: Path) -> Path:
    """The images as a file of one's own: those of the sub-grid, averaged over blocks where they are to be smaller."""
    dataset = load_dataset("dsprites_rendered", every=EVERY)
    index = torch.arange(len(dataset))
    images = dataset.images(index).numpy()[:, 0]
    blocks = images.reshape(len(images), side, 64 // side, side, 64 // side)
    path = folder / "images.npz"
    # The loader takes 0 and 1 alone for black and white; these are 0 to 255.
    np.savez(path, images=blocks.mean(axis=(2, 4)).astype(np.uint8), factors=dataset.factors(index).numpy())
    return path


def write_grid(side: int, steps: int, data: Path) -> None:
    """grid.toml: eight seeds of a VAE."""
    size = SIZES[side]
    Path("grid.toml").write_text(
        f'name = "speed"\nseeds = {RUNS}\nmetrics = ["mig"]\ndatasets = [{{ name = "{data}" }}]\n'
        f'models = [{{ name = "vae" }}]\ntraining = {{ steps = {steps} }}\n'
        f"network = {{ channels = {list(size.channels)}, kernels = {list(size.kernels)}, hidden = {size.hidden} }}\n"
        "scoring = { points = 1000, reconstruction_points = 1000 }\n"
    )


def commands(arguments: argparse.Namespace, data: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """What is timed, by name: a command line and what it has in its environment; `bench run` on all cores first."""
    bench = [
        sys.executable,
        "-m",
        "disentangle_bench",
        "run",
        str(Path("grid.toml").absolute()),
        "--device",
        "cpu",
    ]
    ours = {"PYTHONPATH": str(HERE.parent)}
    cores = count_cores()
    found = {f"--jobs {cores}": ([*bench, "--jobs", str(cores)], ours)}
    found |= {f"--jobs 1 --threads {cores}": ([*bench, "--jobs", "1", "--threads", str(cores)], ours)}
    found |= {"--jobs 1": ([*bench, "--jobs", "1"], ours)}
    if arguments.before:
        found["an earlier version"] = (bench, {"PYTHONPATH": arguments.before})
    loops = {"plain": sys.executable, "pythae": arguments.pythae, "disent": arguments.disent}
    for name, python in loops.items():
        if python:
            loop = [python, __file__, "--loop", name, "--data", str(data), "--steps", str(arguments.steps)]
            found[f"{name} loop"] = (loop, ours)
    return found


def measured(todo: dict[str, tuple[list[str], dict[str, str]]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each command in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(rounds):
        for name, (command, environment) in todo.items():
            out = ["--out", f"study-{number}-{len(seconds[name])}-{name.replace(' ', '')}"]
            line = command if "--loop" in command else command + out
            started = time.perf_counter()
            subprocess.run(line, env=os.environ | environment, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
            print(f"round {number + 1}: {name}: {seconds[name][-1]:.1f} s", file=sys.stderr, flush=True)
    return seconds


def show(seconds: dict[str, list[float]], arguments: argparse.Namespace) -> None:
    """Print the table, and keep it where that is asked for."""
    about = {
        "device": f"cpu ({platform.machine()}), {count_cores()} cores",
        "torch": torch.__version__,
        "side": arguments.side,
        "steps": arguments.steps,
        "beside another process": arguments.beside_another,
    }
    print(about)
    ours = next(iter(seconds.values()))
    rows = []
    for name, times in seconds.items():
        ratios = sorted(time / own for time, own in zip(times, ours, strict=True))
        middle = statistics.median(times)
        rows.append(
            {
                "trainer": name,
                "seconds": round(middle, 1),
                "steps_per_second": round(RUNS * arguments.steps / middle, 1),
                "ratio": round(statistics.median(ratios), 2),
                "ratios": [round(ratio, 2) for ratio in ratios],
            }
        )
        print(
            f"{name:<24} {middle:>7.1f} s {rows[-1]['steps_per_second']:>7.1f} models x steps/s"
            f"  x{rows[-1]['ratio']:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps({"about": about, "rows": rows}, indent=1))


def train_in_turn(name: str, data: Path, steps: int) -> None:
    """Eight models, one after the other, each with all cores."""
    pixels = torch.from_numpy(np.load(data, allow_pickle=False)["images"])[:, None]
    for seed in range(RUNS):
        torch.manual_seed(seed)
        step = plain_loop("vae", pixels) if name == "plain" else PEERS[name](pixels)
        for _ in range(steps):
            step()


if __name__ == "__main__":
    main()
