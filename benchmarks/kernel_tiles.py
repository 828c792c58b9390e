"""How long each kernel of a step takes on a GPU, with its tile and with others.

    python benchmarks/kernel_tiles.py [--model vae] [--image 1,64,64] [--runs 64] [--json-lines FILE]
    python benchmarks/kernel_tiles.py --compile-only

A line per kernel and layer: its time in a step of a stack, the time that its bytes take at the speed of a copy, and the
fastest tile that was tried. A tile is [rows x columns x depth], warps and stages; `parts` are in how many sums `outer`
splits the pixels, as a multiple of what `kernel_ops.parts_of` says. Every tile's result is compared with that of the
first; one that differs by more than rounding, or fails, is said and never the fastest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from gpu_speed import Lines, ceilings
from torch import Tensor

from disentangle_bench.models import kernel_ops
from disentangle_bench.models.forms import use_form
from disentangle_bench.models.kernel_ops import Tile
from disentangle_bench.models.networks import Decoder, Encoder
from disentangle_bench.models.objective import NetworkSize
from disentangle_bench.precision import PRECISIONS, float32_products

BATCH = 64
OPERATIONS = {name: getattr(kernel_ops, name) for name in ("halve", "double", "outer")}
TOGETHER, ROUNDS = 5, 5  # calls in a graph, and how often it is timed
WORKERS = 8  # that build tiles beside each other


@dataclass(frozen=True)
class Launch:
    """A call of one of the three operations: tensors by their shapes for one run, and all else as it is."""

    name: str
    arguments: tuple[Any, ...]

    def tensors(self, runs: int, dtype: torch.dtype) -> list[Any]:
        """Its arguments for so many runs, of random values on the GPU."""
        return [
            torch.randn(runs, *argument[1:], device="cuda").to(dtype)
            if isinstance(argument, torch.Size)
            else argument
            for argument in self.arguments
        ]

    def __str__(self) -> str:
        shapes = [
            "x".join(map(str, one[1:])) if isinstance(one, torch.Size) else str(one) for one in self.arguments
        ]
        return f"{self.name}({', '.join(shapes)})"


@dataclass(frozen=True)
class Choice:
    """What is tried in place of `kernel_ops.tile` and `kernel_ops.parts_of`."""

    tile: Tile
    parts: int = 1  # times as many

    def __str__(self) -> str:
        tile = self.tile
        text = f"{tile.rows} x {tile.columns} x {tile.depth}, {tile.warps} warps, {tile.stages} stages"
        return text + (f", {self.parts} times the parts" if self.parts != 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="1,64,64", help="channels, height, width")
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "tf32", "float32"))
    parser.add_argument("--json-lines", type=Path, help="a file that gets every tile's time")
    parser.add_argument("--compile-only", action="store_true", help="no timing: build all, side by side")
    parser.add_argument("--share", type=int, help="of --compile-only: the part that this process builds")
    arguments = parser.parse_args()
    if arguments.compile_only and arguments.share is None:
        compile_beside()
        return
    found = launches(tuple(map(int, arguments.image.split(","))))
    chosen = PRECISIONS[arguments.precision]
    with float32_products(chosen):
        if arguments.compile_only:
            compile_share(found, chosen.computed, arguments.share)
            return
        copied = ceilings(torch.device("cuda"), 0.5)["copied_bytes_per_second"]
        table(found, arguments.runs, chosen.computed, copied, Lines(arguments.json_lines))


def launches(image_shape: tuple[int, ...]) -> Counter[Launch]:
    """The launches of a step of the standard encoder and decoder, and how many there are of each."""
    found: Counter[Launch] = Counter()
    size = NetworkSize()
    with recorded(found), torch.device("meta"):
        encoder, decoder = Encoder(image_shape, size, 2 * size.latents), Decoder(image_shape, size)
        use_form([encoder, decoder], "kernel")
        encoder(torch.empty(BATCH, *image_shape)).sum().backward()
        decoder(torch.empty(BATCH, size.latents)).sum().backward()
    return found


@contextmanager
def recorded(found: Counter[Launch]) -> Iterator[None]:
    """Within it every call of an operation is counted by its shapes."""

    def noting(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            launch = Launch(name, tuple(a.shape if isinstance(a, Tensor) else a for a in arguments))
            found[launch] += 1
            return OPERATIONS[name](*arguments)

        return call

    with ExitStack() as stack:
        for name in OPERATIONS:
            stack.enter_context(patch.object(kernel_ops, name, noting(name)))
        yield


def choices(launch: Launch, tensors: list[Any]) -> Iterator[Choice]:
    """The tile that is used, and its neighbours."""
    base = tile_of(launch, tensors)
    yield Choice(base)
    other = 12 - base.warps  # 4 or 8
    tried = {
        replace(base, warps=other),
        replace(base, columns=base.columns // 2),
        *(replace(base, stages=stages) for stages in (2, 4)),
        *(replace(base, depth=depth) for depth in (base.depth // 2, 2 * base.depth)),
        *(
            replace(base, rows=rows, warps=warps)
            for rows in (base.rows // 2, 2 * base.rows)
            for warps in (4, 8)
        ),
        replace(base, rows=base.rows // 2, warps=4, stages=4),
    }
    for tile in sorted(tried - {base}, key=str):
        if min(tile.rows, tile.columns, tile.depth) >= 16:
            yield Choice(tile)
    if launch.name == "outer":
        yield from (Choice(base, parts) for parts in (2, 4))


def tile_of(launch: Launch, tensors: list[Any]) -> Tile:
    """The tile that the operation chooses by itself."""
    chosen: list[Tile] = []
    own = kernel_ops.tile

    def noting(*arguments: int) -> Tile:
        chosen.append(own(*arguments))
        return chosen[-1]

    with patch.object(kernel_ops, "tile", noting):
        OPERATIONS[launch.name](*tensors)
    return chosen[0]


@contextmanager
def used(choice: Choice) -> Iterator[None]:
    """Within it the operations use this choice."""
    own = kernel_ops.parts_of
    with (
        patch.object(kernel_ops, "tile", lambda *_: choice.tile),
        patch.object(kernel_ops, "parts_of", lambda *sizes: choice.parts * own(*sizes)),
    ):
        yield


def compile_beside() -> None:
    """Build every tile once, so that its code is in Triton's cache."""
    command = [sys.executable, __file__, *sys.argv[1:], "--share"]
    running = [subprocess.Popen([*command, str(share)]) for share in range(WORKERS)]
    for process in running:
        process.wait()


def compile_share(found: Counter[Launch], dtype: torch.dtype, share: int) -> None:
    number = 0
    for launch in found:
        tensors = launch.tensors(2, dtype)
        for choice in choices(launch, tensors):
            number += 1
            if number % WORKERS == share:
                with used(choice):
                    result_of(launch, tensors)


def result_of(launch: Launch, tensors: list[Any]) -> Tensor | str:
    """What the operation computes, its parts summed; or why it cannot."""
    try:
        result = OPERATIONS[launch.name](*tensors)
        torch.cuda.synchronize()
    except Exception as error:  # a tile may be too large for the card; the others are not
        return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
    return result.double().sum(1) if launch.name == "outer" else result.double()


def table(found: Counter[Launch], runs: int, dtype: torch.dtype, copied: float, kept: Lines) -> None:
    """Time every launch with every choice; a line for each launch, and the sums of a step."""
    sums = {"now": 0.0, "fastest": 0.0, "by its bytes": 0.0}
    for launch, count in found.items():
        tensors = launch.tensors(runs, dtype)
        times = timed(launch, tensors)
        least = 1e6 * bytes_of(launch, tensors) / copied
        (own, now), *_ = times.items()
        best = min(times, key=times.__getitem__)
        for name, value in zip(sums, (now, times[best], least), strict=True):
            sums[name] += count * value
        for choice, microseconds in times.items():
            kept.add(launch=str(launch), count=count, us=microseconds, bytes_us=least, **asdict(choice))
        ours, fastest = (
            f"{now:.0f} us ({least:.0f} by its bytes) with {own}",
            f"{times[best]:.0f} with {best}",
        )
        print(f"{launch}: {ours}; {fastest}", flush=True)
    print({name: f"{value:.0f} us" for name, value in sums.items()}, flush=True)


def bytes_of(launch: Launch, tensors: list[Any]) -> int:
    moved = [*tensors, OPERATIONS[launch.name](*tensors)]
    return sum(one.nbytes for one in moved if isinstance(one, Tensor))


def timed(launch: Launch, tensors: list[Any]) -> dict[Choice, float]:
    """Microseconds of every choice; the first is the one in use."""
    times: dict[Choice, float] = {}
    expected = None
    for choice in choices(launch, tensors):
        with used(choice):
            result = result_of(launch, tensors)
            if isinstance(result, str):
                print(f"{launch}, {choice}: {result}", flush=True)
                continue
            expected = result if expected is None else expected
            distance = float((result - expected).norm() / expected.norm())
            if not distance < 0.01:
                print(f"{launch}, {choice}: differs by {distance:.2e}", flush=True)
                continue
            del result
            times[choice] = microseconds_of(lambda: OPERATIONS[launch.name](*tensors))
    return times


def microseconds_of(call: Callable[[], Any]) -> float:
    """The least of several means over a few calls in a CUDA graph, where no launch waits for the processor."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(TOGETHER):
            call()
    found = []
    for _ in range(ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        found.append(1e3 * start.elapsed_time(end) / TOGETHER)
    return min(found)


if __name__ == "__main__":
    main()
