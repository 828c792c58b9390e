"""Which device to compute on, and what it is called."""

from __future__ import annotations

import platform

import torch

from disentangle_bench.errors import BenchError


def pick_device(name: str) -> torch.device:
    """The device of this name; "auto" takes a GPU where there is one. BenchError for one that is not there.

    A GPU becomes the current one of the process: graphs and compiled code are made on the current GPU, wherever the
    tensors are.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise BenchError("there is no CUDA device that PyTorch can use; run with --device cpu")
    try:
        device = torch.empty(0, device=name).device
    except Exception as error:  # each device type that is not built in has its own
        raise BenchError(f"PyTorch has no device {name!r} here; use auto, cpu, cuda or cuda:N") from error
    if device.type == "meta":
        raise BenchError("the device 'meta' holds no numbers; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def device_name(device: torch.device) -> str:
    """What the device is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
