"""A stand-in for an H100: inductor and Triton write code for it as for the real one, and nothing can run on it.

`install()` changes this process for good, so call it in one that does nothing else. It wants a torch that is built with
CUDA, and Triton; `missing()` says what is not there. Tensors of this device can only be fake ones (`FakeTensorMode`).
"""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from types import SimpleNamespace

import torch

# What `torch.cuda.get_device_properties` says of an H100 SXM.
PROPERTIES = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    multi_processor_count=132,
    warp_size=32,
    total_memory=80 << 30,
    L2_cache_size=50 << 20,
    regs_per_multiprocessor=65_536,
    max_threads_per_block=1024,
    max_threads_per_multi_processor=2048,
    shared_memory_per_block=48 << 10,
    shared_memory_per_block_optin=227 << 10,
    shared_memory_per_multiprocessor=228 << 10,
    gcnArchName="",
)


def missing() -> str:
    """What this installation lacks to write code for a GPU; empty where it lacks nothing."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    return ""


def install() -> None:
    """Make this process believe in an H100. Raises RuntimeError where something is `missing()`."""
    if missing():
        raise RuntimeError(missing())
    _in_torch()
    _in_inductor()
    _in_triton()


def _in_torch() -> None:
    """What torch asks of a device before any kernel runs on it."""
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "get_device_properties": lambda device=None: PROPERTIES,
        "get_device_capability": lambda device=None: (PROPERTIES.major, PROPERTIES.minor),
        "get_rng_state": lambda device=None: torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": lambda state, device=None: None,
        "is_bf16_supported": lambda including_emulation=True: True,
        "device": nullcontext,
        "_DeviceGuard": nullcontext,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    # These methods ask the CUDA driver for the current device before they look whether the tensor is a fake one.
    aten = torch.ops.aten
    torch.Tensor.__invert__ = aten.bitwise_not.default
    torch.Tensor.copy_ = lambda self, source, non_blocking=False: aten.copy_.default(
        self, source, non_blocking
    )
    torch.Tensor.contiguous = lambda self, memory_format=torch.contiguous_format: aten.contiguous.default(
        self, memory_format=memory_format
    )
    from torch._subclasses import fake_tensor

    fake_tensor.init_gpu_context = lambda device=None: None


def _in_inductor() -> None:
    """What inductor asks by other ways, and what it would run on the device to look for."""
    from torch._dynamo.device_interface import CudaInterface
    from torch._inductor.fx_passes import fuse_attention, misc_patterns
    from torch._inductor.runtime import triton_helpers

    CudaInterface.device = nullcontext
    for name in ("device_count", "current_device", "is_bf16_supported"):
        setattr(CudaInterface, name, staticmethod(getattr(torch.cuda, name)))
    for interface in (CudaInterface, CudaInterface.Worker):
        interface.current_device = staticmethod(torch.cuda.current_device)
        interface.get_device_properties = staticmethod(torch.cuda.get_device_properties)
    # Patterns that no update of ours has: they are made by tracing examples on the device.
    fuse_attention._sfdp_init = lambda *arguments: None
    misc_patterns._misc_patterns_init = lambda *arguments: None
    triton_helpers.set_driver_to_gpu = lambda: None


def _in_triton() -> None:
    """The driver that says for which architecture to compile."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    target = GPUTarget("cuda", 90, PROPERTIES.warp_size)
    driver.set_active(SimpleNamespace(get_current_target=lambda: target))
