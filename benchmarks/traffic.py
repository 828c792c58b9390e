"""What a compiled step of a stack moves and multiplies on an H100, counted from inductor's code without a GPU.

    python benchmarks/traffic.py [--models vae,factor_vae] [--runs 64] [--precision bfloat16]
                                 [--dataset dsprites_rendered] [--top 0] [--json FILE]

For the update of the step (the draws are not compiled and not counted): launches of Triton kernels, products of torch's
own, the bytes that each reads and writes as if no cache held them from one to the next, and the floating-point
operations of the products. A kernel's bytes are inductor's estimate, which counts an operand twice where the kernel
could overwrite it and does not. Inductor may still pad a product on a real GPU, which it decides by trying. A kernel is
Adam's where it touches a moment or writes a weight. Stacks are as large as asked; their weights hold no values.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mock_h100
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from disentangle_bench import registry
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import load_dataset
from disentangle_bench.models.forms import Form
from disentangle_bench.specs import RunSpec
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import Stacked

# Bytes per second; assumed, nine tenths of the data sheets' 3.35e12 and 4.8e12.
BANDWIDTHS = {"H100": 3.0e12, "H200": 4.3e12}
STUDY_STEPS = 300_000


@dataclass
class Part:
    """A share of a step."""

    launches: int = 0
    bytes: float = 0.0

    def add(self, moved: float) -> None:
        """One more launch."""
        self.launches += 1
        self.bytes += moved


@dataclass
class Traffic:
    """A step of a stack; bytes and operations of all its runs together."""

    model: str
    runs: int
    precision: str
    dataset: str
    torch: str
    adam: Part = field(default_factory=Part)
    triton: Part = field(default_factory=Part)  # the other kernels
    products: Part = field(default_factory=Part)
    operations: int = 0
    movers: list[tuple[float, str]] = field(default_factory=list)  # bytes and name of the largest launches

    @property
    def bytes(self) -> float:
        """All that a step moves."""
        return self.adam.bytes + self.triton.bytes + self.products.bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="vae,factor_vae")
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--dataset", default="dsprites_rendered")
    parser.add_argument("--form", default="product", choices=("product", "kernel"))
    parser.add_argument("--top", type=int, default=0, help="list the launches that move most")
    parser.add_argument("--json", type=Path, help="write the counts to this file too")
    arguments = parser.parse_args()
    if mock_h100.missing():
        sys.exit(f"traffic.py: no code can be written for a GPU: {mock_h100.missing()}")
    mock_h100.install()
    dataset = load_dataset(arguments.dataset)
    counts = []
    for model in arguments.models.split(","):
        counts.append(
            count(model, arguments.runs, arguments.precision, dataset, arguments.form, arguments.top)
        )
        print(table(counts[-1]), flush=True)
    if arguments.json:
        found = [asdict(traffic) | {"bytes": traffic.bytes} for traffic in counts]
        arguments.json.write_text(json.dumps(found, indent=1))


def count(
    model: str, runs: int, precision: str, dataset: FactorDataset, form: Form = "product", top: int = 0
) -> Traffic:
    """The traffic of a step, with its `top` largest movers."""
    from triton_code import recorded, storages, write  # wants Triton

    update, inputs = example(model, runs, precision, dataset, form)
    launches, given = recorded(write(update, inputs), inputs)
    weights, moments = storages(given[0]), storages(given[1:3])
    traffic = Traffic(model, runs, precision, dataset.name, torch.__version__)
    for launch in launches:
        if launch.product:
            traffic.products.add(launch.bytes)
        elif storages(launch.writes) & weights or storages(launch.reads + launch.writes) & moments:
            traffic.adam.add(launch.bytes)
        else:
            traffic.triton.add(launch.bytes)
        traffic.operations += launch.operations
    traffic.movers = sorted(((launch.bytes, launch.name) for launch in launches), reverse=True)[:top]
    return traffic


def example(
    model: str, runs: int, precision: str, dataset: FactorDataset, form: Form
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The update of a stack, and inputs of the shapes that it has for so many runs; weights hold no values."""
    objective = registry.resolve("model", model)
    spec = RunSpec.model_validate(
        {
            "dataset": {"name": dataset.name},
            "model": model,
            "hypers": dict(objective.hypers),
            "options": {},
            "seed": 0,
            "network": {},
            "training": {"precision": precision},
        }
    )
    stack = Stacked(make_objective(spec, dataset), [spec], dataset, compiled=False, captured=False, form=form)
    seeds = stack.seeds.expand(runs)
    index, noise = stack.draws.numbers(seeds, stack.clock)
    images = stack.draws.images(index, seeds, stack.clock)

    def grown(tensor: Tensor) -> Tensor:
        return torch.empty(runs, *tensor.shape[1:], dtype=tensor.dtype, device="meta")

    kept = pytree.tree_map(grown, (stack.weights, stack.means, stack.squares))
    inputs = (*kept, images, noise, pytree.tree_map(grown, stack.hyper), stack.clock)
    return stack.plain_update, inputs


def table(traffic: Traffic) -> str:
    """The counts to read."""
    lines = [
        f"{traffic.model}, {traffic.runs} runs, {traffic.precision}, {traffic.dataset}, torch {traffic.torch}",
        f"  {'':15}{'launches':>9}{'GB':>9}{'MB a run':>10}",
    ]
    parts = {"Adam": traffic.adam, "other kernels": traffic.triton, "products": traffic.products}
    parts["all"] = Part(sum(part.launches for part in parts.values()), traffic.bytes)
    for name, part in parts.items():
        size = f"{part.bytes / 1e9:9.2f}{part.bytes / 1e6 / traffic.runs:10.1f}"
        lines.append(f"  {name:15}{part.launches:9}{size}")
    lines.append(f"  products: {traffic.operations / 1e9:.0f} billion floating-point operations")
    for device, bandwidth in BANDWIDTHS.items():
        seconds = traffic.bytes / bandwidth
        study = seconds / traffic.runs * STUDY_STEPS
        lines.append(
            f"  bytes alone at {bandwidth / 1e12} TB/s ({device}): {seconds * 1e3:.2f} ms a step, "
            f"{study:.1f} s a run of {STUDY_STEPS:,} steps"
        )
    lines += [f"  {moved / 1e9:9.3f} GB  {name}" for moved, name in traffic.movers]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
