"""Convolutions that halve or double an image's sides, in several forms with equal results (see `models/forms.py`).

The native form is torch's own and is the fastest for one run on a CPU. The product form is written in plain tensor
operations around one matrix product, so that `torch.func.vmap` over runs turns it into one batched product, where the
native form would become a grouped convolution. Parameters and their layout are those of `nn.Conv2d` and
`nn.ConvTranspose2d` in either form.

A kernel of size k = 2n and stride 2 sees the image as 2 x 2 blocks of pixels: its index is 2a + r with a block a of n
and a pixel r of 2 (and likewise in the other direction). Each layer has two ways to become a product, one that gathers
blocks before it and one that adds up blocks after it; the layer takes the one that moves fewer values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import product
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from disentangle_bench.models.forms import Formed

PART = 2048  # rows that one processor adds up for a weight's gradient


class HalvingConvolution(Formed, nn.Conv2d):
    """[n, inputs, 2h, 2w] to [n, outputs, h, w] with an even kernel, stride 2 and padding kernel / 2 - 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride=2, padding=kernel // 2 - 1, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        """Convolve."""
        if self.form == "native":
            return super().forward(channels_last(images) if images.device.type == "cpu" else images)
        return with_relu_between([self], images)

    def by_products(self, images: Tensor) -> Tensor:
        """The product form, channels last."""
        values = convolve(images, self.weight)
        return values if self.bias is None else values + self.bias

    def by_kernels(self, images: Tensor, relu: bool, cut: bool) -> Tensor:
        """The kernel form, channels last; see `kernel_form.convolve`."""
        return _kernels().convolve(images, self.weight, self.bias, relu, cut)


class DoublingConvolution(Formed, nn.ConvTranspose2d):
    """[n, inputs, h, w] to [n, outputs, 2h, 2w] with an even kernel, stride 2 and padding kernel / 2 - 1."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, stride=2, padding=kernel // 2 - 1)

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve, transposed."""
        if self.form == "native":
            if images.device.type == "cpu":
                return _Transposed.apply(channels_last(images), self.weight, self.bias, self.padding[0])
            return super().forward(images)
        return with_relu_between([self], images)

    def by_products(self, images: Tensor) -> Tensor:
        """The product form, channels last."""
        values = convolve_transposed(images, self.weight)
        return values if self.bias is None else values + self.bias

    def by_kernels(self, images: Tensor, relu: bool, cut: bool) -> Tensor:
        """The kernel form, channels last; see `kernel_form.convolve`."""
        return _kernels().convolve_transposed(images, self.weight, self.bias, relu, cut)


def with_relu_between(convolutions: Iterable[nn.Module], images: Tensor) -> Tensor:
    """Apply layers of this module one after the other, with ReLU between them.

    Kernels apply ReLU before a result is stored, and cut a gradient where the next layer makes it.
    """
    layers = cast("list[HalvingConvolution | DoublingConvolution]", list(convolutions))
    if layers[0].form == "native":
        values = layers[0](images)
        for layer in layers[1:]:
            values = layer(torch.relu(values))
        return values
    # Rectified while channels are last: what is kept for the backward pass then lies as the next layer reads it.
    values = images.permute(0, 2, 3, 1)
    for number, layer in enumerate(layers):
        relu = number < len(layers) - 1
        if layer.form == "kernel":
            values = layer.by_kernels(values, relu, cut=number > 0)
        else:
            values = torch.relu(layer.by_products(values)) if relu else layer.by_products(values)
    return values.permute(0, 3, 1, 2)


def _kernels() -> ModuleType:
    """The kernel form, imported where it is asked for: Triton is not everywhere."""
    from disentangle_bench.models import kernel_form

    return kernel_form


class _Transposed(torch.autograd.Function):
    """`conv_transpose2d` of stride 2 with the gradients of the `conv2d` that it transposes.

    They are the same numbers. Asked for its own, torch on a CPU sums the bias's gradient in a loop over single values,
    which costs as much as the rest of the layer. Images of one channel come from a product, which is thrice as fast.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        if weight.shape[1] == 1:
            return convolve_transposed(images.permute(0, 2, 3, 1), weight).permute(0, 3, 1, 2) + bias
        return functional.conv_transpose2d(images, weight, bias, stride=2, padding=padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
        images, weight, _, ctx.padding = inputs
        ctx.save_for_backward(images, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        gradient = channels_last(gradients[0])
        images, weight = ctx.saved_tensors
        of_images = functional.conv2d(gradient, weight, stride=2, padding=ctx.padding)
        of_weight = conv2d_weight(gradient, weight.shape, images, stride=2, padding=ctx.padding)
        return of_images, of_weight, gradient.sum((0, 2, 3)), None


def channels_last(images: Tensor) -> Tensor:
    """The same [n, c, h, w] in channels-last order, which is the faster one on a CPU.

    A single channel lies alike in both orders. Unless its strides are those of channels last, torch takes it for the
    other and answers in the other, from convolutions that are up to six times slower.
    """
    n, channels, height, width = images.shape
    if channels > 1:
        return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    return images.reshape(n, height, width, 1).permute(0, 3, 1, 2)


def convolve(images: Tensor, weight: Tensor) -> Tensor:
    """`conv2d` of stride 2 without bias, channels last: [n, 2h, 2w, i] to [n, h, w, o], weight [o, i, 2m, 2m]."""
    outputs, inputs, kernel, _ = weight.shape
    blocks = kernel // 2
    height, width = images.shape[1] // 2, images.shape[2] // 2
    padded = (height + blocks - 1) * (width + blocks - 1)
    taps = weight.unflatten(3, (blocks, 2)).unflatten(2, (blocks, 2))  # o i a r b s
    values = _to_blocks(_pad(images, blocks - 1))
    gathering = height * width * (4 * blocks**2 * inputs + outputs)
    adding = padded * (4 * inputs + blocks**2 * outputs)
    if gathering <= adding:
        matrix = taps.permute(2, 4, 3, 5, 1, 0).reshape(-1, outputs)
        return _product(_windows(values, blocks), matrix)
    matrix = taps.permute(3, 5, 1, 2, 4, 0).reshape(4 * inputs, -1)
    return _add_windows(_product(values, matrix), blocks)


def convolve_transposed(images: Tensor, weight: Tensor) -> Tensor:
    """`conv_transpose2d` of stride 2 without bias, channels last.

    [n, h, w, i] to [n, 2h, 2w, o], weight [i, o, 2m, 2m].
    """
    inputs, outputs, kernel, _ = weight.shape
    blocks = kernel // 2
    height, width = images.shape[1:3]
    padded = (height + blocks - 1) * (width + blocks - 1)
    taps = weight.unflatten(3, (blocks, 2)).unflatten(2, (blocks, 2))  # i o a r b s
    gathering = padded * (blocks**2 * inputs + 4 * outputs)
    adding = height * width * (inputs + 4 * blocks**2 * outputs)
    if gathering <= adding:
        # Block u of the result is the sum over a of image pixel u - a, hence the reversed windows.
        matrix = taps.flip(2, 4).permute(2, 4, 0, 3, 5, 1).reshape(-1, 4 * outputs)
        result = _product(_windows(_pad(images, blocks - 1), blocks), matrix)
    else:
        matrix = taps.permute(0, 2, 4, 3, 5, 1).reshape(inputs, -1)
        result = _spread_windows(_product(images, matrix), blocks)
    edge = blocks - 1
    pixels = _from_blocks(result)
    return pixels[:, edge : pixels.shape[1] - edge, edge : pixels.shape[2] - edge]


def _product(values: Tensor, matrix: Tensor) -> Tensor:
    """The last axis of [n, h, w, k] times [k, m], as one product of two matrices."""
    return _Product.apply(values.flatten(0, 2), matrix).unflatten(0, values.shape[:3])


class _Product(torch.autograd.Function):
    """[n, k] times [k, m], n much larger than k and m.

    The matrix's gradient is a sum over the n rows. A GPU gives each block of the result to one of its processors, which
    would add up all rows while the others wait: the sum is taken in parts, side by side.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, matrix: Tensor) -> Tensor:
        return values @ matrix

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        values, matrix = ctx.saved_tensors
        parts = _parts(len(values))
        of_parts = values.unflatten(0, (parts, -1)).mT @ gradient.unflatten(0, (parts, -1))
        return gradient @ matrix.mT, of_parts.sum(0)


def _parts(rows: int) -> int:
    """In how many equal parts to add up so many rows: a power of two, each part at least `PART` rows."""
    parts = 1
    while rows % (2 * parts) == 0 and rows // (2 * parts) >= PART:
        parts *= 2
    return parts


def _pad(values: Tensor, edge: int) -> Tensor:
    return functional.pad(values, (0, 0, edge, edge, edge, edge)) if edge else values


def _to_blocks(values: Tensor) -> Tensor:
    """[n, 2h, 2w, c] to [n, h, w, 4c]: the pixels of each 2 x 2 block side by side."""
    n, height, width, channels = values.shape
    blocks = values.reshape(n, height // 2, 2, width // 2, 2, channels).transpose(2, 3)
    return blocks.reshape(n, height // 2, width // 2, 4 * channels)


def _from_blocks(values: Tensor) -> Tensor:
    """[n, h, w, 4c] to [n, 2h, 2w, c], the inverse of `_to_blocks`."""
    n, height, width, channels = values.shape
    pixels = values.reshape(n, height, width, 2, 2, channels // 4).transpose(2, 3)
    return pixels.reshape(n, 2 * height, 2 * width, channels // 4)


def _windows(values: Tensor, size: int) -> Tensor:
    """[n, h, w, c] to [n, h - size + 1, w - size + 1, size * size * c]: what each window of blocks holds."""
    return values if size == 1 else _Windows.apply(values, size)


def _add_windows(values: Tensor, size: int) -> Tensor:
    """[n, h, w, size * size * c] to [n, h - size + 1, w - size + 1, c]: each window's share added up."""
    return values if size == 1 else _AddedWindows.apply(values, size)


def _spread_windows(values: Tensor, size: int) -> Tensor:
    """[n, h, w, size * size * c] to [n, h + size - 1, w + size - 1, c]: each share added where its window reaches."""
    return values if size == 1 else _SpreadWindows.apply(values, size)


class _OfWindows(torch.autograd.Function):
    """A linear map of windows, whose gradient is such a map as well.

    torch's own gradients put slices side by side, for which a GPU looks at every slice for every value.
    """

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.size = inputs[1]


class _Windows(_OfWindows):
    @staticmethod
    def forward(values: Tensor, size: int) -> Tensor:
        return _views(values, size).flatten(3)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _spread_windows(gradients[0], ctx.size), None


class _SpreadWindows(_OfWindows):
    @staticmethod
    def forward(values: Tensor, size: int) -> Tensor:
        rest = size - 1
        shifted = [
            functional.pad(share, (0, 0, b, rest - b, a, rest - a)) for share, (a, b) in _shares(values, size)
        ]
        return reduce(torch.add, shifted)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _windows(gradients[0], ctx.size), None


class _AddedWindows(_OfWindows):
    @staticmethod
    def forward(values: Tensor, size: int) -> Tensor:
        height, width = values.shape[1] - size + 1, values.shape[2] - size + 1
        shifted = [share[:, a : a + height, b : b + width] for share, (a, b) in _shares(values, size)]
        return reduce(torch.add, shifted)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # The first share of a place went to where the window began, a step before its last one.
        return _views(_pad(gradients[0], ctx.size - 1), ctx.size).flip(3, 4).flatten(3), None


def _views(values: Tensor, size: int) -> Tensor:
    """[n, h, w, c] to [n, h - size + 1, w - size + 1, size, size, c]: each window, without a copy."""
    return values.unfold(1, size, 1).unfold(2, size, 1).permute(0, 1, 2, 4, 5, 3)


def _shares(values: Tensor, size: int) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """The size * size shares of the last axis, each with its place in the window."""
    return zip(values.chunk(size**2, dim=3), product(range(size), range(size)), strict=True)
