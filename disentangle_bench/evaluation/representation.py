"""What can be scored: anything that makes codes of images. It may decode them too."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from disentangle_bench import registry
from disentangle_bench.data.pixels import as_floats
from disentangle_bench.errors import BenchError

SAVED = (".pt", ".pth", ".ts", ".torchscript", ".pt2")
HOW_TO_SAVE = (
    "save it with torch.export.save(torch.export.export(encoder, (images,), dynamic_shapes=...), 'encoder.pt2'), or"
    " give module:name"
)


@runtime_checkable
class Representation(Protocol):
    """An encoder of images. A method `decode(codes)`, to images in 0..1, is used where there is one."""

    def encode(self, images: Tensor) -> Tensor:
        """Codes [n, latents], or [n, tokens, width], of images float32 [n, channels, height, width] in 0..1."""
        ...


@dataclass(frozen=True)
class Encoder:
    """A representation made of plain functions, without gradients, on one device."""

    encoding: Callable[[Tensor], Any]
    decoding: Callable[[Tensor], Any] | None
    device: torch.device

    def encode(self, images: Tensor) -> Tensor:
        """Codes of images, uint8 0..255 or float 0..1."""
        floats = as_floats(images) if images.dtype == torch.uint8 else images
        with torch.no_grad():
            codes = torch.as_tensor(self.encoding(floats.to(self.device)))
        # NumPy has no bfloat16.
        return codes.float() if codes.is_floating_point() and codes.element_size() < 4 else codes

    def decode(self, codes: Tensor) -> Tensor:
        """Images of codes."""
        assert self.decoding is not None
        with torch.no_grad():
            return torch.as_tensor(self.decoding(codes.to(self.device)))


def as_encoder(what: Any, device: torch.device | str = "cpu") -> Encoder:
    """An encoder of a function of images, a network, or an object with `encode`; a network is put into eval mode.

    Raises BenchError for anything else, such as a class of which there is no instance.
    """
    place = torch.device(device)
    if isinstance(what, Encoder):
        return what
    if inspect.isclass(what):
        raise BenchError(f"{what.__name__} is a class: give an instance of it, such as a trained network")
    if isinstance(what, torch.export.ExportedProgram):
        what = what.module().to(place)
    elif isinstance(what, nn.Module):
        what = what.to(place).eval()
    encoding = getattr(what, "encode", what)
    if not callable(encoding):
        raise BenchError(
            f"{type(what).__name__!r} does not make codes: it must be a function or have `encode`"
        )
    decoding = getattr(what, "decode", None)
    return Encoder(encoding, decoding if callable(decoding) else None, place)


def load_encoder(name: str, device: torch.device | str = "cpu") -> Encoder:
    """The encoder "module:name", or that in a file of TorchScript or torch.export.

    Such a file is a program: it is run. Raises BenchError where there is none.
    """
    if name.endswith(SAVED):
        return as_encoder(_saved(Path(name), device), device)
    if ":" not in name:
        raise BenchError(
            f"{name!r} is no encoder: give module:name, or a file that ends in {', '.join(SAVED)}"
        )
    return as_encoder(registry.resolve("encoder", name), device)


def _saved(path: Path, device: torch.device | str) -> Any:
    """What is saved in the file."""
    if not path.is_file():
        raise BenchError(f"there is no file {path}")
    try:
        if path.suffix == ".pt2":
            # torch.export makes one more device known. Autograd that starts after that is lost in a forked process.
            torch.ones(1, requires_grad=True).sum().backward()
            return torch.export.load(path)
        return torch.jit.load(str(path), map_location=device)
    except Exception as error:  # each format and version has its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BenchError(f"{path} is no TorchScript or torch.export file: {reason}; {HOW_TO_SAVE}") from error
