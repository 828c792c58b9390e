"""How a step becomes a CUDA graph, with a fake of `torch.cuda` in its place; and what keeps it from becoming one."""

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_data
import torch
from stack_cases import alone, distance, runs_of, stacked, weights
from torch import Tensor

from disentangle_bench import device as devices
from disentangle_bench.data.array_store import ArrayStore, HostStore
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.train import capture
from disentangle_bench.train.capture import DeviceOnly
from disentangle_bench.train.loop import train
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import Stacked

CPU, META = torch.device("cpu"), torch.device("meta")


class FakeGraph:
    """What is called within `graph(...)` runs once there, as a recording must not; `replay` does it again."""

    work: Any = None

    def replay(self) -> None:
        if self.work is not None:
            self.work()


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, and only there, a data set looks at an index before it uses it."""
    monkeypatch.setattr(FactorDataset, "_checked", lambda self, index: index)


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`torch.cuda` as far as a capture calls it; what it was asked is kept."""
    seen = SimpleNamespace(streams=[], collecting=[], garbage=[], current=[], graphs=[])

    class Stream:
        def __init__(self, device: torch.device | None = None) -> None:
            seen.streams.append(device)

        def wait_stream(self, other: object) -> None:
            pass

    @contextmanager
    def graph(made: FakeGraph, stream: object) -> Any:
        seen.graphs.append(made)
        seen.collecting.append(gc.isenabled())
        seen.garbage.append(gc.get_count()[2])
        yield

    @contextmanager
    def device(chosen: torch.device) -> Any:
        seen.current.append(chosen)
        yield

    default = Stream()
    seen.streams.clear()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: default)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "device", device)
    return seen


def captured(specs: list, dataset=None) -> Stacked:
    squares = dataset or tiny_data.squares()
    return Stacked(make_objective(specs[0], squares), specs, squares, compiled=False, captured=True)


def test_a_step_is_recorded_once_on_one_stream_of_its_device_and_no_garbage_is_collected_meanwhile(
    fake_cuda: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected: list[str] = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append("before") or 0)
    stack = captured(runs_of("vae"))
    for _ in range(8):
        stack.advance()
    assert stack.capture == "captured"
    assert fake_cuda.streams == [CPU]  # one for the steps before the capture and for the capture itself
    assert fake_cuda.current == [CPU]
    assert len(fake_cuda.graphs) == 1
    assert fake_cuda.collecting == [False]
    assert collected == ["before"]
    assert gc.isenabled()


def test_replays_train_as_steps_do(fake_cuda: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = runs_of("factor_vae", steps=12)
    stack = captured(specs)

    def recorded(self: Any, step: Any) -> FakeGraph:
        made = FakeGraph()
        made.work = step
        return made

    monkeypatch.setattr(capture.Replayed, "_recorded", recorded)
    train(stack)
    plain = stacked(specs)
    train(plain)
    assert torch.equal(weights(stack.state(), 1), weights(plain.state(), 1))


def test_a_graph_that_holds_nothing_is_no_training(fake_cuda: SimpleNamespace) -> None:
    """A capture on another device than the tensors' records nothing; a few steps would count as all of them."""
    stack = captured(runs_of("vae", steps=12))
    with pytest.raises(RuntimeError, match="the device has done 5 of 6 steps: captured"):
        train(stack)


def test_memory_that_runs_out_in_a_capture_is_said_to_have_run_out(
    fake_cuda: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only then is the stack halved; what ends a capture that has failed raises an error of its own."""

    @contextmanager
    def graph(made: FakeGraph, stream: object) -> Any:
        try:
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "graph", graph)
    stack = captured(runs_of("vae", steps=12))
    for _ in range(4):
        stack.advance()

    def full(*inputs: object) -> Any:
        raise torch.OutOfMemoryError("2 GiB")

    stack._update = full
    with pytest.raises(torch.OutOfMemoryError, match="while a step was recorded"):
        stack.advance()
    assert gc.isenabled()


class Reading(tiny_data.Squares):
    """A store that reads a value of the device for each batch."""

    def images(self, index: Tensor) -> Tensor:
        assert int(index.max()) < 48
        return super().images(index)

    def to(self, device: torch.device) -> Reading:
        return self


def test_data_that_need_the_host_train_without_a_graph() -> None:
    squares = replace(tiny_data.squares(), store=Reading())
    specs = runs_of("vae", steps=12)
    stack = captured(specs, squares)
    train(stack)
    assert stack.capture == "failed: aten._local_scalar_dense.default reads a value of the device"
    one = alone(specs[2])
    train(one)
    assert distance(weights(stack.state(), 2), weights(one.state(), 0)) < 1e-9


def test_images_that_stay_on_the_host_are_found_before_a_capture() -> None:
    store = HostStore(ArrayStore(torch.zeros(4, 1, 2, 2, dtype=torch.uint8)), META)
    with DeviceOnly(META) as look, pytest.raises(NotImplementedError):
        store.images(torch.zeros(3, dtype=torch.int64, device=META))
    assert "copies between devices" in look.faults[0]


def test_a_dropped_stack_is_gone_at_once(fake_cuda: SimpleNamespace) -> None:
    """Its memory is needed for its halves; a cycle would keep it until the next collection."""
    gc.collect()
    gc.disable()
    try:
        for make in (stacked, captured):
            stack = make(runs_of("factor_vae"))
            for _ in range(6):
                stack.advance()
            gone = weakref.ref(stack)
            weight = weakref.ref(stack.weights["encoder"]["hidden.weight"])
            del stack
            assert gone() is None
            assert weight() is None
    finally:
        gc.enable()


def test_the_gpu_that_is_asked_for_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(
        devices.torch, "empty", lambda size, device: SimpleNamespace(device=torch.device(device))
    )
    assert devices.pick_device("cuda:1") == torch.device("cuda:1")
    assert current == [torch.device("cuda:1")]


def test_a_data_set_that_does_not_fit_is_the_users_to_mend() -> None:
    class Large(tiny_data.Squares):
        def to(self, device: torch.device) -> Large:
            raise torch.OutOfMemoryError("377 MB")

    squares = replace(tiny_data.squares(), store=Large())
    with pytest.raises(BenchError, match="squares does not fit into the free memory of meta"):
        squares.to("meta")
