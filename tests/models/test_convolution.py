"""The product form of a convolution against torch's own, values and gradients, alone and under vmap."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from disentangle_bench.models.convolution import DoublingConvolution, HalvingConvolution, channels_last
from disentangle_bench.models.forms import use_form

# Both ways of each layer are taken: gathering before the product with few channels on one side, adding up with few on
# the other.
CHANNELS = [(1, 32), (32, 32), (64, 3), (3, 5)]


def largest_difference(layer: nn.Module, images: torch.Tensor) -> float:
    inputs = [images.requires_grad_(), *layer.parameters()]
    native = layer(images)
    own = torch.autograd.grad(native.sin().sum(), inputs)
    use_form([layer])
    product = layer(images)
    assert product.shape == native.shape
    others = torch.autograd.grad(product.sin().sum(), inputs)
    pairs = zip([native, *own], [product, *others], strict=True)
    return max(float((a - b).abs().max().detach()) for a, b in pairs)


@pytest.mark.parametrize("kernel", [2, 4, 6])
@pytest.mark.parametrize("channels", CHANNELS)
def test_the_product_form_is_the_convolution(kernel: int, channels: tuple[int, int]) -> None:
    torch.manual_seed(0)
    halving = HalvingConvolution(*channels, kernel).double()
    assert largest_difference(halving, torch.randn(3, channels[0], 16, 24, dtype=torch.double)) < 1e-12
    doubling = DoublingConvolution(*channels, kernel).double()
    assert largest_difference(doubling, torch.randn(3, channels[0], 8, 6, dtype=torch.double)) < 1e-12


def test_a_kernel_of_one_bright_corner_by_hand() -> None:
    layer = HalvingConvolution(1, 1, 4)
    use_form([layer])
    with torch.no_grad():
        layer.weight.zero_()[0, 0, 1, 1] = 1  # padding 1: this entry reads the pixel (2i, 2j)
        layer.bias.fill_(0.5)
        images = torch.arange(16.0).reshape(1, 1, 4, 4)
        assert layer(images).flatten().tolist() == [0.5, 2.5, 8.5, 10.5]


def test_runs_of_a_stack_do_not_mix() -> None:
    layers = [HalvingConvolution(2, 3, 4) for _ in range(3)]
    use_form(layers)
    images = torch.randn(3, 5, 2, 8, 8)
    weights = {k: torch.stack([dict(m.named_parameters())[k] for m in layers]) for k in ("weight", "bias")}
    stacked = vmap(lambda w, x: functional_call(layers[0], w, (x,)))(weights, images)
    for layer, one, result in zip(layers, images, stacked, strict=True):
        torch.testing.assert_close(layer(one), result)


@pytest.mark.parametrize("channels", [1, 3])
def test_on_a_cpu_images_lie_channels_last_from_layer_to_layer(channels: int) -> None:
    images = torch.randn(2, channels, 8, 8)
    turned = channels_last(images)
    assert torch.equal(turned, images)
    assert turned.stride() == (64 * channels, 1, 8 * channels, channels)
    halved = HalvingConvolution(channels, 5, 4)(images)
    assert halved.is_contiguous(memory_format=torch.channels_last)
    doubled = DoublingConvolution(5, channels, 4)(halved)
    (gradient,) = torch.autograd.grad(doubled.square().sum(), [halved])
    assert gradient.is_contiguous(memory_format=torch.channels_last)
