"""How fast stacks train on a GPU, row by row, beside a plain loop and its compiled form.

    python benchmarks/gpu_speed.py [--rows vae:eager,vae:ours:bfloat16:64] [--seconds 1] [--json-lines FILE]
    python benchmarks/gpu_speed.py --profile-only --rows vae:ours:bfloat16:64
    python benchmarks/gpu_speed.py --compile-only --rows vae:ours:bfloat16:64

A row is MODEL:TRAINER[:PRECISION[:RUNS]]. The model is vae, beta_vae or factor_vae; the trainer is one of

    eager      a loop as a user writes it, one model (float32 unless a precision is named)
    compiled   the same with compiled losses and CUDA graphs (tf32 unless a precision is named)
    vmap       torch.func.vmap over the plain modules; needs precision and runs
    ours       a stack, compiled and captured; needs precision and runs
    kernels    the same, its convolutions by our own Triton kernels (disentangle_bench/models/kernels.py)
    captured   the same without compiling

`--dataset` names another data set than rendered dSprites. Before the rows it is measured what the device copies and
multiplies in a second; each row of images with one channel says what share of the limit set by that it reaches. Every
row is written as soon as it is there, and one that fails costs the others nothing. Where rows differ in `ours` and
`kernels` alone, the last lines say which is faster. What is compiled stays in torch's
cache, so that several rows can be compiled beside each other before any is timed. With `--device cpu` stacks are
neither captured nor, without `--compile`, compiled: a rehearsal, no measurement.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from loops import BATCH, STUDY_STEPS, naive_vmap, plain_loop, rate_of, sampled_pixels, specs_of, wait
from torch import Tensor

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.models.forms import Form
from disentangle_bench.precision import PRECISIONS, float32_products
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import COMPILED, Stacked

# Counted for one image channel: floating-point operations and bytes of a training step of one model at batch 64, when
# every activation is moved once per pass and every weight, gradient and moment once per step. See docs/training.md.
LIMIT = {
    "vae": {"operations": 5.27e9, "bytes": 104.3e6},
    "factor_vae": {"operations": 9.86e9, "bytes": 303.6e6},
}
LIMIT["beta_vae"] = LIMIT["vae"]
# Trainers of one model, and their precision where none is named.
ALONE = {"eager": "float32", "compiled": "tf32"}
STACKS: dict[str, Form] = {
    "ours": "product",
    "kernels": "kernel",
    "captured": "product",
}  # and the form of their layers
TOGETHER = ("vmap", *STACKS)
ROWS = (
    "vae:eager,vae:compiled,vae:ours:bfloat16:64,vae:ours:bfloat16:16,"
    "factor_vae:eager,factor_vae:ours:bfloat16:64,"
    "vae:ours:tf32:64,vae:ours:float32:64,vae:ours:bfloat16:8,vae:ours:bfloat16:128,"
    "factor_vae:compiled,vae:eager"  # the last shows how the device has drifted since the first
)
PROFILED = 10  # steps


@dataclass(frozen=True)
class RowSpec:
    """What one row measures."""

    model: str
    trainer: str
    precision: str
    runs: int = 1

    def __str__(self) -> str:
        return f"{self.model}:{self.trainer}:{self.precision}:{self.runs}"


@dataclass
class Row:
    """One line of the table; what could not be had is None."""

    row: str
    model: str
    trainer: str
    precision: str
    runs: int
    steps_per_second: float | None = None  # of all runs together
    compile_seconds: float | None = None  # of the first step, which compiles where anything does
    memory_gb: float | None = None  # at the peak, without the data
    ratio: float | None = None  # to the first eager loop of the same model
    share_of_limit: float | None = None
    note: str = ""  # why a stack that should be compiled is not
    failure: str = ""


@dataclass(frozen=True)
class Place:
    """Where rows are measured: the data set, images of it for loops that know no data sets, and whether to compile."""

    dataset: FactorDataset
    pixels: Tensor
    compiled: bool

    @property
    def device(self) -> torch.device:
        return self.dataset.device


class Lines:
    """A file that has each line on the disk before the next is measured; without a path, nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None:
            path.write_text("")

    def add(self, **line: object) -> None:
        if self.path is None:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def main() -> None:
    arguments = parsed()
    device = torch.device(arguments.device)
    compiled = arguments.compile if arguments.compile is not None else device.type == "cuda"
    if arguments.compile_only and len(arguments.rows) > 1:
        compile_beside(arguments.rows)
        return
    dataset = load_dataset(arguments.dataset).to(device)
    place = Place(dataset, sampled_pixels(dataset, arguments.images), compiled)
    if arguments.compile_only:
        row = measured(arguments.rows[0], place, 0.0)
        print(f"{row.row}: {row.failure or f'first step {row.compile_seconds:.1f} s'}", flush=True)
        return
    if arguments.profile_only:
        for spec in arguments.rows:
            profile(spec, place)
        return
    lines = Lines(arguments.json_lines)
    about = {
        "device": device_name(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
    }
    print(about, flush=True)
    lines.add(row="about", **about)
    limits = ceilings(device, arguments.seconds)
    print(limits, flush=True)
    lines.add(row="ceilings", **limits)
    table(arguments.rows, place, arguments.seconds, limits, lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=row_specs, default=ROWS, help="rows, separated by commas")
    parser.add_argument("--dataset", default="dsprites_rendered")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=1.0, help="of timing per row")
    parser.add_argument("--images", type=int, default=65_536, help="images that plain loops draw from")
    parser.add_argument("--json-lines", type=Path, help="a file that gets each row at once")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="default: on a GPU only")
    parser.add_argument(
        "--compile-only", action="store_true", help="no timing: the stacks' first steps, side by side"
    )
    parser.add_argument(
        "--profile-only", action="store_true", help="no rates: the kernels of a step of each row's stack"
    )
    return parser.parse_args()


def row_specs(text: str) -> list[RowSpec]:
    """The rows of a text like `vae:eager,vae:ours:bfloat16:64`; the error of a wrong one says what is allowed."""
    return [row_spec(part.strip()) for part in text.split(",")]


def row_spec(text: str) -> RowSpec:
    model, trainer, precision, runs, *more = [*text.split(":"), "", "", ""][: max(4, text.count(":") + 1)]

    def wrong(reason: str) -> argparse.ArgumentTypeError:
        return argparse.ArgumentTypeError(f"row {text!r}: {reason}; write MODEL:TRAINER[:PRECISION[:RUNS]]")

    if model not in LIMIT:
        raise wrong(f"the model is one of {', '.join(LIMIT)}")
    if trainer not in (*ALONE, *TOGETHER):
        raise wrong(f"the trainer is one of {', '.join((*ALONE, *TOGETHER))}")
    precision = precision or ALONE.get(trainer, "")
    if precision not in PRECISIONS:
        raise wrong(f"the precision is one of {', '.join(PRECISIONS)}")
    if more or (trainer in ALONE and runs not in ("", "1")):
        raise wrong(f"{trainer} trains one model" if trainer in ALONE else "there is too much of it")
    if trainer in TOGETHER and not (runs.isdecimal() and int(runs) > 0):
        raise wrong(f"{trainer} needs a number of runs")
    return RowSpec(model, trainer, precision, int(runs or 1))


def compile_beside(specs: list[RowSpec]) -> None:
    """Take the first step of each row that compiles, so that its code is in torch's cache; each in a process."""
    specs = [spec for spec in specs if spec.trainer in ("ours", "kernels", "compiled")]
    command = [sys.executable, __file__, *sys.argv[1:], "--rows"]
    # torch would give each process as many helpers as there are cores
    helpers = max(1, 2 * (os.cpu_count() or 1) // max(1, len(specs)))
    environment = {**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": str(helpers)}
    running = [subprocess.Popen([*command, str(spec)], env=environment) for spec in specs]
    for spec, process in zip(specs, running, strict=True):
        if process.wait():
            print(f"{spec}: failed", flush=True)


def table(specs: list[RowSpec], place: Place, seconds: float, limits: dict[str, float], lines: Lines) -> None:
    """Measure, print and keep row after row."""
    eager: dict[str, float] = {}
    rates: dict[RowSpec, float] = {}
    for spec in specs:
        row = measured(spec, place, seconds)
        if row.steps_per_second is not None:
            rates.setdefault(spec, row.steps_per_second)
            if spec.trainer == "eager":
                eager.setdefault(spec.model, row.steps_per_second)
            if spec.model in eager:
                row.ratio = row.steps_per_second / eager[spec.model]
            if place.dataset.image_shape[0] == 1:
                row.share_of_limit = least_seconds(spec.model, limits) * row.steps_per_second
        print(readable(row), flush=True)
        lines.add(**asdict(row))
    for line in forms_compared(rates):
        print(line, flush=True)


def forms_compared(rates: dict[RowSpec, float]) -> list[str]:
    """For stacks that were measured in both forms, which one to choose."""
    found = []
    for spec, rate in rates.items():
        products = rates.get(replace(spec, trainer="ours"))
        if spec.trainer == "kernels" and products is not None:
            faster = "kernels" if rate > products else "products"
            found.append(f"{spec}: {rate / products:.2f} times the speed of products; choose {faster}")
    return found


def measured(spec: RowSpec, place: Place, seconds: float) -> Row:
    """The row with what could be measured; an error is kept as its failure."""
    row = Row(str(spec), spec.model, spec.trainer, spec.precision, spec.runs)
    before = emptied(place.device)
    try:
        with float32_products(PRECISIONS[spec.precision]):
            step, note = trainer_of(spec, place)
            row.compile_seconds = seconds_of(step)
            row.steps_per_second = spec.runs * rate_of(step, seconds)
            row.note = note()
    except Exception as error:  # one trainer that cannot run here must not cost the others their lines
        row.failure = f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
    if place.device.type == "cuda":
        row.memory_gb = (torch.cuda.max_memory_allocated(place.device) - before) / 1e9
    return row


def emptied(device: torch.device) -> int:
    """Let go of what earlier rows held, compiled code and CUDA graphs too; the bytes that are still in use."""
    torch.compiler.reset()
    gc.collect()
    if device.type != "cuda":
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def trainer_of(spec: RowSpec, place: Place) -> tuple[Callable[[], None], Callable[[], str]]:
    """The trainer's step, and what is to be noted of it once it has run."""
    if spec.trainer in ALONE:
        return plain_loop(spec.model, place.pixels, compiled=spec.trainer == "compiled"), str
    if spec.trainer == "vmap":
        return naive_vmap(spec.model, place.pixels, spec.runs), str
    compiled = place.compiled and spec.trainer != "captured"
    program = stack_of(spec, place.dataset, compiled)
    compilation = COMPILED[STACKS[spec.trainer]] if compiled else "none"
    as_asked = (compilation, "captured" if place.device.type == "cuda" else "none")

    def note() -> str:
        found = (program.compilation, program.capture)
        return "" if found == as_asked else f"compilation: {found[0]}, capture: {found[1]}"

    return program.advance, note


def stack_of(spec: RowSpec, dataset: FactorDataset, compiled: bool) -> Stacked:
    specs = specs_of(spec.model, spec.precision, spec.runs, dataset.name)
    captured = dataset.device.type == "cuda"
    form = STACKS[spec.trainer]
    return Stacked(
        make_objective(specs[0], dataset), specs, dataset, compiled=compiled, captured=captured, form=form
    )


def seconds_of(step: Callable[[], None]) -> float:
    """Of one call."""
    started = time.perf_counter()
    step()
    wait()
    return time.perf_counter() - started


def least_seconds(model: str, limits: dict[str, float]) -> float:
    """That a step of one model takes on a device with these ceilings, in bfloat16."""
    operations = LIMIT[model]["operations"] / limits["bfloat16_operations_per_second"]
    return max(operations, LIMIT[model]["bytes"] / limits["copied_bytes_per_second"])


def readable(row: Row) -> str:
    start = f"{row.model:<11} {row.trainer:<9} {row.precision:<9} {row.runs:>4} runs "
    if row.failure or row.steps_per_second is None:
        return start + row.failure
    text = (
        f"{start}{row.steps_per_second:>9.1f} steps/s {row.steps_per_second * BATCH / 1e3:>8.1f} k images/s"
    )
    text += f" {STUDY_STEPS / row.steps_per_second:>8.1f} s per 300k-step model"
    text += f", first step {row.compile_seconds:.1f} s"
    text += "" if row.share_of_limit is None else f", {row.share_of_limit:.0%} of the limit"
    text += "" if row.ratio is None else f", x{row.ratio:.2f}"
    text += "" if row.memory_gb is None else f", {row.memory_gb:.1f} GB"
    return text + (f" ({row.note})" if row.note else "")


def ceilings(device: torch.device, seconds: float) -> dict[str, float]:
    """What this device copies and multiplies in a second, measured now."""
    size, side = (2**30, 8192) if device.type == "cuda" else (2**26, 512)
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copies = rate_of(lambda: target.copy_(source), seconds)
    factors = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    products = rate_of(lambda: torch.mm(factors[0], factors[1]), seconds)
    return {
        "copied_bytes_per_second": copies * 2 * size,
        "bfloat16_operations_per_second": products * 2 * side**3,
    }


def profile(spec: RowSpec, place: Place) -> None:
    """Print which kernels a step of a stack spends its time in."""
    kind = "cuda" if place.device.type == "cuda" else "cpu"
    program = stack_of(spec, place.dataset, place.compiled and spec.trainer != "captured")
    for _ in range(6):
        program.advance()
    wait()
    with torch.profiler.profile(activities=[getattr(torch.profiler.ProfilerActivity, kind.upper())]) as found:
        for _ in range(PROFILED):
            program.advance()
        wait()
    print(f"\n{spec}, {PROFILED} steps, compilation: {program.compilation}, capture: {program.capture}")
    kernels = sorted(found.key_averages(), key=lambda one: -microseconds(one, kind))
    print(f"{sum(microseconds(one, kind) for one in kernels) / PROFILED:>9.1f} us a step")
    for one in kernels:
        times = f"{microseconds(one, kind) / PROFILED:>9.1f} us in {one.count / PROFILED:>5.1f} calls"
        print(f"{times}  {one.key}", flush=True)


def microseconds(kernel: Any, kind: str) -> float:
    """Of all its calls."""
    return kernel.self_device_time_total if kind == "cuda" else kernel.self_cpu_time_total


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"


if __name__ == "__main__":
    main()
