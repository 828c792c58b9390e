"""The three kernels of `models/kernels.py` by torch's own convolutions: sums in float32, rounded once at their end."""

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight


def halve(large: Tensor, matrix: Tensor, mask: Tensor | None, bias: Tensor | None, relu: bool) -> Tensor:
    weight, padding = weight_of(matrix)
    return finished(functional.conv2d(as_images(large), weight, None, 2, padding), mask, bias, relu, large)


def double(small: Tensor, matrix: Tensor, mask: Tensor | None, bias: Tensor | None, relu: bool) -> Tensor:
    weight, padding = weight_of(matrix)
    values = functional.conv_transpose2d(as_images(small), weight, None, 2, padding)
    return finished(values, mask, bias, relu, small)


def outer(large: Tensor, small: Tensor, kernel: int) -> Tensor:
    sizes = (small.shape[4], large.shape[4], kernel, kernel)
    found = conv2d_weight(as_images(large), sizes, as_images(small), 2, kernel // 2 - 1)
    return found.permute(2, 3, 1, 0).flatten(0, 1)[None, None]  # one run, one part


def as_images(values: Tensor) -> Tensor:
    """The one run's, channels first."""
    return values[0].to(wide(values)).permute(0, 3, 1, 2)


def weight_of(matrix: Tensor) -> tuple[Tensor, int]:
    kernel = round(matrix.shape[1] ** 0.5)
    taps = matrix[0].to(wide(matrix)).unflatten(0, (kernel, kernel))
    return taps.permute(3, 2, 0, 1), kernel // 2 - 1


def wide(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


def finished(found: Tensor, mask: Tensor | None, bias: Tensor | None, relu: bool, like: Tensor) -> Tensor:
    values = found.permute(0, 2, 3, 1)
    values = values if bias is None else values + bias[0]
    values = values.relu() if relu else values
    values = values if mask is None else torch.where(mask[0] > 0, values, 0)
    return values.to(like.dtype)[None]
