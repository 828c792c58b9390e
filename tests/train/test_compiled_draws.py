"""What a step draws is compiled where the compiled draws are the same numbers."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import tiny_data
import torch
from stack_cases import runs_of, stacked
from test_compiled import COMPILER
from torch import Tensor

from disentangle_bench.train import compiled as compiling
from disentangle_bench.train.compiled import compiled_numbers
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import Stacked

needs_compiler = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"there is no C++ compiler {COMPILER}"
)


@needs_compiler
def test_compiled_draws_are_the_plain_ones_at_every_step() -> None:
    stack = stacked(runs_of("factor_vae"))
    compiled, wrong = compiled_numbers(stack.draws.numbers, stack.seeds, stack.clock)
    assert wrong == ""
    assert compiled != stack.draws.numbers
    for step in (1, 2, 299_999):
        stack.clock.fill_(step)
        index, noise = compiled(stack.seeds, stack.clock)
        plain_index, plain_noise = stack.draws.numbers(stack.seeds, stack.clock)
        assert torch.equal(index, plain_index)
        assert torch.equal(noise["permutations"], plain_noise["permutations"])
        torch.testing.assert_close(noise, plain_noise, rtol=0, atol=1e-6)


def compiled_to(function: Any) -> Any:
    """A `torch.compile` that makes this of whatever it is given."""
    return lambda traced, **options: lambda *inputs: function(traced(*inputs))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda drawn: (drawn[0] + 1, drawn[1]), "other numbers for index"),
        (
            lambda drawn: (drawn[0], drawn[1] | {"posterior": drawn[1]["posterior"] + 1e-4}),
            "other numbers for posterior",
        ),
    ],
)
def test_other_numbers_are_not_taken(change: Any, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", compiled_to(change))
    stack = stacked(runs_of("vae"))
    numbers, wrong = compiled_numbers(stack.draws.numbers, stack.seeds, stack.clock)
    assert numbers == stack.draws.numbers
    assert wrong == reason


def test_draws_that_do_not_compile_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(traced: Any, **options: Any) -> Any:
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setattr(torch, "compile", refuse)
    stack = stacked(runs_of("vae"))
    numbers, wrong = compiled_numbers(stack.draws.numbers, stack.seeds, stack.clock)
    assert numbers == stack.draws.numbers
    assert wrong == "RuntimeError: no such kernel"


def test_a_stack_draws_by_what_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(numbers: Any, seeds: Tensor, step: Tensor) -> Any:
        def drawn(*inputs: Tensor) -> Any:
            calls.append(int(inputs[1]))
            return numbers(*inputs)

        return drawn, ""

    monkeypatch.setattr(compiling, "compiled_update", compiling.traced_update)
    monkeypatch.setattr(compiling, "compiled_numbers", counted)
    specs, squares = runs_of("vae"), tiny_data.squares()
    stack = Stacked(make_objective(specs[0], squares), specs, squares, compiled=True, captured=False)
    for _ in range(4):
        stack.advance()
    assert calls == [2, 3, 4]
    assert stack.compilation == "compiled"
