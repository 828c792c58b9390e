"""What a model is to the rest of the house: networks, a loss for each of them, codes and decoded images.

Written for ONE run. An objective never draws randomness, never holds an optimiser and never sees how many runs train
beside it; it calls its networks through `call(name, inputs)`, so that the trainer decides whose parameters are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from disentangle_bench.models.draws import Draw

if TYPE_CHECKING:
    from torch import Tensor, nn
    from typing_extensions import TypeIs  # pydantic brings it; the standard library has it from 3.13 on

# A grid is read, checked against each model's settings and its runs are listed without torch, whose import takes
# longer than all of that: modules of models import it in the functions that compute.
Call = Callable[[str, "Tensor"], "Tensor"]
Losses = dict[str, "Tensor"]
Log = dict[str, "Tensor"]


@dataclass(frozen=True)
class NetworkSize:
    """The sizes a grid's [network] table sets; defaults are the standard study's (Locatello et al. 2019)."""

    latents: int = 10
    channels: tuple[int, ...] = (32, 32, 64, 64)
    kernels: tuple[int, ...] = (4, 4, 2, 2)
    hidden: int = 256
    architecture: Literal["conv", "fc", "style"] | None = None  # None stands for conv


@dataclass(frozen=True)
class Adam:
    """One network's own optimiser settings, where its paper departs from those of the grid's [training] table.

    `weight_decay` is decoupled (Loshchilov & Hutter 2019, arXiv:1711.05101): a step first shrinks each weight by the
    factor 1 - learning_rate * weight_decay.
    """

    learning_rate: float
    betas: tuple[float, float]
    eps: float = 1e-8
    weight_decay: float = 0.0


class Objective(Protocol):
    """A model and its training objective for one run.

    A class of the tree is a frozen dataclass: its fields are options (how it is built), `hypers` are the numbers that
    may differ between runs of one stack, with the paper's defaults.
    """

    hypers: ClassVar[Mapping[str, float]]
    paper: ClassVar[str]

    @property
    def batches(self) -> int:
        """How many batches of images one step draws."""
        ...

    @property
    def pairs(self) -> bool:
        """Whether the second of two batches holds partners of the first's images, which share some of their factors."""
        ...

    @property
    def generative(self) -> bool:
        """Whether latents have a standard normal prior, from which samples can be decoded."""
        ...

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """The networks by name, freshly initialised from torch's global generator (which the trainer seeds)."""
        ...

    def adam(self) -> Mapping[str, Adam]:
        """Optimiser settings for the networks that do not use the grid's."""
        ...

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """What one step needs drawn."""
        ...

    def losses(
        self,
        call: Call,
        images: Tensor,
        noise: Mapping[str, Tensor],
        hyper: Mapping[str, Tensor],
        step: Tensor,
    ) -> tuple[Losses, Log]:
        """The loss that each network descends (sum over pixels and latents, mean over the batch), and what to log.

        `images` float32 [batches * batch, channels, height, width] in 0..1. Networks with the same loss tensor share
        one backward pass; a network receives gradients from its own loss only, whatever else the graph touches.
        """
        ...

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Codes [n, latents]: the representation that is scored, the posterior mean where there is a posterior."""
        ...

    def decode(self, call: Call, latents: Tensor) -> Tensor:
        """Images [n, channels, height, width] in 0..1 for latents [n, latents]."""
        ...

    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Per-image measures [n]: `reconstruction_nats` and `mse`, lower is better, and what else the model has.

        A generative model adds `kl` and `elbo` (higher is better). `noise` is standard normal [n, latents], for what
        is an expectation over the posterior.
        """
        ...


@runtime_checkable
class Likelihood(Protocol):
    """What a generative objective can say besides: how likely images are, by importance weights."""

    def log_weights(self, call: Call, images: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z|x) in nats [n, samples].

        z is drawn from q(z|x) with standard normal noise [n, samples, latents].
        """
        ...


class Fitted(Protocol):
    """A model that is computed from images at once rather than descended step by step, such as PCA.

    It is registered and used as an Objective is, with `fit` in place of what concerns steps.
    """

    hypers: ClassVar[Mapping[str, float]]
    paper: ClassVar[str]
    fit_images: int

    @property
    def generative(self) -> bool:
        """Whether latents have a standard normal prior, from which samples can be decoded."""
        ...

    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """The networks by name with the shapes that fitting gives them, to load weights into."""
        ...

    def fit(self, images: Tensor, size: NetworkSize, seed: int) -> dict[str, nn.Module]:
        """The networks fitted to uint8 images [n, channels, height, width]; n is `fit_images`, or all there are."""
        ...

    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Codes [n, latents]."""
        ...

    def decode(self, call: Call, latents: Tensor) -> Tensor:
        """Images [n, channels, height, width] in 0..1 for latents [n, latents]."""
        ...

    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Per-image measures [n]: `reconstruction_nats` and `mse`."""
        ...


def is_fitted(objective: Objective | Fitted) -> TypeIs[Fitted]:
    """Whether the model is fitted at once rather than trained step by step."""
    return hasattr(objective, "fit")


def told_of_data(objective: Any, images: int, image_shape: tuple[int, int, int]) -> Any:
    """The objective told of its training images, where it has a field for that and nobody has filled it.

    `dataset_size` is their number, `image_shape` their (channels, height, width).
    """
    if not is_dataclass(objective) or isinstance(objective, type):
        return objective
    told = {"dataset_size": images, "image_shape": image_shape}
    missing = {
        f.name: told[f.name] for f in fields(objective) if f.name in told and not getattr(objective, f.name)
    }
    return replace(objective, **missing)
