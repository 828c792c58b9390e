"""The update compiled by torch, and trusted only after its first step agrees with the plain update's.

Compiling needs a C compiler, and on a GPU Triton. Without them training is slower and otherwise the same.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from disentangle_bench.models.objective import Log
from disentangle_bench.train import agreement
from disentangle_bench.train.update import Function, Inputs, Update


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
    update: Update, inputs: Inputs, look: AbstractContextManager[object] | None = None
) -> tuple[Function, str, Log]:
    """Take one step by the compiled update. Returns the update to use from here on, how compiling went, and the log.

    The plain update takes the same step on copies, within `look`. Where compiling fails, or the two disagree by more
    than rounding explains, the step is the plain one's and so are all further ones; how compiling went then says why.
    """
    weights, means, squares, images, noise, hyper, step = inputs
    state = weights, means, squares
    plain = agreement.copies(state)
    with look or nullcontext():
        log = update(*plain, images, noise, hyper, step)
    allowed = agreement.margins(update, inputs, plain)
    try:
        compiled = compiled_update(update, inputs)
        found = compiled(*inputs)
        wrong = agreement.disagreement(state, plain, allowed)
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
