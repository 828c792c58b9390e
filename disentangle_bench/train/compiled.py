"""The update compiled by torch, and trusted only after its first step agrees with the plain update's.

Compiling needs a C compiler, and on a GPU Triton. Without them training is slower and otherwise the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from disentangle_bench.models.objective import Log
from disentangle_bench.train import agreement, step_draws
from disentangle_bench.train.update import Function, Inputs, Update

ROUNDING = 1e-5  # of a standard normal number drawn by another logarithm and cosine


def compiled_update(update: Function, inputs: Inputs) -> Function:
    """`update`, traced at these inputs and compiled; the inputs are left as they are."""
    return torch.compile(traced_update(update, inputs), fullgraph=True, dynamic=False)


def traced_update(update: Function, inputs: Inputs) -> Function:
    """`update` as a plain list of tensor operations, its backward passes among them.

    `torch.compile` by itself does not look into `torch.autograd.grad`. Tracing computes nothing and copies nothing.
    """

    return _traced(update)(*inputs)


def compiled_numbers(
    numbers: step_draws.Function, seeds: Tensor, step: Tensor
) -> tuple[step_draws.Function, str]:
    """`numbers` compiled, and "". Where that fails or draws other numbers, `numbers` itself, and why.

    By itself it is some hundred operations of a few values each, which a GPU takes longer to begin than to do.
    """
    try:
        traced = _traced(numbers)(seeds, step)
        compiled = torch.compile(traced, fullgraph=True, dynamic=False)
        wrong = _other_numbers(compiled(seeds, step), numbers(seeds, step))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a compiler may raise: the reason is kept with the run
        wrong = _in_a_line(error)
    return (numbers, wrong) if wrong else (compiled, "")


def _other_numbers(ours: step_draws.Numbers, theirs: step_draws.Numbers) -> str:
    """Which of the numbers are not the same, integers bit for bit and others up to rounding; "" where all are."""
    (index, noise), (other_index, other_noise) = ours, theirs
    pairs = {"index": (index, other_index), **{key: (noise[key], other_noise[key]) for key in other_noise}}
    wrong = [
        name for name, (one, other) in pairs.items() if not torch.allclose(one, other, rtol=0, atol=ROUNDING)
    ]
    return f"other numbers for {', '.join(wrong)}" if wrong else ""


def first_step(
    plain_update: Update, update: Update, inputs: Inputs, look: AbstractContextManager[object] | None = None
) -> tuple[Function | None, str, Log]:
    """Take one step by `update`, compiled. Returns the compiled update, what was wrong with it, and the log.

    `plain_update`, another form of the same update or the same, takes the step on copies, within `look`. Where
    compiling fails, or the two disagree by more than rounding explains, the step is the plain one's, there is no
    compiled update, and what was wrong says why.
    """
    weights, means, squares, images, noise, hyper, step = inputs
    state = weights, means, squares
    plain = agreement.copies(state)
    with look or nullcontext():
        log = plain_update(*plain, images, noise, hyper, step)
    allowed = agreement.margins(plain_update, update, inputs, plain)
    try:
        compiled = compiled_update(update, inputs)
        found = compiled(*inputs)
        wrong = agreement.disagreement(state, plain, allowed)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a compiler may raise: the reason is kept with the run
        wrong = _in_a_line(error)
    if wrong is None:
        return compiled, "", found
    for part, copies in zip(state, plain, strict=True):
        for name, own in part.items():
            for key, value in own.items():
                value.copy_(copies[name][key])
    return None, wrong, log


def _traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """What gives `function` as a list of operations, at the inputs that it is called with."""

    def traceable(*inputs: Any) -> Any:  # make_fx looks for a function's code, which an object does not have
        return function(*inputs)

    return make_fx(traceable, tracing_mode="fake", _allow_non_fake_inputs=True)


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
