"""What a model is to the rest of the package: networks, a loss for each of them, codes and decoded images.

Written for ONE run. An objective never draws randomness, never holds an optimiser and never sees how many runs train
beside it; it calls its networks through `call(name, inputs)`, so that the trainer decides whose parameters are used.
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, overload, runtime_checkable

from disentangle_bench.models.draws import Draw

if TYPE_CHECKING:
    from torch import Tensor, nn
    from typing_extensions import TypeIs  # pydantic brings it; the standard library has it from 3.13 on

# A grid is read, checked against each model's settings and its runs are listed without torch, whose import takes
# longer than all of that: modules of models import it in the functions that compute.
Call = Callable[[str, "Tensor"], "Tensor"]
Losses = dict[str, "Tensor"]
Log = dict[str, "Tensor"]
AnyModel = TypeVar("AnyModel")


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


@dataclass(frozen=True)
class DataFacts:
    """What a model may ask of the images that it is trained on; `image_shape` is (channels, height, width)."""

    image_count: int
    image_shape: tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """What one training step of one run is given.

    `images` float32 [batches * batch, channels, height, width] in 0..1; `noise` is what `draws` asked for, by name;
    `number` is 1 at the first step, an int64 tensor without dimensions.
    """

    images: Tensor
    noise: Mapping[str, Tensor]
    number: Tensor


class Hyper:
    """A model's hyper-parameter, `beta = Hyper(4.0)`: a number that may differ between the runs of one stack.

    Within `losses`, `self.beta` is the run's own value, a tensor without dimensions; elsewhere it raises
    AttributeError. A grid sets it by its name; a last underscore is left out there, for names like `lambda`.
    """

    def __init__(self, default: float) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_")

    @overload
    def __get__(self, model: None, owner: type) -> Hyper: ...
    @overload
    def __get__(self, model: Model, owner: type) -> Tensor: ...
    def __get__(self, model: Model | None, owner: type) -> Hyper | Tensor:
        if model is None:
            return self
        if self.name not in model._values:
            raise AttributeError(
                f"{self.name!r} may differ between runs of a stack: only `losses` may read it"
            )
        return model._values[self.name]


class Model(ABC):
    """What every model is, whether trained or fitted: a class, best a frozen dataclass.

    Its dataclass fields are options: how it is built. Its `Hyper` attributes are hyper-parameters, with the paper's
    defaults. A grid sets both. `data` is what is known of the training images.
    """

    paper: ClassVar[str] = ""
    hypers: ClassVar[Mapping[str, float]] = {}  # the defaults of the hyper-parameters, found by themselves
    data: DataFacts
    _values: Mapping[str, Any] = {}

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        names = dict.fromkeys(name for owner in reversed(cls.__mro__) for name in vars(owner))
        found = [value for value in (getattr(cls, name, None) for name in names) if isinstance(value, Hyper)]
        if "hypers" in vars(cls):
            raise TypeError("hypers are found by themselves: write each as an attribute, beta = Hyper(4.0)")
        for name in inspect.get_annotations(cls):
            if isinstance(getattr(cls, name, None), Hyper):
                raise TypeError(f"write {name} = Hyper(...) without a type, which would make it an option")
        cls.hypers = {value.name: value.default for value in found}

    @property
    def generative(self) -> bool:
        """Whether latents have a standard normal prior, from which samples can be decoded."""
        return False

    @abstractmethod
    def build(self, image_shape: tuple[int, int, int], size: NetworkSize) -> dict[str, nn.Module]:
        """The networks by name, freshly initialised from torch's global generator (which the trainer seeds).

        Where the model is fitted, only their shapes count: weights are loaded into them.
        """

    @abstractmethod
    def encode(self, call: Call, images: Tensor) -> Tensor:
        """Codes [n, latents]: the representation that is scored, the posterior mean where there is a posterior."""

    @abstractmethod
    def decode(self, call: Call, latents: Tensor) -> Tensor:
        """Images [n, channels, height, width] in 0..1 for latents [n, latents]."""

    @abstractmethod
    def evaluate(self, call: Call, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Per-image measures [n]: `reconstruction_nats` and `mse`, lower is better, and what else the model has.

        A generative model adds `kl` and `elbo` (higher is better). `noise` is standard normal [n, latents], for what
        is an expectation over the posterior.
        """


class Objective(Model):
    """A model that is trained step by step."""

    @property
    def batches(self) -> int:
        """How many batches of images one step draws."""
        return 1

    @property
    def pairs(self) -> bool:
        """Whether the second of two batches holds partners of the first's images, which share some of their factors."""
        return False

    def adam(self) -> Mapping[str, Adam]:
        """Optimiser settings for the networks that do not use the grid's."""
        return {}

    def draws(self, batch: int, latents: int) -> dict[str, Draw]:
        """What one step needs drawn."""
        return {}

    @abstractmethod
    def losses(self, call: Call, step: Step) -> tuple[Losses, Log]:
        """The loss that each network descends (sum over pixels and latents, mean over the batch), and what to log.

        Networks with the same loss tensor share one backward pass; a network receives gradients from its own loss
        only, whatever else the graph touches.
        """


class Fitted(Model):
    """A model that is computed from images at once rather than descended step by step, such as PCA."""

    fit_images: int

    @abstractmethod
    def fit(self, images: Tensor, size: NetworkSize, seed: int) -> dict[str, nn.Module]:
        """The networks fitted to uint8 images [n, channels, height, width]; n is `fit_images`, or all there are."""


@runtime_checkable
class Likelihood(Protocol):
    """What a generative objective can say besides: how likely images are, by importance weights."""

    def log_weights(self, call: Call, images: Tensor, noise: Tensor) -> Tensor:
        """log p(x, z) - log q(z|x) in nats [n, samples].

        z is drawn from q(z|x) with standard normal noise [n, samples, latents].
        """
        ...


def is_fitted(model: Objective | Fitted) -> TypeIs[Fitted]:
    """Whether the model is fitted at once rather than trained step by step."""
    return hasattr(model, "fit")


def with_data_facts(model: AnyModel, image_count: int, image_shape: tuple[int, int, int]) -> AnyModel:
    """A copy of the model that knows of how many training images it has and what shape these have."""
    return _with(model, data=DataFacts(image_count, image_shape))


def with_hypers(model: AnyModel, values: Mapping[str, Tensor]) -> AnyModel:
    """A copy of the model for one run's losses, with these values of its hyper-parameters."""
    return _with(model, _values=values)


def _with(model: AnyModel, **attributes: object) -> AnyModel:
    """A copy with other attributes, which a frozen dataclass does not let one set."""
    copied = copy.copy(model)
    for name, value in attributes.items():
        object.__setattr__(copied, name, value)
    return copied
