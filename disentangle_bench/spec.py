"""From grid.toml to frozen run specs: what the keys are, what they may hold, and what to say when they do not.

A grid names data sets, models (lists of hyper-parameters multiply out), seeds, and settings of network, training and
scoring. A run's id is readable and ends in a hash of everything that decides its weights; how a run is scored is not
part of it, so that a finished run can be scored again without training.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from disentangle_bench import registry
from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.files import read_small

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MAX_SEED = 2**63 - 1
MOST_RUNS = 1_000_000
# Whole numbers are those of TOML: 64 bits, which a table and a tensor can hold too.
PositiveInt = Annotated[int, Field(gt=0, le=MAX_SEED)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MAX_SEED)]
Value = bool | Annotated[int, Field(ge=-MAX_SEED - 1, le=MAX_SEED)] | float | str


class _Table(BaseModel):
    """A TOML table: unknown keys are refused, values keep their types, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _tuple(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError("a list is needed")
    return tuple(value)


def _points(value: Any) -> Any:
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError('needed is a whole number of at least 1, or "all"')


Points = Annotated[int | Literal["all"], BeforeValidator(_points)]
Widths = Annotated[tuple[PositiveInt, ...], BeforeValidator(_tuple), Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class CorrelatedSpec(_Table):
    """Two factors that go together in training batches, the closer the smaller `sigma` (Traeuble et al. 2021)."""

    first: str
    second: str
    sigma: PositiveFloat


class DatasetSpec(_Table):
    """A data set by its name, a sub-grid of it (every k-th value of some factors), and what training sees of it.

    `hold_out` keeps combinations of factor values from training, `correlated` ties two factors together there;
    scoring sees all images alike.
    """

    name: str
    every: dict[str, PositiveInt] = {}
    hold_out: (
        dict[str, Annotated[tuple[NonNegativeInt, ...], BeforeValidator(_tuple), Field(min_length=1)]] | None
    ) = None
    correlated: CorrelatedSpec | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> DatasetSpec:
        if self.hold_out and self.correlated:
            raise ValueError("hold_out and correlated exclude each other; list the data set twice")
        return self

    @property
    def short_name(self) -> str:
        """The name as people read it: of a path its last part."""
        return Path(self.name).name if registry.is_path(self.name) else self.name

    @property
    def label(self) -> str:
        """The short name with its sub-grid, as tables show it: `dsprites_rendered[orientation/4,posX/2]`."""
        notes = [f"{factor}/{k}" for factor, k in sorted(self.every.items()) if k > 1]
        if self.hold_out is not None:
            notes += ["without " + " ".join(f"{f}={'|'.join(map(str, v))}" for f, v in self.hold_out.items())]
        if self.correlated is not None:
            notes += [f"{self.correlated.first}~{self.correlated.second} {self.correlated.sigma:g}"]
        return f"{self.short_name}[{','.join(notes)}]" if notes else self.short_name


class NetworkSpec(_Table):
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


class TrainingSpec(_Table):
    """The optimisation's settings; a step updates each network once. Defaults are the standard study's.

    `precision` is what networks compute in: "bfloat16" keeps weights, Adam's moments and losses in float32, "tf32" is
    float32 with a GPU's shortened products, "float64" is a reference for checks.
    """

    steps: PositiveInt = 300_000
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-4
    adam_betas: Annotated[tuple[Fraction, Fraction], BeforeValidator(_tuple)] = (0.9, 0.999)
    adam_eps: PositiveFloat = 1e-8
    precision: Literal["float32", "tf32", "bfloat16", "float64"] = "float32"


class GridTrainingSpec(TrainingSpec):
    """A grid's [training] table, where `precision` may be "auto": bfloat16 on a device with instructions for it.

    No run has it: a study settles it before it begins (`pipeline.settled`).
    """

    precision: Literal["float32", "tf32", "bfloat16", "float64", "auto"] = "float32"  # type: ignore[assignment]

    @property
    def open(self) -> bool:
        """Whether `precision` is still to be settled."""
        return self.precision == "auto"


class ScoringSpec(_Table):
    """What a trained run is scored on.

    `points` images, drawn at random without replacement, are encoded ("all": the whole data set); reconstruction, KL
    and ELBO are measured on the first `reconstruction_points` of a second such draw.
    """

    points: Points = "all"
    reconstruction_points: Points = 10_000


class ModelSpec(BaseModel):
    """A model's registry name, and for each of its hyper-parameters and options one value or a list of them."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class RunSpec(_Table):
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


class Grid(_Table):
    """A grid file, checked; `runs` are its runs."""

    name: Annotated[str, Field(pattern=f"^{SAFE_NAME.pattern}$")]
    datasets: Annotated[tuple[DatasetSpec, ...], BeforeValidator(_tuple), Field(min_length=1)]
    models: Annotated[tuple[ModelSpec, ...], BeforeValidator(_tuple), Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    metrics: Annotated[tuple[str, ...], BeforeValidator(_tuple), Field(min_length=1)] = (
        "factor_vae",
        "mig",
        "beta_vae",
    )
    controls: bool = False
    network: NetworkSpec = NetworkSpec()
    training: GridTrainingSpec = GridTrainingSpec()
    scoring: ScoringSpec = ScoringSpec()

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if not 1 <= value <= 100_000:
                raise ValueError("a number of seeds is between 1 and 100000 (it stands for seeds 0..N-1)")
            return tuple(range(value))
        if not isinstance(value, list | tuple):
            raise ValueError("a number of seeds or a list of them is needed")
        return tuple(value)

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= seed <= MAX_SEED for seed in seeds):
            raise ValueError(f"a seed is between 0 and {MAX_SEED}")
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is listed twice")
        return seeds

    @field_validator("metrics")
    @classmethod
    def _metrics_differ(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(metrics)) < len(metrics):
            raise ValueError("a metric is listed twice")
        return metrics

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, which finds its own runs."""
        copied = super().model_copy(update=update, deep=deep)
        if set(update or ()) - {"metrics"}:
            copied.__dict__.pop("runs", None)
        return copied

    @cached_property
    def runs(self) -> tuple[RunSpec, ...]:
        """All runs: data sets x models x their settings multiplied out x seeds, in this order. Raises BenchError.

        A precision that is not settled stands for float32 here, so that the grid can be checked before there is a
        device.
        """
        asked = self.training.model_dump() | ({"precision": "float32"} if self.training.open else {})
        training = TrainingSpec.model_validate(asked)
        choices = [_choices(model) for model in self.models]
        _refuse_too_many(self, choices)
        settings = [
            (model.name, *setting)
            for model, several in zip(self.models, choices, strict=True)
            for setting in _settings(model.name, several)
        ]
        firsts = [
            RunSpec(
                dataset=dataset,
                model=model,
                hypers=hypers,
                options=options,
                seed=self.seeds[0],
                network=self.network,
                training=training,
            )
            for dataset in self.datasets
            for model, hypers, options in settings
        ]
        _refuse_repeated(firsts)
        # What all seeds of a setting share is made once.
        return tuple(first.model_copy(update={"seed": seed}) for first in firsts for seed in self.seeds)


def read_grid(
    path: Path,
    overrides: Sequence[str] = (),
    seeds: int | None = None,
    *,
    with_data: bool = True,
    allow: Collection[str] | None = None,
) -> Grid:
    """The grid in the TOML file `path`, after `key=value` overrides and the number of seeds from the command line.

    Without `with_data` data sets and metrics need not be there, as for what only looks at a study. The grid that a
    study keeps may be a stranger's: `allow` lists the "module:name" of it that may be imported; None stands for a
    grid that the user has named, all of whose names may. Raises BenchError naming file, key, value and what is allowed.
    """
    try:
        document = tomllib.loads(read_small(path).decode())
    except FileNotFoundError as error:
        raise BenchError(f"there is no grid file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} cannot be read: {error}") from error
    except (
        ValueError
    ) as error:  # of which a number of thousands of digits is one that is not the TOML reader's own
        raise BenchError(f"{path} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise BenchError(f"{path} is not valid TOML: nested too deeply") from error
    document.setdefault("name", path.stem)
    for override in overrides:
        _override(document, override)
    if seeds is not None:
        document["seeds"] = seeds
    return check_grid(document, source=str(path), with_data=with_data, allow=allow)


def check_grid(
    document: Mapping[str, Any],
    source: str = "grid",
    *,
    with_data: bool = True,
    allow: Collection[str] | None = None,
) -> Grid:
    """The grid that a parsed document describes, with all names known and all runs distinct; else BenchError.

    Paths of data sets become absolute, so that its runs can be scored and shown from any directory.
    """
    _refuse_large_numbers(document, source)
    try:
        grid = Grid.model_validate(dict(document))
    except ValidationError as error:
        raise BenchError("\n".join(f"{source}: {_complaint(e)}" for e in error.errors())) from error
    try:
        grid = _with_lasting_paths(grid)
        if allow is not None:
            _check_allowed(grid, allow, with_data)
        if with_data:
            _check_datasets(grid)
            for metric in grid.metrics:
                registry.resolve("metric", metric)
        expand(grid)
    except BenchError as error:
        raise BenchError(f"{source}: {error}") from error
    return grid


def _refuse_large_numbers(document: Mapping[str, Any], source: str) -> None:
    """Raise BenchError for a whole number of more than TOML's 64 bits, which neither a float nor a message may hold."""
    left: list[tuple[str, Any]] = list(document.items())
    while left:
        where, value = left.pop()
        if isinstance(value, int) and not -MAX_SEED - 1 <= value <= MAX_SEED:
            raise BenchError(f"{source}: {where}: a whole number lies between -{MAX_SEED + 1} and {MAX_SEED}")
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
        )
        left += [(f"{where}.{key}", entry) for key, entry in inner]


def _check_allowed(grid: Grid, allow: Collection[str], with_data: bool) -> None:
    """Raise BenchError before anything is imported that the user has not named."""
    for model in grid.models:
        registry.check_allowed("model", model.name, allow)
    if with_data:
        for dataset in grid.datasets:
            registry.check_allowed("data set", dataset.name, allow)
        for metric in grid.metrics:
            registry.check_allowed("metric", metric, allow)


def _with_lasting_paths(grid: Grid) -> Grid:
    """The same with absolute paths of data sets. Raises BenchError for two that tables could not tell apart."""
    datasets = tuple(
        dataset.model_copy(update={"name": registry.lasting(dataset.name)}) for dataset in grid.datasets
    )
    paths: dict[str, str] = {}
    for dataset in datasets:
        if paths.setdefault(dataset.short_name, dataset.name) != dataset.name:
            raise BenchError(
                f"the data sets {paths[dataset.short_name]} and {dataset.name} have the same name, by which tables call"
                " them; rename one"
            )
    return grid.model_copy(update={"datasets": datasets})


def _check_datasets(grid: Grid) -> None:
    for dataset in grid.datasets:
        found = registry.resolve("data set", dataset.name)
        if not hasattr(found, "check_every"):
            raise BenchError(
                f"data set {dataset.name!r} is {type(found).__name__!r}: it must be a DataSource"
            )
        found.check_every(dataset.every)


def expand(grid: Grid) -> tuple[RunSpec, ...]:
    """All runs of the grid, in its order. Raises BenchError where there are too many, or one is described twice."""
    return grid.runs


def _refuse_repeated(firsts: Sequence[RunSpec]) -> None:
    """Raise BenchError where two of these runs, of one seed, are the same."""
    seen: set[str] = set()
    for spec in firsts:
        if spec.digest in seen:
            raise BenchError(
                f"the run {spec.id} is described twice; drop one of its entries in datasets or models"
            )
        seen.add(spec.digest)
        spec.program  # noqa: B018 - kept by the copies for other seeds


def _refuse_too_many(grid: Grid, choices: Sequence[Mapping[str, Sequence[Any]]]) -> None:
    """Raise BenchError where the grid has more than MOST_RUNS runs, before there are any."""
    each = [math.prod(len(values) for values in several.values()) for several in choices]
    count = len(grid.datasets) * sum(each) * len(grid.seeds)
    if count <= MOST_RUNS:
        return
    several = max(zip(each, grid.models, choices, strict=True), key=lambda entry: entry[0])[1:]
    lists = [f"models.{several[0].name}.{key} ({len(v)})" for key, v in several[1].items() if len(v) > 1]
    factors = [
        f"datasets ({len(grid.datasets)})",
        f"models ({len(grid.models)})",
        *lists,
        f"seeds ({len(grid.seeds)})",
    ]
    raise BenchError(
        f"the grid describes {count:,} runs, and a study has at most {MOST_RUNS:,}; what multiplies: "
        f"{', '.join(factors)}. Shorten one of these, or write several grids"
    )


def _choices(model: ModelSpec) -> dict[str, list[Any]]:
    """The values of each hyper-parameter and option that the grid's entry asks for, at least one each."""
    objective = model_class(model.name)
    known = {**getattr(objective, "hypers", {}), **model_options(objective)}
    choices: dict[str, list[Any]] = {key: [value] for key, value in known.items()}
    for key, value in model.settings.items():
        if key not in choices:
            raise unknown_name(f"key of model {model.name!r}", key, ["name", *choices])
        choices[key] = value if isinstance(value, list) else [value]
        if not choices[key]:
            raise BenchError(f"models.{model.name}.{key} is an empty list; give at least one value")
    return choices


def _settings(
    model: str, choices: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[dict[str, float], dict[str, Value]]]:
    """Each combination of a model's hyper-parameters (numbers a stack can vary) and options (how it is built)."""
    objective = model_class(model)
    hypers, options = getattr(objective, "hypers", {}), model_options(objective)
    for combination in itertools.product(*choices.values()):
        setting = dict(zip(choices, combination, strict=True))
        chosen = {key: _hyper(model, key, setting[key]) for key in hypers}
        # An option that is None was not asked for: left out, it leaves the runs from before it their names.
        given = {key: setting[key] for key in options if setting[key] is not None}
        yield chosen, _options(model, objective, given)


def model_class(name: str) -> type[Any]:
    """The class of the model called `name`. Raises BenchError where that is something else, which is never called."""
    objective = registry.resolve("model", name)
    if not (isinstance(objective, type) and hasattr(objective, "build")):
        what = objective.__name__ if isinstance(objective, type) else type(objective).__name__
        raise BenchError(f"model {name!r} is {what!r}: it must be the class of an Objective")
    return objective


def checked_model(spec: RunSpec) -> type[Any]:
    """The class of the spec's model. Raises BenchError where it has no such options, as in a spec that was edited."""
    objective = model_class(spec.model)
    for key in spec.options:
        if key not in model_options(objective):
            raise unknown_name(f"option of model {spec.model!r}", key, model_options(objective))
    _options(spec.model, objective, dict(spec.options))
    return objective


def model_options(objective: Any) -> dict[str, Any]:
    """The options of a model that a grid can set, with their defaults; None stands for what is not asked for."""
    if not is_dataclass(objective):
        return {}
    return {field.name: field.default for field in fields(objective)}


def _hyper(model: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BenchError(f"models.{model}.{key} = {value!r}: a finite number of at least 0 is needed")
    return float(value)


def _options(model: str, objective: type, options: dict[str, Any]) -> dict[str, Value]:
    """The options, each held against the type of the objective's field."""
    types = get_type_hints(objective, include_extras=True)
    for key, value in options.items():
        try:
            TypeAdapter(types[key]).validate_python(value, strict=True)
        except ValidationError as error:
            message = _lower(error.errors()[0]["msg"])
            raise BenchError(f"models.{model}.{key} = {value!r}: {message}") from error
    return options


def _override(document: dict[str, Any], override: str) -> None:
    """Set one dotted key of the document, `training.steps=500` or `models.0.beta=[1, 4]`; a bare word is a string."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise BenchError(f"--set {override!r}: write it as key=value, for example training.steps=500")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    place: Any = document
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(place, list):
            if not key.isdecimal() or int(key) >= len(place):
                raise BenchError(
                    f"--set {override!r}: {'.'.join(keys[:depth])} has entries 0..{len(place) - 1}"
                )
            key = int(key)  # type: ignore[assignment]
        elif not isinstance(place, dict):
            raise BenchError(f"--set {override!r}: {'.'.join(keys[:depth])} is a value, not a table")
        elif not last:
            place.setdefault(key, {})
        if last:
            place[key] = value
        else:
            place = place[key]


def _complaint(error: Any) -> str:
    """One pydantic error in the grid's own words: key, value, what is allowed."""
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        return str(unknown_name(f"key {where!r}:", str(error["loc"][-1]), known))
    if error["type"] == "missing":
        return f"{where} is missing"
    value = repr(error["input"])
    shown = value if len(value) <= 80 else value[:77] + "..."
    return f"{where} = {shown}: {_lower(error['msg'].removeprefix('Value error, '))}"


def _known_keys(location: Sequence[Any]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "datasets": DatasetSpec,
        "network": NetworkSpec,
        "training": TrainingSpec,
        "scoring": ScoringSpec,
    }
    table = tables.get(str(location[0]), Grid) if location else Grid
    return list(table.model_fields)


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
