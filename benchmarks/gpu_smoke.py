"""Whether this machine can do what on_gpu.sh is for, in under a minute; exit code 1 where something is off.

    python benchmarks/gpu_smoke.py [--device cuda]

Three tiny FactorVAE runs are trained for 12 steps in float64, alone on the CPU, and as a stack: captured as a CUDA
graph, and compiled too. Each check is printed as it ends. With `--device cpu` nothing is captured, and a
VAE is what is compiled.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch._inductor.config

ROOT = Path(__file__).resolve().parent.parent
# The tests' runs and their data set are small enough.
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "train")]

STEPS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    device = torch.device(parser.parse_args().device)
    checks = {
        "versions": versions,
        "device": partial(device_facts, device),
        "captured stack is each run alone": partial(captured_is_alone, device),
        "compiled stack is the plain one": partial(compiled_is_plain, device),
    }
    passed = [check(name, found) for name, found in checks.items()]
    sys.exit(0 if all(passed) else 1)


def check(name: str, found: Callable[[], str]) -> bool:
    """Print what was found, or why nothing was."""
    started = time.perf_counter()
    try:
        said, passed = found(), True
    except Exception:  # whatever it is, the next check may say more about it
        said, passed = traceback.format_exc(), False
    seconds = time.perf_counter() - started
    print(f"{'ok' if passed else 'OFF'}  {name} ({seconds:.1f} s): {said}", flush=True)
    return passed


def versions() -> str:
    """Of what the parts import. Only the score DCI needs lightgbm: it is said and costs nothing else where it fails."""
    found = [f"python {platform.python_version()}", f"compiler {shutil.which('cc') or shutil.which('gcc')}"]
    for name in ("torch", "triton", "numpy", "pydantic", "disentangle_bench.cli"):
        found.append(f"{name} {getattr(importlib.import_module(name), '__version__', 'imported')}")
    try:
        found.append(f"lightgbm {importlib.import_module('lightgbm').__version__}")
    except (ImportError, OSError) as error:
        found.append(f"no lightgbm, so no DCI: {error}")
    return ", ".join(found)


def device_facts(device: torch.device) -> str:
    """What torch says of the device, and a product on it."""
    product = torch.ones(64, 64, device=device) @ torch.ones(64, 64, device=device)
    if float(product[0, 0]) != 64:
        raise ValueError(f"a product of ones is {float(product[0, 0])}, not 64")
    if device.type != "cuda":
        return f"{device}, {torch.get_num_threads()} threads"
    about = torch.cuda.get_device_properties(device)
    free, _ = torch.cuda.mem_get_info(device)
    return (
        f"{about.name}, compute capability {about.major}.{about.minor}, {about.total_memory / 1e9:.0f} GB"
        f" ({free / 1e9:.0f} free), CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    )


def captured_is_alone(device: torch.device) -> str:
    """The largest distance of a run's weights from those of the run alone on the CPU."""
    from stack_cases import alone

    specs = tiny_runs()
    program = stack(specs, device, compiled=False)
    weights = trained(program)
    if device.type == "cuda" and program.capture != "captured":
        raise RuntimeError(program.capture)
    return farthest(weights, [trained(alone(spec))[0] for spec in specs], allowed=1e-5)


def compiled_is_plain(device: torch.device) -> str:
    """The largest distance of a run's weights between a compiled and a plain stack."""
    specs = tiny_runs()
    if device.type == "cpu":
        specs = tiny_runs("vae")  # C++ takes minutes to compile where Triton takes seconds
        # torch 2.11's C++ code reads weights after their update unless it keeps the order of the operations.
        torch._inductor.config.reorder_for_peak_memory = False
    program = stack(specs, device, compiled=True)
    weights = trained(program)
    if program.compilation != "compiled":
        raise RuntimeError(program.compilation)
    return farthest(weights, trained(stack(specs, device, compiled=False)), allowed=1e-9)


def tiny_runs(model: str = "factor_vae"):
    from stack_cases import runs_of

    return runs_of(model, steps=STEPS)


def stack(specs, device: torch.device, compiled: bool):
    import tiny_data

    from disentangle_bench.train.objective import make_objective
    from disentangle_bench.train.stacked import Stacked

    squares = tiny_data.squares().to(device)
    captured = device.type == "cuda"
    return Stacked(make_objective(specs[0], squares), specs, squares, compiled=compiled, captured=captured)


def trained(program) -> list[torch.Tensor]:
    """Each run's weights after training, as one vector."""
    from stack_cases import weights

    from disentangle_bench.train.loop import train

    train(program)
    state = program.state()
    return [weights(state, run) for run in range(len(program.specs))]


def farthest(ours: list[torch.Tensor], theirs: list[torch.Tensor], allowed: float) -> str:
    from stack_cases import distance

    most = max(distance(a, b) for a, b in zip(ours, theirs, strict=True))
    if not most < allowed:  # NaN is too far
        raise ValueError(f"weights differ by {most:.1e}, more than {allowed:.0e}")
    return f"weights differ by {most:.1e} after {STEPS} steps, allowed {allowed:.0e}"


if __name__ == "__main__":
    main()
