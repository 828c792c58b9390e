"""The Triton code that inductor writes for the update of a stack on an H100: written without one, and taken apart.

The code is a wrapper, a Python module that allocates buffers and launches kernels. `play` executes a wrapper with a
`Machine` in place of the GPU; `recorded` uses one whose tensors have no values, and gives back what was launched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol
from unittest.mock import patch

import torch
from torch import Tensor
from torch._inductor import config
from torch._inductor.codecache import PyCodeCache
from torch._inductor.compile_fx import compile_fx
from torch._inductor.graph import GraphLowering
from torch._inductor.runtime.triton_heuristics import CachingAutotuner
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

GPU = torch.device("cuda", 0)
# Nothing is taken from a cache, and nothing is run to see what is faster: inductor pads products where that helps, and
# folds constants on the device. `benchmark_kernel` has kernels say how many bytes they move.
WITHOUT_A_GPU = {
    "fx_graph_cache": False,
    "compile_threads": 1,
    "shape_padding": False,
    "joint_graph_constant_folding": False,
    "benchmark_kernel": True,
}


@dataclass(frozen=True)
class Kernel:
    """A Triton kernel as inductor wrote it."""

    name: str
    function: Any  # what `triton.jit` made of it
    signature: dict[str, str]  # parameter to type: "*fp32", "i32", "constexpr"
    grid: str  # inductor's name for how blocks are laid out
    bytes: float  # read and written in a launch

    @property
    def blocks(self) -> list[str]:
        """The parameters that are left to who launches it: how many values a program works on."""
        return [name for name in self.signature if name.endswith("BLOCK")]

    def named(self, arguments: Sequence[Any]) -> dict[str, Any]:
        """A launch's arguments by parameter."""
        return dict(zip((name for name in self.signature if name not in self.blocks), arguments, strict=True))


@dataclass(frozen=True)
class Launch:
    """One kernel, matrix product or other operator of a step, in the order of the stream."""

    name: str
    product: tuple[int, int, int, int] | None  # batch, m, k, n
    reads: list[Tensor]
    writes: list[Tensor]
    bytes: float

    @property
    def operations(self) -> int:
        """Floating-point operations of a product; those of other kernels are not counted."""
        batch, m, k, n = self.product or (0, 0, 0, 0)
        return 2 * batch * m * k * n


class Machine(Protocol):
    """What a wrapper runs on."""

    def empty(self, size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A new buffer."""

    def launch(self, kernel: Kernel, arguments: dict[str, Any]) -> None:
        """Run a Triton kernel."""

    def product(self, name: str, *operands: Tensor, out: Tensor, **scales: float) -> None:
        """Run `torch.name`, a matrix product of torch's own."""


def write(update: Callable[..., Any], inputs: tuple[Any, ...]) -> str:
    """The wrapper for `update` at inputs of these shapes, on the machine that `mock_h100` has installed.

    Only shapes, strides and types of the inputs count. Backward passes cannot be traced on a device that is not there:
    the update is traced as on a CPU, and its list of operations moved.
    """
    flat, form = pytree.tree_flatten(inputs)

    def flat_update(*flat: Tensor) -> list[Tensor]:
        return pytree.tree_leaves(update(*pytree.tree_unflatten(list(flat), form)))

    with FakeTensorMode(allow_non_fake_inputs=True):
        fakes = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype) for t in flat]
        traced = make_fx(flat_update)(*fakes)
    for node in traced.graph.nodes:
        if node.kwargs.get("device") == torch.device("cpu"):
            node.kwargs = {**node.kwargs, "device": GPU}
    traced.recompile()
    with FakeTensorMode(allow_non_fake_inputs=True):
        moved = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=GPU) for t in flat]
    return _lowered(traced, moved)


class _Written(Exception):
    """Raised once the code is there, before inductor would load it and want a GPU."""


def _lowered(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> str:
    """What inductor writes for the graph."""
    found: list[str] = []

    def stop(lowering: GraphLowering) -> None:
        code, _ = lowering.codegen()
        found.append(code.value)
        raise _Written

    with patch.object(GraphLowering, "_compile_to_module", stop), torch.no_grad():
        try:
            compile_fx(graph, inputs, config_patches=WITHOUT_A_GPU)
        except Exception:  # inductor wraps what is raised inside it in errors of its own
            if not found:
                raise
    return found[0]


def play(code: str, machine: Machine, inputs: list[Tensor]) -> Sequence[Tensor]:
    """Execute a wrapper: `inputs` are changed in place; gives back the update's results."""

    def launcher(name: str, source: str) -> SimpleNamespace:
        kernel = _kernel(name, source)
        return SimpleNamespace(run=lambda *args, stream: machine.launch(kernel, kernel.named(args)))

    class Products:
        """In the place of inductor's `extern_kernels`."""

        def __getattr__(self, name: str) -> Callable[..., None]:
            return partial(machine.product, name)

    scope = _defined(code, launcher)
    scope |= {
        "extern_kernels": Products(),
        "empty_strided_cuda": machine.empty,
        "get_raw_stream": lambda _: 0,
    }
    return scope["call"](list(inputs))


def build(code: str) -> dict[str, list[bytes]]:
    """The machine code of every kernel, in each of the forms that would compete on a GPU."""
    binaries: dict[str, list[bytes]] = {}

    def compiled(name: str, source: str) -> None:
        tuner = _tuner(name, source)
        tuner.precompile(warm_cache_only=True)
        binaries[name] = [result.kernel.asm["cubin"] for result in tuner.compile_results]

    # Its launcher of its own keeps no machine code.
    with config.patch(use_static_cuda_launcher=False):
        _defined(code, compiled)
    return binaries


def _defined(code: str, kernel: Callable[[str, str], Any]) -> dict[str, Any]:
    """What a wrapper defines, with `kernel(name, source)` in the place of each kernel."""

    class Compiler:
        """In the place of inductor's `AsyncCompile`."""

        def triton(self, name: str, source: str, device_str: str = "") -> Any:
            return kernel(name, source)

        def wait(self, scope: dict[str, Any]) -> None:
            pass

    scope: dict[str, Any] = {"__name__": "wrapper"}
    with patch("torch._inductor.async_compile.AsyncCompile", Compiler):
        exec(compile(code, "wrapper", "exec"), scope)
    return scope


def _tuner(name: str, source: str) -> CachingAutotuner:
    """What inductor makes of a kernel's source; it has compiled nothing yet."""
    return getattr(PyCodeCache.load(source), name)


def _kernel(name: str, source: str) -> Kernel:
    """The kernel of this source. Raises KeyError where the source does not say what it moves."""
    tuner = _tuner(name, source)
    about = tuner.inductor_meta
    return Kernel(
        name, tuner.fn, tuner.triton_meta["signature"], about["grid_type"], about["kernel_num_gb"] * 1e9
    )


class Recorder(TorchDispatchMode):
    """A machine that computes nothing and keeps the list of what it was told to, and of what torch was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: list[Launch] = []

    def empty(self, size: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A buffer without values."""
        return torch.empty_strided(size, stride, dtype=dtype, device="meta")

    def launch(self, kernel: Kernel, arguments: dict[str, Any]) -> None:
        """Note the kernel."""
        reads = [value for key, value in arguments.items() if key.startswith(("in_ptr", "in_out_ptr"))]
        writes = [value for key, value in arguments.items() if key.startswith(("out_ptr", "in_out_ptr"))]
        self.launches.append(Launch(kernel.name, None, reads, writes, kernel.bytes))

    def product(self, name: str, *operands: Tensor, out: Tensor, **scales: float) -> None:
        """Note the product: each operand is read once, the result written once."""
        left, right = operands[-2:]
        shape = (left.shape[0] if left.ndim == 3 else 1, *left.shape[-2:], right.shape[-1])
        label = "{0} {1} x ({2}, {3}) ({3}, {4})".format(name, *shape)
        moved = sum(_distinct_bytes(tensor) for tensor in (*operands, out))
        self.launches.append(Launch(label, shape, list(operands), [out], moved))

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operator that the wrapper calls itself, such as a sort."""
        given = function(*args, **(kwargs or {}))
        if function is not torch.ops.aten.empty_strided.default and not function.is_view:
            reads, writes = (
                [leaf for leaf in pytree.tree_leaves(nest) if isinstance(leaf, Tensor)]
                for nest in ((args, kwargs), given)
            )
            moved = sum(_distinct_bytes(tensor) for tensor in reads + writes)
            self.launches.append(Launch(str(function), None, reads, writes, moved))
        return given


def _distinct_bytes(tensor: Tensor) -> int:
    """Of what the tensor shows; an axis that repeats its values counts once."""
    sizes = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return torch.Size(sizes).numel() * tensor.element_size()


def recorded(code: str, inputs: tuple[Any, ...]) -> tuple[list[Launch], tuple[Any, ...]]:
    """What the wrapper launches in a step, and the inputs that it was given, without values."""
    there = pytree.tree_map(
        lambda t: torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="meta"), inputs
    )
    with Recorder() as recorder:
        play(code, recorder, pytree.tree_leaves(there))
    return recorder.launches, there


def storages(tensors: Any) -> set[int]:
    """Which memory the tensors of a nest lie in; whoever compares two such sets keeps the tensors alive."""
    return {tensor.untyped_storage()._cdata for tensor in pytree.tree_leaves(tensors)}
