"""A step recorded as a CUDA graph: what such a graph cannot hold, and how it is recorded and replayed.

A graph holds the work of one device. It holds no work of the host and no shape that depends on values, and a copy from
the host would read memory that is long gone.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WARM_UP = 3  # steps before a capture, as torch asks for

_TAGS = {
    torch.Tag.data_dependent_output: "reads a value of the device",
    torch.Tag.dynamic_output_shape: "has a shape that depends on values",
    torch.Tag.nondeterministic_seeded: "draws from a generator",
}
_COPIES = ("_to_copy", "copy")


class DeviceOnly(TorchDispatchMode):
    """Within, `faults` lists the operations that a graph of `device` cannot hold, each in words.

    An operand of the host without dimensions is no fault: it is read when the operation is recorded.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device
        self.faults: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operation, after a look at it."""
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        fault = _fault_of(func, args, kwargs, given, self.device)
        if fault:
            self.faults.append(f"{func} {fault}")
        return func(*args, **kwargs)


def operation_name(func: Any) -> str:
    """What the operation is called, in place or not: `copy` for `aten::copy_`."""
    return func._schema.name.removeprefix("aten::").rstrip("_")


def _fault_of(func: Any, args: Any, kwargs: Any, given: list[Tensor], device: torch.device) -> str:
    """Why a graph of `device` cannot hold this operation on the tensors `given`; empty where it can."""
    name = operation_name(func)
    places = {tensor.device.type for tensor in given}
    if kwargs.get("device") is not None:
        places.add(kwargs["device"].type)
    if device.type not in places:
        return ""  # work of the host alone
    if name in _COPIES and len(places) > 1:
        return "copies between devices"
    if any(tensor.ndim and tensor.device.type != device.type for tensor in given):
        return "has a tensor of another device"
    if name == "index":  # its shape depends on values where the index is a mask
        masked = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        return _TAGS[torch.Tag.dynamic_output_shape] if masked else ""
    return next((fault for tag, fault in _TAGS.items() if tag in func.tags), "")


class Replayed:
    """Steps of one device of which the fourth is recorded and the rest are replays of it.

    The step is passed to `advance` each time, so that nothing here keeps its owner alive.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = _stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm = 0

    def advance(self, step: Callable[[], None]) -> None:
        """One more step, queued on the device."""
        if self.graph is not None:
            self.graph.replay()
        elif self.warm < WARM_UP:
            self.warm += 1
            self._aside(step)
        else:
            self.graph = self._recorded(step)
            self.graph.replay()

    def _aside(self, step: Callable[[], None]) -> None:
        """A capture must be preceded by the same work on a stream that is not the default one."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            step()
        current.wait_stream(self.stream)

    def _recorded(self, step: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """The step as a graph; recording does not execute it.

        Raises OutOfMemoryError where the memory does not hold it, whatever the end of the capture raises then.
        """
        graph = torch.cuda.CUDAGraph()
        full = False
        try:
            with (
                _without_collection(),
                torch.cuda.device(self.device),
                torch.cuda.graph(graph, stream=self.stream),
            ):
                try:
                    step()
                except torch.OutOfMemoryError:
                    full = True
                    raise
        except Exception as error:
            if full:
                raise torch.OutOfMemoryError(f"while a step was recorded: {error}") from None
            raise
        return graph


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """The device's stream for warming up and recording.

    One for all stacks: libraries keep working memory for every stream that they have seen, 64 MiB on an H200.
    """
    return torch.cuda.Stream(device)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect garbage now and not within: a graph that is destroyed during a capture breaks it."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
