"""How many runs train together: timed on the device, remembered for the study, and fewer where a measurement fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_data
import torch
from stack_cases import runs_of

from disentangle_bench.errors import BenchError
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import read_grid
from disentangle_bench.progress import Silent
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.specs import RunSpec
from disentangle_bench.stop import Stop, Stopped
from disentangle_bench.study.claims import Claims
from disentangle_bench.study.launchers import here as local
from disentangle_bench.study.launchers import ray as ray_cluster
from disentangle_bench.study.launchers import ray_worker
from disentangle_bench.study.opened import OpenStudy
from disentangle_bench.study.options import Options
from disentangle_bench.study.work import Work
from disentangle_bench.train import estimate, plan
from disentangle_bench.train.alone import Alone
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.plan import StackSize, fastest_size, most_that_fit, stack_size
from disentangle_bench.train.timing import seconds_per_step

CUDA = torch.device("cuda:0")
GIB = 2**30


def on_gpu() -> Any:
    """The squares as if they were on a GPU; nothing may ask them for images."""
    return replace(tiny_data.squares(), device=CUDA)


def many(steps: int, runs: int = 300) -> list[RunSpec]:
    (spec, *_) = runs_of("vae", steps=steps)
    return [spec.model_copy(update={"seed": seed}) for seed in range(runs)]


def size_of(specs: list[RunSpec], **options: Any) -> StackSize:
    return stack_size(make_objective(specs[0], tiny_data.squares()), specs, on_gpu(), **options)


def test_the_fastest_size_is_taken_and_the_smallest_of_those_as_fast() -> None:
    asked: list[int] = []

    def speed(size: int) -> float:
        return {8: 100.0, 16: 180.0, 32: 250.0, 64: 254.0, 128: 200.0}[size]

    found = fastest_size([8, 16, 32, 64, 128], speed, asked.append)
    assert found == StackSize(32, {8: 100.0, 16: 180.0, 32: 250.0, 64: 254.0, 128: 200.0})
    assert asked == [8, 16, 32, 64, 128]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), RuntimeError("no kernel\nmore")])
def test_a_size_that_cannot_be_timed_ends_the_search(error: Exception) -> None:
    def speed(size: int) -> float:
        if size == 32:
            raise error
        return float(size)

    found = fastest_size([8, 16, 32, 64], speed)
    assert (found.runs, list(found.speeds)) == (16, [8, 16])
    assert found.failure == f"stack of 32: {type(error).__name__}: {str(error).splitlines()[0]}"
    assert fastest_size([32, 64], speed).runs == 1


def test_a_long_study_is_timed_and_a_short_one_filled_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[int] = []

    def speed(objective: object, specs: list[RunSpec], dataset: object) -> float:
        timed.append(len(specs))
        return float(len(specs))

    monkeypatch.setattr(plan, "most_that_fit", lambda *arguments: 90)
    monkeypatch.setattr(plan, "_speed", speed)
    assert size_of(many(300_000)).runs == 64
    assert timed == [8, 16, 32, 64]  # 128 do not fit
    assert size_of(many(300_000), timed=False) == StackSize(64)
    assert size_of(many(1000)) == StackSize(64)
    assert size_of(many(1000, runs=3)) == StackSize(3)
    assert timed == [8, 16, 32, 64]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Expected all tensors to be on the same device"),
        torch.OutOfMemoryError("not even two"),
        AssertionError(),
    ],
)
def test_a_measurement_that_raises_makes_the_stack_smaller(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(plan, "Stacked", refuse)
    found = size_of(many(10))
    assert found.runs == 1
    assert found.failure.startswith(type(error).__name__)


@pytest.mark.parametrize("error", [BenchError("no such factor"), Stopped("the test")])
def test_mistakes_and_stops_pass_through(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise error

    monkeypatch.setattr(plan, "most_that_fit", refuse)
    with pytest.raises(type(error)):
        size_of(many(10))
    with pytest.raises(type(error)):
        fastest_size([8], lambda size: float(refuse()))


class Measured:
    """A stack whose two runs take 3 GiB at their peak, and 1 GiB of weights and moments."""

    nbytes = GIB

    def __init__(self, objective: object, specs: list[RunSpec], dataset: object, **options: object) -> None:
        assert len(specs) == 2

    def advance(self) -> None:
        pass


@pytest.mark.parametrize(
    ("steps", "share", "fit"),
    [
        (100, 1.0, 23),  # .7 of 50 GiB in runs of 1.5
        (20_000, 1.0, 17),  # a compiled step wants weights and moments once more: 2 GiB a run
        (100, 0.5, 18),  # half of the device is 40 GiB
        (100, 0.25, 9),
    ],
)
def test_memory_for_a_worker_with_a_share_of_a_gpu(
    steps: int, share: float, fit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "Stacked", Measured)
    fakes = {
        "reset_peak_memory_stats": lambda device: None,
        "memory_allocated": lambda device: GIB,
        "max_memory_allocated": lambda device: 4 * GIB,
        "mem_get_info": lambda device: (50 * GIB, 80 * GIB),
        "synchronize": lambda device: None,
        "empty_cache": lambda: None,
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    specs = many(steps)
    assert most_that_fit(make_objective(specs[0], tiny_data.squares()), specs, on_gpu(), share) == fit


def work_in(folder: Path) -> Work:
    (folder / "tiny.toml").write_text(tiny_data.GRID)
    grid = read_grid(folder / "tiny.toml", (), None)
    study = StudyDir(folder / "study")
    study.create()
    study.write_grid(grid)
    options = Options(torch.device("cpu"))
    return Work(expand(grid), OpenStudy(grid, study, options, Silent(), Claims(study)))


def refusing() -> StackSize:
    raise AssertionError("it was measured before")


def test_a_timed_size_is_remembered_for_the_study_and_its_device(tmp_path: Path) -> None:
    work, specs = work_in(tmp_path), many(300_000)
    timed = StackSize(32, {16: 1.0, 32: 2.0})
    assert work.size_of(specs, "an H100", lambda: timed) == 32
    again = work_in(tmp_path)
    assert again.size_of(specs, "an H100", refusing) == 32
    assert again.size_of(specs, "an H200", lambda: StackSize(64, {64: 1.0})) == 64
    others = [spec.model_copy(update={"model": "beta_vae"}) for spec in specs]
    assert again.size_of(others, "an H100", lambda: StackSize(5)) == 5
    assert (
        again.size_of(others, "an H100", lambda: StackSize(6)) == 6
    )  # not timed: another day's memory counts


@pytest.mark.parametrize("text", ["", "[]", '{"runs": 0}', '{"runs": "64"}', '{"runs": true}', "\x00"])
def test_a_damaged_memory_is_measured_anew(text: str, tmp_path: Path) -> None:
    work, specs = work_in(tmp_path), many(300_000)
    work.size_of(specs, "an H100", lambda: StackSize(32, {32: 2.0}))
    (path,) = (tmp_path / "study" / "stack_sizes").iterdir()
    path.write_text(text)
    assert work.size_of(specs, "an H100", lambda: StackSize(8, {8: 3.0})) == 8


def test_a_failure_is_told_and_a_stop_is_heard_between_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []

    class Noting(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    def fails(*arguments: Any, before: Callable[[int], None]) -> StackSize:
        before(8)
        return StackSize(1, failure="RuntimeError: no kernel")

    monkeypatch.setattr(local, "stack_size", fails)
    specs = many(10)
    local._measured(specs, tiny_data.squares(), Noting(), Stop())
    assert notes == ["vae: timing a stack of 8 runs", "vae: RuntimeError: no kernel; 1 runs train together"]
    stop = Stop()
    stop.reason = "the test"
    with pytest.raises(Stopped):
        local._measured(specs, tiny_data.squares(), Noting(), stop)


class FakeRay:
    """Ray as far as sizes are asked for: a task is its answer."""

    def __init__(self, answer: StackSize) -> None:
        self.answer, self.asked = answer, 0

    def remote(self, group: object, kit: object) -> StackSize:
        self.asked += 1
        return self.answer

    def wait(self, references: list, timeout: float) -> tuple[list, list]:
        return references, []

    def get(self, reference: StackSize) -> StackSize:
        return reference


def test_a_cluster_is_asked_once_a_study(tmp_path: Path) -> None:
    fake = FakeRay(StackSize(16, {8: 1.0, 16: 3.0}))
    for asked in (1, 1):
        driver = object.__new__(ray_cluster._Driver)
        driver.work, driver.stop, driver.progress = work_in(tmp_path), Stop(), Silent()
        driver.work.specs = tuple(many(300_000))
        driver.ray = driver.fitting = fake
        driver.gpus, driver.setup = 0.5, None
        assert driver._fits() == {many(300_000)[0].program: 16}
        assert fake.asked == asked


def test_a_worker_measures_within_its_share_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    monkeypatch.setattr(ray_worker, "_prepared", lambda spec, setup: tiny_data.squares())
    monkeypatch.setattr(ray_worker, "stack_size", lambda *arguments, share: shares.append(share))
    for gpus in (0.5, 1.0, 2.0, 0.0):
        setup = ray_worker.Setup("", {}, "", (), None, takes=(gpus, 1))
        ray_worker.fitting(tuple(many(10)), setup)
    assert shares == [0.5, 1.0, 1.0, 1.0]


def test_steps_are_timed_in_the_precision_that_the_runs_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Watched(Alone):
        def advance(self) -> None:
            seen.append(torch.get_float32_matmul_precision())
            super().advance()

    (spec, *_) = runs_of("vae", precision="tf32")
    squares = tiny_data.squares()
    before = torch.get_float32_matmul_precision()
    assert seconds_per_step(Watched(make_objective(spec, squares), spec, squares), 2, 3) > 0
    assert seen == ["high"] * 5
    assert torch.get_float32_matmul_precision() == before
    # An estimate times its steps so.
    monkeypatch.setattr(estimate, "seconds_per_step", lambda program, warm_up, timed: 2.0)
    tf32 = [spec.model_copy(update={"dataset": spec.dataset, "seed": seed}) for seed in range(2)]
    shapes = {spec.dataset.name: squares.image_shape}
    found = estimate.estimate(tf32, shapes, "cpu", make_objective)
    assert found.seconds == {(spec.dataset.label, "vae"): 2.0 * spec.training.steps}
    assert found.stacks == [1, 1]
