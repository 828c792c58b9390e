"""Tests of the kernels on a CPU by Triton's interpreter; `test_kernels.py` runs them in a process that has it on.

Triton chooses between compiling and interpreting when it is first imported.
"""

from functools import partial

import pytest
import torch
from stack_cases import alone, distance, runs_of, weights
from tiny_data import squares
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from disentangle_bench.models import kernel_form, kernel_ops
from disentangle_bench.models.forms import use_form
from disentangle_bench.models.networks import Decoder, Encoder
from disentangle_bench.models.objective import NetworkSize
from disentangle_bench.specs import RunSpec
from disentangle_bench.train.compiled import traced_update
from disentangle_bench.train.loop import train
from disentangle_bench.train.objective import make_objective
from disentangle_bench.train.stacked import Stacked

# kernel, channels of the large and of the small image, height and width of the small one, images
SHAPES = [
    (4, 1, 32, 8, 8, 3),
    (2, 8, 16, 4, 6, 1),
    (6, 3, 5, 3, 4, 2),
    (4, 64, 3, 5, 3, 5),
    (4, 33, 40, 2, 2, 7),
]
RUNS = 3


def operands(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """`large`, `matrix` and `small` of three runs."""
    kernel, a, b, height, width, images = shape
    torch.manual_seed(0)
    large = torch.randn(RUNS, images, 2 * height, 2 * width, a, dtype=dtype)
    matrix = torch.randn(RUNS, kernel**2, a, b, dtype=dtype)
    return large, matrix, torch.randn(RUNS, images, height, width, b, dtype=dtype)


def each(function, *stacks: Tensor) -> Tensor:
    return torch.stack([function(*run) for run in zip(*stacks, strict=True)])


def first(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2)


def last(images: Tensor) -> Tensor:
    return images.permute(0, 2, 3, 1)


class Reference:
    """The same by torch's convolutions, one run after the other, in float64."""

    def __init__(self, kernel: int) -> None:
        self.kernel, self.options = kernel, {"stride": 2, "padding": kernel // 2 - 1}

    def weight(self, matrix: Tensor) -> Tensor:
        return matrix.unflatten(0, (self.kernel, self.kernel)).permute(3, 2, 0, 1)

    def halve(self, large: Tensor, matrix: Tensor) -> Tensor:
        return each(
            lambda x, m: last(functional.conv2d(first(x), self.weight(m), **self.options)), large, matrix
        )

    def double(self, small: Tensor, matrix: Tensor) -> Tensor:
        return each(
            lambda x, m: last(functional.conv_transpose2d(first(x), self.weight(m), **self.options)),
            small,
            matrix,
        )

    def outer(self, large: Tensor, small: Tensor) -> Tensor:
        shape = (small.shape[-1], large.shape[-1], self.kernel, self.kernel)
        found = each(lambda x, g: conv2d_weight(first(x), shape, first(g), **self.options), large, small)
        return found.permute(0, 3, 4, 2, 1).flatten(1, 2)


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel does not write is no number."""
    empty = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *size, **kwargs: empty(self, *size, **kwargs).fill_(torch.nan)
    )


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    assert found.shape == expected.shape
    assert float((found.double() - expected.double()).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_three_are_convolutions_and_their_gradients(shape: tuple[int, ...]) -> None:
    large, matrix, small = operands(shape)
    reference = Reference(shape[0])
    bias_b, bias_a = torch.randn(RUNS, shape[2]).double(), torch.randn(RUNS, shape[1]).double()
    expected = reference.halve(large, matrix)
    close(kernel_ops.halve(large, matrix, None, None, False), expected)
    close(
        kernel_ops.halve(large, matrix, None, bias_b, True), (expected + bias_b[:, None, None, None]).relu()
    )
    expected = reference.double(small, matrix)
    close(kernel_ops.double(small, matrix, None, None, False), expected)
    close(
        kernel_ops.double(small, matrix, None, bias_a, True), (expected + bias_a[:, None, None, None]).relu()
    )
    close(kernel_ops.outer(large, small, shape[0]).sum(1), reference.outer(large, small))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_cuts_the_result(shape: tuple[int, ...]) -> None:
    large, matrix, small = operands(shape)
    reference = Reference(shape[0])
    cut_large, cut_small = torch.randn_like(large).relu(), torch.randn_like(small).relu()
    close(
        kernel_ops.halve(large, matrix, cut_small, None, False),
        reference.halve(large, matrix) * (cut_small > 0),
    )
    close(
        kernel_ops.double(small, matrix, cut_large, None, False),
        reference.double(small, matrix) * (cut_large > 0),
    )


# Of bfloat16 the interpreter multiplies the bits as if they were integers; float16 takes the same way through the code.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float16, 2**-11)])
def test_in_narrow_numbers_only_the_result_is_rounded(dtype: torch.dtype, tolerance: float) -> None:
    # 512 rounded products would be off by far more than one rounding.
    large, matrix, small = operands((4, 32, 32, 8, 8, 2), dtype)
    reference = Reference(4)
    close(
        kernel_ops.halve(large, matrix, None, None, False),
        reference.halve(large.double(), matrix.double()),
        tolerance,
    )
    close(
        kernel_ops.double(small, matrix, None, None, False),
        reference.double(small.double(), matrix.double()),
        tolerance,
    )
    found = kernel_ops.outer(large, small, 4)
    assert found.dtype == torch.float32
    close(found.sum(1), reference.outer(large.double(), small.double()), 1e-5)


def test_many_parts_are_one_sum() -> None:
    large, _, small = operands((2, 1, 3, 32, 32, 4), torch.float32)
    found = kernel_ops.outer(large, small, 2)
    assert found.shape[1] == 4
    close(found.sum(1), Reference(2).outer(large.double(), small.double()), 1e-6)


def test_a_run_without_numbers_leaves_the_others_their_bits() -> None:
    shape = (4, 5, 6, 4, 4, 3)
    healthy = operands(shape)
    ill = operands(shape)
    for tensor in ill:
        tensor[1] = torch.inf
        tensor[1].view(-1)[::3] = torch.nan
    calls = (
        lambda x, m, g: kernel_ops.halve(x, m, g, None, True),
        lambda x, m, g: kernel_ops.double(g, m, x, None, True),
        lambda x, m, g: kernel_ops.outer(x, g, 4),
    )
    for call in calls:
        found, expected = call(*ill), call(*healthy)
        assert torch.equal(found[[0, 2]], expected[[0, 2]])
        assert not torch.isfinite(found[1]).all()


# The networks of both data sets at 64 x 64 and 32 x 32 pixels, of three halvings and of two.
STANDARD = {"channels": (32, 32, 64, 64), "kernels": (4, 4, 4, 4)}
NETWORKS = [
    pytest.param((1, 64, 64), STANDARD, id="dSprites"),
    pytest.param((3, 64, 64), STANDARD, id="3D Shapes"),
    pytest.param((1, 32, 32), {"channels": (16, 32, 64), "kernels": (4, 4, 4)}, id="dSprites at 32"),
    pytest.param((3, 32, 32), {"channels": (16, 32), "kernels": (4, 2)}, id="two halvings"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("image_shape", "layers"), NETWORKS)
def test_networks_and_their_gradients(image_shape: tuple[int, int, int], layers: dict) -> None:
    size = NetworkSize(hidden=16, latents=3, **layers)
    torch.manual_seed(0)
    for network, inputs in (
        (Encoder(image_shape, size, 6), torch.rand(1, *image_shape)),
        (Decoder(image_shape, size), torch.randn(1, 3)),
    ):
        network.double()
        inputs = inputs.double().requires_grad_()
        for ours, theirs in zip(
            by_form(network, inputs, "kernel"), by_form(network, inputs, "native"), strict=True
        ):
            close(ours, theirs, 1e-11)


def by_form(network: nn.Module, inputs: Tensor, form: str) -> list[Tensor]:
    """What the network makes of the inputs, and the gradients by them and by its weights."""
    use_form([network], form)
    outputs = network(inputs)
    return [outputs.detach(), *torch.autograd.grad(outputs.sin().sum(), [inputs, *network.parameters()])]


def by_kernels(specs: list[RunSpec], compiled: bool = False) -> Stacked:
    data = squares()
    return Stacked(
        make_objective(specs[0], data), specs, data, compiled=compiled, captured=False, form="kernel"
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "beta_vae", "factor_vae"])
def test_a_stack_is_each_of_its_runs_alone(model: str) -> None:
    specs = runs_of(model, steps=4)
    stack = by_kernels(specs)
    train(stack)
    for run, spec in enumerate(specs):
        one = alone(spec)
        train(one)
        assert distance(weights(stack.state(), run), weights(one.state(), 0)) < 1e-9


def traced(specs: list[RunSpec]) -> tuple[Stacked, list[str]]:
    """A stack after a step by the list of operations of its update, and those of the list that are kernels."""
    stack = by_kernels(specs)
    found: list[str] = []

    def first(*inputs):
        update = traced_update(stack.plain_update, inputs)
        found.extend(str(node.target) for node in update.graph.nodes)
        return update(*inputs)

    stack._update = first
    stack.advance()
    return stack, [name.split(".")[1] for name in found if name.startswith("disentangle_bench.")]


@pytest.fixture(scope="module")
def vae() -> tuple[Stacked, list[str]]:
    return traced(runs_of("vae"))


def test_a_list_of_operations_has_each_kernel_once(vae: tuple[Stacked, list[str]]) -> None:
    stack, found = vae
    # Four layers each way: a gradient by weight for each; one by input for each but the first, which sees images.
    assert sorted(found) == sorted(["halve"] * (4 + 4) + ["double"] * (4 + 3) + ["outer"] * 8)
    plain = by_kernels(runs_of("vae"))
    plain.advance()
    assert distance(moments(stack), moments(plain)) < 1e-12


def moments(stack: Stacked) -> Tensor:
    """Adam's first moments of all convolutions after a step, a tenth of their gradients, as one vector."""
    return torch.cat(
        [
            value.flatten()
            for own in stack.means.values()
            for name, value in own.items()
            if "convolutions" in name and "weight" in name
        ]
    )


@pytest.mark.parametrize("layer", [kernel_form._Halved, kernel_form._Doubled])
def test_a_doubled_gradient_is_noticed(
    layer: type, vae: tuple[Stacked, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """These gradients are the ones that a traced update takes, and not torch's own."""
    backward = layer.backward

    def doubled(ctx, *gradients):
        of_images, of_matrix, *rest = backward(ctx, *gradients)
        return of_images, 2 * of_matrix, *rest

    monkeypatch.setattr(layer, "backward", staticmethod(doubled))
    assert distance(moments(traced(runs_of("vae"))[0]), moments(vae[0])) > 1e-2


@pytest.mark.slow
def test_a_compiled_update_calls_them() -> None:
    specs = runs_of("vae")
    compiled, plain = by_kernels(specs, compiled=True), by_kernels(specs)
    for stack in (compiled, plain):
        stack.advance()
    assert compiled.compilation == "compiled with kernels"
    assert distance(moments(compiled), moments(plain)) < 1e-12


def test_vmap_adds_an_axis_of_runs_wherever_it_stands() -> None:
    large, matrix, _ = operands((4, 2, 3, 4, 4, 2))
    alone_ = partial(kernel_ops.halve, mask=None, bias=None, relu=False)
    expected = torch.stack([alone_(large, matrix[:, :, :, [b]]) for b in range(3)])
    found = vmap(alone_, in_dims=(None, 3))(large, matrix.unsqueeze(4))
    close(found, expected)
