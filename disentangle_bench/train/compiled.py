"""The update compiled by torch, and trusted only after its first step agrees with the plain update's.

Compiling needs a C compiler, and on a GPU Triton. Without them training is slower and otherwise the same.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from disentangle_bench.models.objective import Log
from disentangle_bench.train.update import Function, Inputs, Weights

# How far moments may be from the plain update's, as a share of what the step changed in a network's moments. float32
# and float64: rounding in another order. The others round every product to 8 or 10 bits, each form in its own places.
TOLERANCE = {"float64": 1e-7, "float32": 1e-4, "tf32": 1e-2, "bfloat16": 1e-2}
# Adam divides by the gradient's size: where that is rounding only, a weight may move either way. A weight that was
# not moved at all is off by 1.
WEIGHTS_TOLERANCE = 0.9
IDLE = (
    1e-6  # of the largest change: a network that changes less is at rest, and its rounding is no disagreement
)
TINY = 1e-300


def compiled_update(update: Function, inputs: Inputs) -> Function:
    """`update`, traced at these inputs and compiled; the inputs are left as they are."""
    return torch.compile(traced_update(update, inputs), fullgraph=True, dynamic=False)


def traced_update(update: Function, inputs: Inputs) -> Function:
    """`update` as a plain list of tensor operations, its backward passes among them.

    `torch.compile` by itself does not look into `torch.autograd.grad`. Tracing computes nothing and copies nothing.
    """

    def traceable(weights, means, squares, images, noise, hyper, step):  # type: ignore[no-untyped-def]
        return update(weights, means, squares, images, noise, hyper, step)

    return make_fx(traceable, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)


def first_step(
    update: Function, inputs: Inputs, precision: str, look: AbstractContextManager[object] | None = None
) -> tuple[Function, str, Log]:
    """Take one step by the compiled update. Returns the update to use from here on, how compiling went, and the log.

    The plain update takes the same step on copies, within `look`. Where compiling fails, or the two disagree, the step
    is the plain one's and so are all further ones; how compiling went then says why.
    """
    state, rest = inputs[:3], inputs[3:]
    plain = tuple(_copies(part) for part in state)
    with look or nullcontext():
        log = update(*plain, *rest)
    changes = [_changes(after, before) for after, before in zip(plain, state, strict=True)]
    try:
        compiled = compiled_update(update, inputs)
        found = compiled(*inputs)
        wrong = _disagreement(state, plain, changes, TOLERANCE[precision])
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a compiler may raise: the reason is kept with the run
        wrong = f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
    if wrong is None:
        return compiled, "compiled", found
    for part, copies in zip(state, plain, strict=True):
        for name, own in part.items():
            for key, value in own.items():
                value.copy_(copies[name][key])
    return update, f"failed: {wrong}", log


def _disagreement(
    found: tuple[Weights, ...],
    plain: tuple[Weights, ...],
    changes: list[dict[str, float]],
    tolerance: float,
) -> str | None:
    """Where the compiled step is not the plain one, in words; None where it is."""
    parts = zip(("weights", "means", "squares"), found, plain, changes, strict=True)
    for part, ours, theirs, change in parts:
        allowed = WEIGHTS_TOLERANCE if part == "weights" else tolerance
        least = IDLE * max(change.values())
        for name, distance in _distances(ours, theirs).items():
            share = distance / max(change[name], least, TINY)
            if not share <= allowed:  # also where it is not a number
                return f"the compiled step's {part} of {name} are {share:.1g} of their change from the plain step's"
    return None


def _changes(after: Weights, before: Weights) -> dict[str, float]:
    """How far each network's values have moved, all runs together but those that diverge in their first step."""
    return _lengths(after, before, lambda a, b: (a - b).nan_to_num(0, 0, 0))


def _distances(ours: Weights, theirs: Weights) -> dict[str, float]:
    """How far each network's values are apart, all runs together; where both have diverged alike they are not."""

    def difference(a: Tensor, b: Tensor) -> Tensor:
        return torch.where((a == b) | (a.isnan() & b.isnan()), 0, a - b)

    return _lengths(ours, theirs, difference)


def _lengths(
    first: Weights, second: Weights, difference: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, float]:
    return {
        name: float(
            torch.stack([difference(own[key], second[name][key]).double().norm() for key in own]).norm()
        )
        for name, own in first.items()
    }


def _copies(weights: Weights) -> Weights:
    return {name: {key: value.clone() for key, value in own.items()} for name, own in weights.items()}
