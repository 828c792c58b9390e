"""How fast one model trains on a CPU: steps per second, as ratios to a plain loop, beside pythae and disent.

    python benchmarks/training.py [--seconds 3] [--models vae,factor_vae] [--out FILE]

Every trainer has a process of one thread and takes turns with the plain loop, so that the ratios hold on a busy
machine; pythae and disent take part where they are installed (`pip install pythae disent numba`). Beside ours in
float32 stands its share of the rate at which the core multiplies matrices, counted in the operations of its
convolutions and products. For whole studies see study_speed.py, for a GPU's stacks gpu_speed.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from loops import BATCH, STUDY_STEPS, plain_loop, rate_of, sampled_pixels, specs_of
from peers import PEERS
from torch.utils.flop_counter import FlopCounterMode

from disentangle_bench.data.load import load_dataset
from disentangle_bench.train.alone import Alone
from disentangle_bench.train.objective import make_objective

# The side of the images by what our trainer is called.
OURS = {"ours": None, "ours, 32x32": 32}
PRODUCT = 1024  # rows and columns of the matrices whose products give a core's rate


@dataclass
class Row:
    """One line of the table."""

    model: str
    trainer: str
    precision: str
    steps_per_second: float
    ratio: float  # to the plain loop
    share: float | None = None  # of the rate of matrix products


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of timing per row")
    parser.add_argument("--models", default="vae,factor_vae")
    parser.add_argument("--images", type=int, default=65_536, help="images that the other trainers draw from")
    parser.add_argument("--out", type=Path, help="write the table as JSON too")
    arguments = parser.parse_args()
    about = {
        "device": f"cpu ({platform.machine()})",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    print(about, flush=True)
    rows: list[Row] = []
    for model in arguments.models.split(","):
        rows += on_cpu(model, arguments.images, arguments.seconds)
    if arguments.out:
        arguments.out.write_text(
            json.dumps({"about": about, "rows": [asdict(row) for row in rows]}, indent=1)
        )


def on_cpu(model: str, images: int, seconds: float) -> list[Row]:
    """Each trainer in turn with the plain loop, five times; the median of the ratios of neighbours."""
    others = [(name, precision) for name in OURS for precision in ("float32", "bfloat16")]
    if model == "vae":
        others += [(name, "float32") for name in PEERS if importlib.util.find_spec(name)]
    rows = []
    with Apart(model, "products", "float32", images) as core:
        possible = core.rate(seconds) * 2 * PRODUCT**3
        print(f"matrix products: {possible / 1e9:.0f} GFLOP/s", flush=True)
    with Apart(model, "plain loop", "float32", images) as plain:
        for name, precision in others:
            rates, ratios = [], []
            with Apart(model, name, precision, images) as other:
                for _ in range(5):
                    base, rate = plain.rate(seconds / 5), other.rate(seconds / 5)
                    rates.append(rate)
                    ratios.append(rate / base)
            ratio = statistics.median(ratios)
            row = Row(model, name, precision, statistics.median(rates), ratio)
            if name in OURS and precision == "float32":
                row.share = row.steps_per_second * operations(model, OURS[name]) / possible
            rows.append(row)
            print(line(row), f"  (ratios {min(ratios):.2f} to {max(ratios):.2f})", flush=True)
    return rows


class Apart:
    """A trainer in a process of its own: what one of them asks of its process's allocator must not help another."""

    def __init__(self, *trainer: str | int) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, *trainer), daemon=True)

    def __enter__(self) -> Apart:
        self.process.start()
        self.connection.recv()  # ready: its start must not take time from another's turn
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()

    def rate(self, seconds: float) -> float:
        """Steps per second over that time."""
        self.connection.send(seconds)
        return self.connection.recv()


def serve(connection: Connection, model: str, trainer: str, precision: str, images: int) -> None:
    """Answer every number of seconds with the trainer's rate over them."""
    torch.set_num_threads(1)
    if trainer in OURS:
        step = our_step(model, precision, OURS[trainer])
    elif trainer == "products":
        left, right = torch.randn(2, PRODUCT, PRODUCT)
        step = partial(torch.mm, left, right)
    else:
        dataset = load_dataset("dsprites_rendered")
        pixels = sampled_pixels(dataset, images)
        step = PEERS[trainer](pixels) if trainer in PEERS else plain_loop(model, pixels)
    connection.send("ready")
    while True:
        connection.send(rate_of(step, connection.recv()))


def our_step(model: str, precision: str, side: int | None) -> Callable[[], None]:
    """What takes a step of ours with images of so many pixels a side."""
    dataset = load_dataset("dsprites_rendered", size=side)
    (spec,) = specs_of(model, precision, 1, side=side)
    return Alone(make_objective(spec, dataset), spec, dataset).advance


def operations(model: str, side: int | None) -> int:
    """Floating-point operations in the convolutions and products of a step of ours."""
    step = our_step(model, "float32", side)
    with FlopCounterMode(display=False) as counted:
        step()
    return counted.get_total_flops()


def line(row: Row) -> str:
    """The row for reading."""
    share = "" if row.share is None else f", {row.share:.0%} of the products' rate"
    return (
        f"{row.model:<11} {row.trainer:<11} {row.precision:<9} {row.steps_per_second:>9.1f} steps/s"
        f" {row.steps_per_second * BATCH / 1e3:>8.1f} k images/s"
        f" {STUDY_STEPS / row.steps_per_second:>8.1f} s per 300k-step model, x{row.ratio:.2f}{share}"
    )


if __name__ == "__main__":
    main()
