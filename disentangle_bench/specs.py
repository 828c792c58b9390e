"""What is asked for of a data set, networks, training and scoring, and of one run: frozen, checked, named by a hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from disentangle_bench import registry
from disentangle_bench.shown import settings

MAX_SEED = 2**63 - 1


# Whole numbers are those of TOML: 64 bits, which a table and a tensor can hold too.
PositiveInt = Annotated[int, Field(gt=0, le=MAX_SEED)]


NonNegativeInt = Annotated[int, Field(ge=0, le=MAX_SEED)]


Value = bool | Annotated[int, Field(ge=-MAX_SEED - 1, le=MAX_SEED)] | float | str


class Table(BaseModel):
    """A TOML table: unknown keys are refused, values keep their types, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def as_tuple(value: Any) -> Any:
    """A list as a tuple; ValueError for what is neither."""
    if not isinstance(value, list | tuple):
        raise ValueError("a list is needed")
    return tuple(value)


def _points(value: Any) -> Any:
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('needed is a whole number of at least 1, or "all"')


Points = Annotated[int | Literal["all"], BeforeValidator(_points)]


Widths = Annotated[tuple[PositiveInt, ...], BeforeValidator(as_tuple), Field(min_length=1)]


Fraction = Annotated[float, Field(ge=0, lt=1)]


class CorrelatedSpec(Table):
    """Two factors that go together in training batches, the closer the smaller `sigma` (Traeuble et al. 2021).

    `inverse` turns one of them round. The second may be "*": the first is tied to every other factor.
    """

    first: str
    second: str
    sigma: PositiveFloat
    inverse: bool = False

    @property
    def label(self) -> str:
        """In words, as tables show it: `posX~scale 0.2`; `posX~-scale 0.2` where it is inverse."""
        return f"{self.first}~{'-' * self.inverse}{self.second} {self.sigma:g}"


def _one_or_more(value: Any) -> Any:
    """A list of tables, or one of them, as a tuple."""
    return value if value is None else as_tuple([value] if isinstance(value, dict) else value)


class SplitSpec(Table):
    """A split by name: which part of a data set training never sees (`splits.held_out` has the rules).

    `share` is about how much of the images that is; a random split takes no `factors`, composition two or more, the
    others one or more.
    """

    kind: Literal["random", "composition", "interpolation", "extrapolation"]
    factors: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    share: Annotated[float, Field(gt=0, lt=1)] = 0.25

    @model_validator(mode="after")
    def _factors_fit(self) -> SplitSpec:
        least = {"random": 0, "composition": 2}.get(self.kind, 1)
        if self.kind == "random" and self.factors:
            raise ValueError("a random split is of all combinations and takes no factors; leave them out")
        if len(self.factors) < least:
            raise ValueError(
                f"a split by {self.kind} needs at least {least} of the data set's factors: "
                f'{{ kind = "{self.kind}", factors = [...] }}'
            )
        if len(set(self.factors)) < len(self.factors):
            raise ValueError("a factor is listed twice")
        return self

    @property
    def label(self) -> str:
        """In words, as tables show it: `composition shape posX 0.25`."""
        return " ".join([self.kind, *self.factors, f"{self.share:g}"])


def _by_name(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def _parameters(value: Any) -> Any:
    """Lists as tuples; none at all as None, so that runs without any keep their names."""
    if not isinstance(value, dict):
        return value
    return {key: tuple(each) if isinstance(each, list) else each for key, each in value.items()} or None


Parameter = Value | tuple[Value, ...]


class DatasetSpec(Table):
    """A data set by its name, a sub-grid of it (every k-th value of some factors), and what training sees of it.

    `parameters` are those of a data set that has some, as `dsprites_drawn` (see `drawn`).

    `size` makes its images smaller, averaged over blocks of pixels to `size` x `size`.

    `hold_out` keeps combinations of factor values from training, `split` those of a split by name, `correlated` ties
    factors together there; metrics are scored on all images alike. On the data sets of `score_on` runs are scored too.
    """

    name: str
    parameters: Annotated[dict[str, Parameter] | None, BeforeValidator(_parameters)] = None
    every: dict[str, PositiveInt] = {}
    size: PositiveInt | None = None
    hold_out: (
        dict[str, Annotated[tuple[NonNegativeInt, ...], BeforeValidator(as_tuple), Field(min_length=1)]]
        | None
    ) = None
    split: Annotated[SplitSpec | None, BeforeValidator(_by_name)] = None
    correlated: Annotated[
        Annotated[tuple[CorrelatedSpec, ...], Field(min_length=1)] | None, BeforeValidator(_one_or_more)
    ] = None
    score_on: Annotated[
        Annotated[tuple[DatasetSpec, ...], Field(min_length=1)] | None, BeforeValidator(_one_or_more)
    ] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> DatasetSpec:
        if sum(map(bool, (self.hold_out, self.split, self.correlated))) > 1:
            raise ValueError(
                "hold_out, split and correlated exclude each other; list the data set once for each"
            )
        return self

    @field_validator("score_on")
    @classmethod
    def _whole(cls, others: tuple[DatasetSpec, ...] | None) -> tuple[DatasetSpec, ...] | None:
        for other in others or ():
            if other.holds_out or other.correlated is not None or other.score_on is not None:
                raise ValueError(
                    f"{other.name} is scored on and not trained on: hold_out, split, correlated and score_on do not go"
                    " with it"
                )
        labels = [other.label for other in others or ()]
        if len(set(labels)) < len(labels):
            raise ValueError("a data set is listed twice")
        return others

    @property
    def trained_on(self) -> DatasetSpec:
        """The entry as a run has it: without `score_on`, which decides no weight."""
        return self if self.score_on is None else self.model_copy(update={"score_on": None})

    @field_serializer("correlated")
    def _as_written(self, ties: tuple[CorrelatedSpec, ...] | None) -> Any:
        # One tie is a table of three keys, as before there were others, so that runs of then keep their names.
        if ties is None:
            return None
        written = [tie.model_dump(exclude=set() if tie.inverse else {"inverse"}) for tie in ties]
        return written[0] if len(written) == 1 else written

    @property
    def holds_out(self) -> bool:
        """Whether there are combinations that training never sees."""
        return self.hold_out is not None or self.split is not None

    @property
    def short_name(self) -> str:
        """The name as people read it: of a path its last part."""
        return Path(self.name).name if registry.is_path(self.name) else self.name

    @property
    def label(self) -> str:
        """The short name with its sub-grid and size, as tables show it: `dsprites_rendered[orientation/4,32x32]`."""
        notes = [settings(self.parameters)] if self.parameters else []
        notes += [f"{factor}/{k}" for factor, k in sorted(self.every.items()) if k > 1]
        if self.size is not None:
            notes.append(f"{self.size}x{self.size}")
        if self.hold_out is not None:
            notes += ["without " + " ".join(f"{f}={'|'.join(map(str, v))}" for f, v in self.hold_out.items())]
        if self.split is not None:
            notes.append(self.split.label)
        if self.correlated is not None:
            notes += [tie.label for tie in self.correlated]
        return f"{self.short_name}[{','.join(notes)}]" if notes else self.short_name


class NetworkSpec(Table):
    """The networks' sizes; the defaults are the standard study's (Locatello et al. 2019).

    `architecture` "fc" is the study's fully connected one, of `hidden` units a layer (1200 there); "style" is QLAE's
    kind (Hsu et al. 2023) in these sizes; without it, "conv".
    """

    latents: PositiveInt = 10
    channels: Widths = (32, 32, 64, 64)
    kernels: Annotated[Widths, Field(validate_default=True)] = (4, 4, 2, 2)
    hidden: PositiveInt = 256
    architecture: Literal["conv", "fc", "style"] | None = None

    @field_validator("kernels")
    @classmethod
    def _kernels_halve(cls, kernels: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if any(kernel % 2 for kernel in kernels):
            raise ValueError("even sizes are needed, so that each layer halves the image")
        channels = info.data.get("channels", kernels)  # missing where it was wrong itself
        if len(kernels) != len(channels):
            raise ValueError(f"{len(kernels)} entries for {len(channels)} network.channels")
        return kernels


class TrainingSpec(Table):
    """The optimisation's settings; a step updates each network once. Defaults are the standard study's.

    `precision` is what networks compute in: "bfloat16" keeps weights, Adam's moments and losses in float32, "tf32" is
    float32 with a GPU's shortened products, "float64" is a reference for checks.
    """

    steps: PositiveInt = 300_000
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-4
    adam_betas: Annotated[tuple[Fraction, Fraction], BeforeValidator(as_tuple)] = (0.9, 0.999)
    adam_eps: PositiveFloat = 1e-8
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = "float32"


class ScoringSpec(Table):
    """What a trained run is scored on.

    `points` images, drawn at random without replacement, are encoded ("all": the whole data set); reconstruction, KL
    and ELBO are measured on the first `reconstruction_points` of a second such draw.
    """

    points: Points = "all"
    reconstruction_points: Points = 10_000


class RunSpec(Table):
    """Everything that decides one run's weights."""

    dataset: DatasetSpec
    model: str
    hypers: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    options: dict[str, Value]
    seed: NonNegativeInt
    network: NetworkSpec
    training: TrainingSpec

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, which finds its own name."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("id", "program", "digest") if set(update or ()) - {"seed"} else ("id", "digest"):
            copied.__dict__.pop(name, None)
        return copied

    @cached_property
    def id(self) -> str:
        """A readable name and a hash, fit for a directory anywhere: `dsprites_rendered-beta_vae-beta4-s0-1f0c9a2b`."""
        kept = [f"{factor}{k}" for factor, k in sorted(self.dataset.every.items()) if k > 1]
        if self.dataset.size is not None:
            kept.append(f"size{self.dataset.size}")
        hypers = [f"{key}{value:g}" for key, value in self.hypers.items()]
        words = re.sub(
            r"[^A-Za-z0-9_.-]+", "_", "-".join([self.dataset.short_name, *kept, self.model, *hypers])
        )
        # The seed is never cut off: of a hundred thousand runs, some hashes begin alike.
        seed = f"-s{self.seed}"
        return f"{words.lstrip('._-')[: 100 - len(seed)]}{seed}-{self.digest[:8]}"

    @cached_property
    def program(self) -> str:
        """What runs of one stack share: everything but the seed and the hyper-parameters' values."""
        shared = self.model_dump(mode="json", exclude={"seed", "hypers"}) | {"hypers": sorted(self.hypers)}
        return json.dumps(shared, sort_keys=True)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the spec's canonical JSON."""
        # What was not asked for is left out, so that a setting added later leaves the runs of today their names.
        asked = self.model_dump(mode="json", exclude_none=True)
        if asked["training"]["precision"] == "float32":
            del asked["training"]["precision"]
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
