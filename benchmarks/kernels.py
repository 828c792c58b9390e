"""What the compiler makes of a stack's kernels for an H100, without one.

    python benchmarks/kernels.py [--precision bfloat16] [--image 1,64,64]

For every kernel of a VAE's step: its tile, the registers of a thread, bytes that did not fit in registers (spills),
shared memory of a block, how many blocks fit on a multiprocessor by both, matrix instructions, and the loads from
memory by their width. A load of 16 bytes that goes straight to shared memory is counted as wide.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import mock_h100
import torch
import triton
from published_runs import table
from torch import Tensor, nn
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import MockTensor

from disentangle_bench.models import kernel_ops, kernels
from disentangle_bench.models.forms import use_form
from disentangle_bench.models.networks import Decoder, Encoder
from disentangle_bench.models.objective import NetworkSize
from disentangle_bench.precision import PRECISIONS, float32_products

BATCH = 64
NAMES = ("halve_blocks", "double_blocks", "outer_blocks")
# Of a multiprocessor of an H100.
REGISTERS, SHARED, RESERVED = 65_536, 228 << 10, 1 << 10


@dataclass(frozen=True)
class Built:
    """A kernel as the compiler made it."""

    name: str
    sizes: dict[str, Any]  # its compile-time constants
    registers: int
    spilled: int  # bytes
    shared: int  # bytes of a block
    warps: int
    matrix_instructions: int
    wide: int  # loads of 16 bytes, as they stand in the code
    narrow: int

    @property
    def blocks(self) -> int:
        """How many of its blocks fit on a multiprocessor."""
        # Registers are given out in groups of eight a thread.
        of_registers = REGISTERS // (-(-self.registers // 8) * 8 * 32 * self.warps)
        return min(of_registers, SHARED // (self.shared + RESERVED))

    def line(self) -> dict[str, object]:
        """A row of the table."""
        sizes, tile = self.sizes, "{ROWS} x {COLUMNS} x {DEPTH}".format(**self.sizes)
        small, large = sizes["H"], 2 * sizes["H"]
        sides = f"{small} to {large}" if self.name == "double_blocks" else f"{large} to {small}"
        return {
            "kernel": self.name.removesuffix("_blocks"),
            "sides": sides,
            "k": sizes["K"],
            "channels": f"{sizes['A']}, {sizes['B']}",
            "tile": tile,
            "warps": self.warps,
            "registers": self.registers,
            "spills": self.spilled,
            "shared (KiB)": f"{self.shared / 1024:.0f}",
            "blocks": self.blocks,
            "matrix instructions": self.matrix_instructions,
            "16-byte loads": f"{self.wide} of {self.wide + self.narrow}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "tf32", "float32"))
    parser.add_argument("--image", default="1,64,64", help="channels, height, width")
    arguments = parser.parse_args()
    shape = tuple(map(int, arguments.image.split(",")))
    print(table(one.line() for one in built(shape, arguments.precision)))


def built(image_shape: tuple[int, ...], precision: str) -> list[Built]:
    """The kernels of a step of the standard encoder and decoder, each once."""
    found: dict[tuple[str, str], Built] = {}
    chosen = PRECISIONS[precision]
    with _compiling(found), float32_products(chosen):
        for network, inputs in _networks(image_shape, NetworkSize(), chosen.computed):
            network(inputs).sum().backward()
    return list(found.values())


def _networks(
    image_shape: tuple[int, ...], size: NetworkSize, dtype: torch.dtype
) -> Iterator[tuple[nn.Module, Tensor]]:
    channels, height, width = image_shape
    encoder = Encoder((channels, height, width), size, 2 * size.latents)
    decoder = Decoder((channels, height, width), size)
    for network, inputs in (
        (encoder, torch.rand(BATCH, *image_shape)),
        (decoder, torch.randn(BATCH, size.latents)),
    ):
        use_form([network], "kernel")
        yield network.to(dtype), inputs.to(dtype)


@contextmanager
def _compiling(found: dict[tuple[str, str], Built]) -> Iterator[None]:
    """Within it a launch compiles the kernel for an H100 and runs nothing: results hold no values."""
    target = GPUTarget("cuda", 90, mock_h100.PROPERTIES.warp_size)
    # All that compiling asks of a driver.
    answers = {"get_current_target": lambda: target, "get_current_device": lambda: 0}
    driver.set_active(SimpleNamespace(**answers, get_current_stream=lambda device: 0))

    class Compiled:
        def __init__(self, name: str) -> None:
            self.name, self.function = name, getattr(kernels, name)

        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            def launch(*arguments: Any, **constants: Any) -> None:
                key = self.name, str(constants)
                if key not in found:
                    mocks = [MockTensor(a.dtype) if isinstance(a, Tensor) else a for a in arguments]
                    code = self.function.warmup(*mocks, grid=grid, **constants)
                    found[key] = _read(self.name, constants, code)

            return launch

    with patch.object(kernel_ops, "kernels", SimpleNamespace(**{name: Compiled(name) for name in NAMES})):
        yield


def _read(name: str, constants: dict[str, Any], code: Any) -> Built:
    """What stands in the code, and what the assembler says of it."""
    text = code.asm["ptx"]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(text)
        file.flush()
        command = [triton.knobs.nvidia.ptxas.path, "-v", "--gpu-name=sm_90a", file.name, "-o", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return Built(
        name=name,
        sizes=constants,
        registers=int(re.search(r"Used (\d+) registers", said)[1]),
        spilled=sum(map(int, re.findall(r"(\d+) bytes spill", said))),
        shared=code.metadata.shared,
        warps=code.metadata.num_warps,
        matrix_instructions=len(re.findall(r"wgmma\.mma_async|mma\.sync", text)),
        wide=len(re.findall(r"cp\.async\.cg\.|ld\.global\S*\.v4\.b32|ld\.global\S*\.v2\.b64", text)),
        narrow=len(re.findall(r"cp\.async\.ca\.|ld\.global(?!\S*(?:\.v4\.b32|\.v2\.b64))", text)),
    )


if __name__ == "__main__":
    main()
