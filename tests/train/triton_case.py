"""One case of a stack as the Triton code that inductor writes for an H100; run by `test_triton_code.py`.

    python triton_case.py compare CASE [DISTURBED]    the code interpreted on the CPU, against the eager update
    python triton_case.py draws CASE                  the same for what a step draws
    python triton_case.py build CASE                  the code compiled for sm_90
    python triton_case.py count                       bytes and operations of a small product and a move

All print what they found as JSON. What a process believes of its GPU and of Triton holds for all of it, hence one a
case. For `compare` and `draws`, TRITON_INTERPRET=1 must be set before.
"""

import copy
import json
import sys
from collections.abc import Sequence

import mock_h100
import numpy as np
import torch
import triton.language as tl
import triton_code
from stack_cases import CASES, distance, runs_of, stacked
from torch import Tensor
from torch._inductor.runtime import triton_helpers
from torch.utils import _pytree as pytree
from triton.runtime import interpreter

PARTS = ("weights", "means", "squares")


# Functions that numpy has by another name, or not at all.
NOT_IN_NUMPY = {
    "pow": np.power,
    "mul_rn": np.multiply,
    "nearbyint": np.rint,
    "rsqrt": lambda value: 1 / np.sqrt(value),
    "fma": lambda a, b, c: a * b + c,
}


class ByNumpy:
    """The device's mathematical functions, which the interpreter does not have."""

    def __getattr__(self, name: str):
        function = NOT_IN_NUMPY.get(name) or getattr(np, name)

        def call(*values):
            arrays = [value.handle.data if isinstance(value, tl.tensor) else value for value in values]
            like = max((v for v in values if isinstance(v, tl.tensor)), key=lambda v: v.handle.data.size)
            with np.errstate(all="ignore"):
                result = np.asarray(function(*arrays)).astype(like.handle.data.dtype)
            return tl.tensor(interpreter.TensorHandle(result, like.dtype.scalar), like.type)

        return call


def install_interpreter() -> None:
    """Give Triton's interpreter what it lacks for inductor's kernels."""
    triton_helpers.libdevice = triton_helpers.math = ByNumpy()
    its_own = interpreter._patch_lang_tensor

    def patched(tensor, *scope) -> None:
        its_own(tensor, *scope)
        # Before 3.8 it is the `int` of an array of one value, which numpy 2.5 refuses.
        tensor.__index__ = lambda self: self.handle.data.item()

    interpreter._patch_lang_tensor = patched


class Interpreter:
    """A machine whose kernels are interpreted; the results of launch `disturbed` come out a millionth larger."""

    def __init__(self, disturbed: int | None = None) -> None:
        self.launches = 0
        self.disturbed = disturbed

    def empty(self, size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A buffer of what must never be read."""
        return torch.empty_strided(size, stride, dtype=dtype).fill_(
            torch.nan if dtype.is_floating_point else 0
        )

    def launch(self, kernel: triton_code.Kernel, arguments: dict) -> None:
        """Every program of the grid in turn."""
        assert kernel.grid in ("Grid1D", "Grid2D"), kernel.grid
        block = {"XBLOCK": 32 if len(kernel.blocks) > 1 else 1024, "YBLOCK": 32, "R0_BLOCK": 64}
        blocks = {name: block[name] for name in kernel.blocks}
        x, y = (
            -(-arguments.get(f"{axis}numel", 1) // blocks.get(f"{axis.upper()}BLOCK", 1)) for axis in "xy"
        )
        kernel.function[(x, y, 1)](**arguments, **blocks)
        if self.launches == self.disturbed:
            for key, value in arguments.items():
                if key.startswith(("out_ptr", "in_out_ptr")) and value.is_floating_point():
                    value.mul_(1 + 1e-6)
        self.launches += 1

    def product(self, name: str, *operands: Tensor, out: Tensor, **scales: float) -> None:
        """By torch itself."""
        getattr(torch, name)(*operands, out=out, **scales)


def example(case: str, precision: str):
    """The update of the case's stack, and inputs of its fourth step with moments of every size."""
    model, network = {known.id: known.values for known in CASES}[case]
    stack = stacked(runs_of(model, network=network, precision=precision))
    stack.clock.fill_(4)
    index, noise = stack.draws.numbers(stack.seeds, stack.clock)
    images = stack.draws.images(index, stack.seeds, stack.clock)
    chance = torch.Generator().manual_seed(0)
    for mean, square in zip(*map(pytree.tree_leaves, (stack.means, stack.squares)), strict=True):
        mean.copy_(1e-3 * torch.randn(mean.shape, generator=chance))
        square.copy_(1e-6 * torch.rand(square.shape, generator=chance))
    inputs = (stack.weights, stack.means, stack.squares, images, noise, stack.hyper, stack.clock)
    return stack.plain_update, inputs


def compare(case: str, disturbed: int | None) -> dict:
    """The largest relative distances between the code's and the eager update's results, and reads that come late."""
    update, inputs = example(case, "float64")
    code = triton_code.write(update, inputs)
    eager, ours = copy.deepcopy(inputs), copy.deepcopy(inputs)
    log = update(*eager)
    install_interpreter()
    machine = Interpreter(disturbed)
    values = triton_code.play(code, machine, pytree.tree_leaves(ours))
    found = {part: worst(ours[i], eager[i]) for i, part in enumerate(PARTS)}
    found["log"] = worst(list(values)[-len(log) :], list(log.values()))
    return {"distances": found, "launches": machine.launches, "late": late_reads(code, inputs)}


def draws(case: str) -> dict:
    """How many of the code's integers differ from the eager ones, and how far its other numbers are from them."""
    model, network = {known.id: known.values for known in CASES}[case]
    stack = stacked(runs_of(model, network=network))
    stack.clock.fill_(4)
    eager = pytree.tree_leaves(stack.draws.numbers(stack.seeds, stack.clock))
    inputs = (stack.seeds, stack.clock)
    code = triton_code.write(stack.draws.numbers, inputs)
    install_interpreter()
    machine = Interpreter()
    ours = triton_code.play(code, machine, [value.clone() for value in inputs])
    found = {"launches": machine.launches, "integers": 0, "others": 0.0}
    for one, other in zip(ours, eager, strict=True):
        if other.is_floating_point():
            found["others"] = max(found["others"], float((one - other).abs().max()))
        else:
            found["integers"] += int((one != other).sum())
    return found


def worst(ours, theirs) -> float:
    """NaN where there is one: it is not less than anything."""
    pairs = zip(pytree.tree_leaves(ours), pytree.tree_leaves(theirs), strict=True)
    return float(np.max([distance(a, b) for a, b in pairs if a.any() or b.any()]))


def late_reads(code: str, inputs) -> list[str]:
    """Launches that read a weight which one before them has moved, other than to move it on."""
    launches, there = triton_code.recorded(code, inputs)
    weights = triton_code.storages(there[0])
    moved: set[int] = set()
    late = []
    for launch in launches:
        reads, writes = (triton_code.storages(some) & weights for some in (launch.reads, launch.writes))
        if (reads - writes) & moved:
            late.append(launch.name)
        moved |= writes
    return late


def count() -> list[tuple[int, int]]:
    """Of each launch: the product of [3, 5, 8] and [3, 8, 16] is given back, and weights [3, 5, 16] double."""

    def update(weights: Tensor, left: Tensor, right: Tensor) -> Tensor:
        weights.mul_(2)
        return torch.bmm(left, right)

    inputs = (torch.empty(3, 5, 16), torch.empty(3, 5, 8), torch.empty(3, 8, 16))
    launches, _ = triton_code.recorded(triton_code.write(update, inputs), inputs)
    return sorted((round(launch.bytes), launch.operations) for launch in launches)


def main() -> None:
    mock_h100.install()
    task, *rest = sys.argv[1:]
    if task == "compare":
        found = compare(rest[0], int(rest[1]) if len(rest) > 1 else None)
    elif task == "draws":
        found = draws(rest[0])
    elif task == "count":
        found = count()
    else:
        binaries = triton_code.build(triton_code.write(*example(rest[0], "bfloat16")))
        found = {name: [len(binary) for binary in forms] for name, forms in binaries.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
