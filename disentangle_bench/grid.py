"""From grid.toml to frozen run specs: what the keys are, what they may hold, and what to say when they do not.

A grid names data sets, models (lists of hyper-parameters multiply out), seeds, and settings of network, training and
scoring. A run's id is readable and ends in a hash of everything that decides its weights; how a run is scored is not
part of it, so that a finished run can be scored again without training.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
)

from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.models.settings import checked_hyper, checked_options, model_class, model_options
from disentangle_bench.specs import (
    MAX_SEED,
    DatasetSpec,
    NetworkSpec,
    RunSpec,
    ScoringSpec,
    Table,
    TrainingSpec,
    Value,
    as_tuple,
)

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MOST_RUNS = 1_000_000


class GridTrainingSpec(TrainingSpec):
    """A grid's [training] table, where `precision` may be "auto": bfloat16 on a device with instructions for it.

    No run has it: a study settles it before it begins (`pipeline.settled`).
    """

    precision: Literal["float32", "tf32", "bfloat16", "float64", "auto"] = "float32"  # type: ignore[assignment]

    @property
    def open(self) -> bool:
        """Whether `precision` is still to be settled."""
        return self.precision == "auto"


class ModelSpec(BaseModel):
    """A model's registry name, and for each of its hyper-parameters and options one value or a list of them."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name."""
        return dict(self.model_extra or {})


class Grid(Table):
    """A checked grid file; `runs` are its runs."""

    name: Annotated[str, Field(pattern=f"^{SAFE_NAME.pattern}$")]
    datasets: Annotated[tuple[DatasetSpec, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    models: Annotated[tuple[ModelSpec, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    metrics: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)] = (
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

    @property
    def all_datasets(self) -> tuple[DatasetSpec, ...]:
        """The entries, each before those that its runs are scored on too."""
        return tuple(each for entry in self.datasets for each in (entry, *(entry.score_on or ())))

    def scored_on(self, dataset: DatasetSpec) -> tuple[DatasetSpec, ...]:
        """The further data sets that runs on this one are scored on."""
        return next((entry.score_on or () for entry in self.datasets if entry.label == dataset.label), ())

    def network_on(self, dataset: DatasetSpec) -> NetworkSpec:
        """The networks' sizes on this data set: as the grid has them, with fewer layers where its images are small.

        Unless channels or kernels are given, layers are left out from the end until the last one has 4 x 4 pixels, as
        the standard network has on 64 x 64.
        """
        if dataset.size is None or {"channels", "kernels"} & self.network.model_fields_set:
            return self.network
        layers = max(1, min(len(self.network.channels), dataset.size.bit_length() - 3))
        kept = {"channels": self.network.channels[:layers], "kernels": self.network.kernels[:layers]}
        return self.network.model_copy(update=kept)

    def document(self) -> dict[str, Any]:
        """The grid as a TOML file holds it: no nulls, lists for tuples."""
        found: dict[str, Any] = json.loads(self.model_dump_json(exclude_none=True))
        # What was not given follows the images' size, for whoever reads the grid again too.
        for key in {"channels", "kernels"} - self.network.model_fields_set:
            del found["network"][key]
        return found

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
        networks = {dataset.label: self.network_on(dataset) for dataset in self.datasets}
        firsts = [
            RunSpec(
                dataset=dataset.trained_on,
                model=model,
                hypers=hypers,
                options=options,
                seed=self.seeds[0],
                network=networks[dataset.label],
                training=training,
            )
            for dataset in self.datasets
            for model, hypers, options in settings
        ]
        _refuse_repeated(firsts)
        # What all seeds of a setting share is made once.
        return tuple(first.model_copy(update={"seed": seed}) for first in firsts for seed in self.seeds)


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
        chosen = {key: checked_hyper(model, key, setting[key]) for key in hypers}
        # An option that is None was not asked for: left out, it leaves the runs from before it their names.
        given = {key: setting[key] for key in options if setting[key] is not None}
        yield chosen, checked_options(model, objective, given)
