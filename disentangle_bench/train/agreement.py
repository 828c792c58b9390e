"""Whether two updates have taken the same step, but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from disentangle_bench.precision import PRECISIONS, float32_products
from disentangle_bench.train.update import Inputs, Update, Weights

State = tuple[Weights, Weights, Weights]  # weights, means and squares
Margins = tuple[dict[str, float], ...]  # for each of them by network, how far two steps may be apart

# Rounding in another order, as a share of what the step changes in a network's moments.
REORDERED = {"float64": 1e-7}
REORDERED_OTHERWISE = 1e-4
# bfloat16 and TF32 round every product, and each form of the update in its own places: their steps may be apart by so
# many times what one of them is from a step in float32.
ROUNDINGS = 3.0
# Layers of another form round in other places, which now and then puts a unit of a small network on the other side of
# ReLU: over 180 steps of three models with 16 hidden units they were up to 8.5 times as far apart. With the standard
# networks they were once as far apart, and doubled gradients of the convolutions 10 to 15 times.
ROUNDINGS_OF_ANOTHER_FORM = 10.0
FEW = 4  # runs show how far that is
# Adam divides by the gradient's size: where that is rounding only, a weight may move either way. Weights that were not
# moved at all are off by 1.
WEIGHTS, WEIGHTS_SHARE = 0, 0.9
IDLE = 1e-6  # of the largest change: a network that changes less is at rest
LEAST = 1e-300


def margins(plain: Update, update: Update, inputs: Inputs, after: State) -> Margins:
    """How far `update`, compiled, may be from the step of `plain`, which has led from `inputs` to `after`."""
    roundings = ROUNDINGS if update.form == plain.form else ROUNDINGS_OF_ANOTHER_FORM
    rounding = _rounding(plain, inputs, after)
    reordered = REORDERED.get(plain.precision, REORDERED_OTHERWISE)
    found = []
    for part, start, end in zip(range(3), inputs[:3], after, strict=True):
        change = _changes(end, start)
        idle = max(IDLE * max(change.values()), LEAST)
        shares = {name: max(reordered, roundings * rounding[part].get(name, 0.0)) for name in change}
        if part == WEIGHTS:
            shares = dict.fromkeys(change, WEIGHTS_SHARE)
        found.append({name: shares[name] * max(change[name], idle) for name in change})
    return tuple(found)


def disagreement(ours: State, theirs: State, allowed: Margins) -> str | None:
    """Where two steps are further apart than that, in words; None where they are not."""
    parts = zip(("weights", "means", "squares"), ours, theirs, allowed, strict=True)
    for part, one, other, margin in parts:
        for name, distance in _distances(one, other).items():
            if not distance <= margin[name]:  # also where it is not a number
                times = distance / margin[name]
                return f"its {part} of {name} are {times:.3g} times as far from the plain step's as rounding explains"
    return None


def copies(state: State) -> State:
    """The same with memory of its own."""
    return _mapped(torch.clone, state)


def _rounding(update: Update, inputs: Inputs, after: State) -> tuple[dict[str, float], ...]:
    """How far the step is from one in float32, as shares of what it changes; nothing for the wide precisions."""
    if update.precision in ("float32", "float64"):
        return {}, {}, {}
    _, _, _, images, noise, hyper, step = inputs
    before = _few(inputs[:3])
    exact = copies(before)
    few_noise, few_hyper = ({key: value[:FEW] for key, value in part.items()} for part in (noise, hyper))
    with float32_products(PRECISIONS["float32"]):
        replace(update, precision="float32")(*exact, images[:FEW], few_noise, few_hyper, step)
    shares = []
    for ours, theirs, start in zip(_few(after), exact, before, strict=True):
        change = _changes(theirs, start)
        apart = _changes(ours, theirs)
        shares.append({name: apart[name] / max(change[name], LEAST) for name in change})
    return tuple(shares)


def _few(state: State) -> State:
    """The first runs'."""
    return _mapped(lambda value: value[:FEW], state)


def _mapped(function: Callable[[Tensor], Tensor], state: State) -> State:
    weights, means, squares = (
        {name: {key: function(value) for key, value in own.items()} for name, own in part.items()}
        for part in state
    )
    return weights, means, squares


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
