"""A compiled update is used where its first step agrees with the plain one's; otherwise training is the plain one."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import imitated_kernels
import pytest
import tiny_data
import torch
from stack_cases import runs_of, stacked, weights
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from disentangle_bench.models import convolution
from disentangle_bench.models.forms import Formed
from disentangle_bench.models.objective import Log
from disentangle_bench.train import compiled as compiling
from disentangle_bench.train.compiled import traced_update
from disentangle_bench.train.loop import train
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import Stacked


def compiled_stack(model: str, precision: str = "float64", steps: int = 5) -> Stacked:
    squares = tiny_data.squares()
    specs = runs_of(model, steps=steps, precision=precision)
    return Stacked(make_objective(specs[0], squares), specs, squares, compiled=True, captured=False)


def same_as_plain(stack: Stacked) -> bool:
    plain = stacked(list(stack.specs))
    train(plain)
    ours, theirs = stack.state(), plain.state()
    return all(torch.equal(ours[key], theirs[key]) for key in theirs)


def use(monkeypatch: pytest.MonkeyPatch, make: Any) -> list[int]:
    """Have `make(update, inputs)` give the compiled update; returns a list that grows with its calls."""
    calls: list[int] = []

    def compiled(update: Any, inputs: Any) -> Any:
        found = make(update, inputs)

        def counted(*inputs: Any) -> Log:
            calls.append(1)
            return found(*inputs)

        return counted

    monkeypatch.setattr(compiling, "compiled_update", compiled)
    monkeypatch.setattr(compiling, "compiled_numbers", lambda numbers, seeds, step: (numbers, ""))
    return calls


@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("model", ["factor_vae", "stacked_autoencoder"])
def test_an_update_that_agrees_is_used_for_every_step(
    model: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = use(monkeypatch, traced_update)
    stack = compiled_stack(model, precision)
    train(stack)
    assert stack.compilation == "compiled"
    assert len(calls) == 5
    assert same_as_plain(stack)


def scaled_gradients(update: Any, inputs: Any) -> Any:
    """An update whose moments are a thousandth off."""

    def wrong(weights, means, squares, *rest):
        log = update(weights, means, squares, *rest)
        for value in means["discriminator"].values():
            value.mul_(1.001)
        return log

    return wrong


def forgotten_weights(update: Any, inputs: Any) -> Any:
    """An update whose weights are those of before."""

    def wrong(weights, means, squares, *rest):
        copies = {name: {key: value.clone() for key, value in own.items()} for name, own in weights.items()}
        return update(copies, means, squares, *rest)

    return wrong


def not_numbers(update: Any, inputs: Any) -> Any:
    def wrong(weights, means, squares, *rest):
        log = update(weights, means, squares, *rest)
        next(iter(squares["encoder"].values())).fill_(torch.nan)
        return log

    return wrong


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (scaled_gradients, "means of discriminator are 1"),
        (forgotten_weights, "weights of encoder are 1.11 times as far"),
        (not_numbers, "squares of encoder are nan times as far"),
    ],
)
def test_an_update_that_disagrees_is_dropped_with_the_reason(
    make: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = use(monkeypatch, make)
    stack = compiled_stack("factor_vae", "float32")
    train(stack)
    assert stack.compilation.startswith("failed: ")
    assert reason in stack.compilation
    assert len(calls) == 1
    assert same_as_plain(stack)


def with_networks_in_float32(update: Any, inputs: Any) -> Any:
    return replace(update, precision="float32")


def a_part_forgotten(update: Any, inputs: Any) -> Any:
    """An update whose discriminator has learned from one run in three."""

    def wrong(weights, means, squares, *rest):
        before = {key: value.clone() for key, value in means["discriminator"].items()}
        log = update(weights, means, squares, *rest)
        for key, value in means["discriminator"].items():
            value[1:] = before[key][1:]
        return log

    return wrong


@pytest.mark.parametrize("model", ["vae", "factor_vae", "qlae"])
def test_in_bfloat16_steps_may_differ_by_what_its_rounding_explains_and_no_more(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, with_networks_in_float32)  # a compiler keeps more digits between two products
    stack = compiled_stack(model, "bfloat16")
    stack.advance()
    assert stack.compilation == "compiled"
    assert not same_as_plain_after_a_step(stack)


def test_in_bfloat16_more_than_rounding_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, a_part_forgotten)
    stack = compiled_stack("factor_vae", "bfloat16")
    train(stack)
    assert "means of discriminator" in stack.compilation
    assert same_as_plain(stack)


def same_as_plain_after_a_step(stack: Stacked) -> bool:
    plain = stacked(list(stack.specs))
    plain.advance()
    return torch.equal(weights(stack.state(), 0), weights(plain.state(), 0))


def test_an_update_that_raises_half_way_leaves_the_plain_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(update: Any, inputs: Any) -> Any:
        def wrong(weights, *rest):
            next(iter(weights["encoder"].values())).add_(1)
            raise RuntimeError("no such kernel\nmore")

        return wrong

    use(monkeypatch, make)
    stack = compiled_stack("vae")
    train(stack)
    assert stack.compilation == "failed: RuntimeError: no such kernel"
    assert same_as_plain(stack)


def by_kernels(model: str, precision: str) -> Stacked:
    squares = tiny_data.squares()
    specs = runs_of(model, steps=5, precision=precision)
    objective = make_objective(specs[0], squares)
    return Stacked(objective, specs, squares, compiled=True, captured=False, form="kernel")


@pytest.mark.parametrize("precision", ["float64", "float32", "bfloat16"])
def test_kernels_that_agree_with_products_are_used(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in bfloat16 round at every layer's end and within; kernels, here imitated, at its end alone."""
    kernel_ops = pytest.importorskip("disentangle_bench.models.kernel_ops", exc_type=ImportError)
    for name in ("halve", "double", "outer"):
        monkeypatch.setattr(kernel_ops, name, getattr(imitated_kernels, name))
    calls = use(monkeypatch, traced_update)
    stack = by_kernels("factor_vae", precision)
    train(stack)
    assert stack.compilation == "compiled with kernels"
    assert len(calls) == 5
    layers = [layer for network in stack.networks(0).values() for layer in network.modules()]
    # What measures the trained model needs no GPU of this kind.
    assert {layer.form for layer in layers if isinstance(layer, Formed)} == {"product"}


@pytest.mark.parametrize("fault", ["raises", "is wrong"])
def test_products_are_compiled_where_kernels_fail(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each form is tried in a step of its own; a step that failed is the plain one's."""

    def make(update: Any, inputs: Any) -> Any:
        if update.form == "product":
            return traced_update(update, inputs)
        if fault == "raises":
            raise ImportError("No module named 'triton'")
        return lambda *inputs: traced_update(update_of_darker_images, inputs)(*inputs)

    def update_of_darker_images(*inputs: Any) -> Log:
        weights, means, squares, images, *rest = inputs
        return stack.plain_update(weights, means, squares, images // 2, *rest)

    calls = use(monkeypatch, make)
    stack = by_kernels("factor_vae", "float64")
    train(stack)
    assert len(calls) == (5 if fault == "is wrong" else 4)
    reason = {"raises": "ImportError: No module named 'triton'", "is wrong": "its means of "}[fault]
    assert stack.compilation.startswith(f"compiled; kernels failed: {reason}")
    assert same_as_plain(stack)


def test_where_both_fail_both_reasons_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(update: Any, inputs: Any) -> Any:
        raise RuntimeError(f"no {update.form}")

    use(monkeypatch, make)
    stack = by_kernels("vae", "float64")
    train(stack)
    assert stack.compilation == "failed: RuntimeError: no product; kernels failed: RuntimeError: no kernel"
    assert same_as_plain(stack)


def test_a_run_that_diverges_at_once_does_not_slow_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, traced_update)
    squares = tiny_data.squares()
    (spec, *_) = runs_of("beta_vae", steps=5, precision="float32")
    specs = [
        spec.model_copy(update={"model": "tiny_data:Exploding", "hypers": {"beta": beta}, "seed": seed})
        for seed, beta in enumerate((0.0, 1.0))
    ]
    objective = make_objective(specs[0], squares)
    stack = Stacked(objective, specs, squares, compiled=True, captured=False)
    results = train(stack)
    assert [result.failure is None for result in results] == [True, False]
    assert stack.compilation == "compiled"


def test_a_device_that_is_full_is_no_failure_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(update: Any, inputs: Any) -> Any:
        raise torch.OutOfMemoryError("full")

    use(monkeypatch, make)
    with pytest.raises(torch.OutOfMemoryError):
        compiled_stack("vae").advance()


def test_a_compiled_stack_goes_on_from_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step after a resume is checked too, against moments that are no longer zero."""
    use(monkeypatch, traced_update)
    whole, first, second = (compiled_stack("factor_vae", "float32", steps=8) for _ in range(3))
    for _ in range(5):
        first.advance()
    second.restore(first.step, first.state())
    for stack, steps in ((whole, 8), (second, 3)):
        for _ in range(steps):
            stack.advance()
    assert second.compilation == "compiled"
    ours, theirs = second.state(), whole.state()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_dropped_compiled_stack_is_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, traced_update)
    gc.collect()
    gc.disable()
    try:
        stack = compiled_stack("factor_vae")
        stack.advance()
        stack.advance()
        weight = weakref.ref(stack.weights["encoder"]["hidden.weight"])
        del stack
        assert weight() is None
    finally:
        gc.enable()


class Copied(TorchDispatchMode):
    """Counts the bytes of a stack's weights and moments that are cloned."""

    def __init__(self, stack: Stacked) -> None:
        super().__init__()
        parts = (stack.weights, stack.means, stack.squares)
        self.state = {v.data_ptr() for part in parts for own in part.values() for v in own.values()}
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        real = func._schema.name == "aten::clone" and type(args[0]) is Tensor
        if real and args[0].data_ptr() in self.state:
            self.bytes += args[0].nbytes
        return func(*args, **(kwargs or {}))


def test_compiling_copies_weights_and_moments_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Tensor, memo: object) -> Tensor:
        raise AssertionError("a tensor was copied whole")

    monkeypatch.setattr(Tensor, "__deepcopy__", refuse)
    use(monkeypatch, traced_update)
    stack = compiled_stack("factor_vae")
    with Copied(stack) as copied:
        stack.advance()
    assert stack.compilation == "compiled"
    assert stack.nbytes <= copied.bytes < 1.5 * stack.nbytes  # the step itself lays some weights out anew
    assert len(weights(stack.state(), 0)) * 8 * 3 * 3 == stack.nbytes


@pytest.mark.parametrize("layer", ["_Product", "_Windows", "_SpreadWindows", "_AddedWindows"])
def test_a_traced_update_has_the_gradients_that_layers_define(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracing that looked through a layer's own gradient would find torch's instead, and not this wrong one."""
    function = getattr(convolution, layer)
    its_own = function.backward

    def doubled(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return tuple(found if found is None else 2 * found for found in its_own(ctx, *gradients))

    before, after = compiled_stack("vae"), compiled_stack("vae")
    for stack, wrong in ((before, False), (after, True)):
        with monkeypatch.context() as patched:
            if wrong:
                patched.setattr(function, "backward", staticmethod(doubled))
            index, noise = stack.draws.numbers(stack.seeds, stack.clock)
            images = stack.draws.images(index, stack.seeds, stack.clock)
            inputs = (stack.weights, stack.means, stack.squares, images, noise, stack.hyper, stack.clock + 1)
            traced_update(stack.plain_update, inputs)(*inputs)
    ours, theirs = (
        torch.cat([value.flatten() for own in stack.means.values() for value in own.values()])
        for stack in (before, after)
    )
    assert not torch.equal(ours, theirs)
