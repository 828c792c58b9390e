"""What a run computes in: the numbers of `training.precision`, and how networks are called in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from disentangle_bench.models.objective import Call


@dataclass(frozen=True)
class Precision:
    """Weights, Adam's moments and losses are kept in `kept`, networks compute in `computed`.

    `tf32` lets a GPU round the factors of float32 products to 10 bits of mantissa.
    """

    kept: torch.dtype
    computed: torch.dtype
    tf32: bool = False


PRECISIONS = {
    "float32": Precision(torch.float32, torch.float32),
    "tf32": Precision(torch.float32, torch.float32, tf32=True),
    "bfloat16": Precision(torch.float32, torch.bfloat16),
    "float64": Precision(torch.float64, torch.float64),
}


def has_instructions(name: str, device: str) -> bool:
    """Whether the device ("cpu", "cuda:0") computes in the precision of this name by instructions of its own.

    bfloat16 works without them too, several times slower than float32.
    """
    if PRECISIONS[name].computed != torch.bfloat16:
        return True
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Where torch was built without oneDNN there is nothing to ask.
    return not torch.backends.mkldnn.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def automatic(device: str) -> str:
    """What "auto" stands for on the device: bfloat16 where it is known to have instructions for it, else float32."""
    known = torch.device(device).type == "cuda" or torch.backends.mkldnn.is_available()
    return "bfloat16" if known and has_instructions("bfloat16", device) else "float32"


def caller(
    networks: Mapping[str, nn.Module], weights: Mapping[str, Mapping[str, Tensor]], precision: Precision
) -> Call:
    """`call(name, inputs)` with these weights; what goes in and comes out is `kept`, what happens between `computed`.

    The weights are converted here, once, outside of any `no_grad` that a call may stand in.
    """
    converted = {
        name: {key: weight.to(precision.computed) for key, weight in own.items()}
        for name, own in weights.items()
    }

    def call(name: str, inputs: Tensor) -> Tensor:
        outputs = functional_call(networks[name], converted[name], (inputs.to(precision.computed),))
        return outputs.to(precision.kept)

    return call


@contextmanager
def float32_products(precision: Precision) -> Iterator[None]:
    """Within, float32 products on a GPU are exact or TF32 as `precision` says; before and after, as they were."""
    products = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = precision.tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
