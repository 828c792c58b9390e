"""What a model can be set to: its hyper-parameters and options, each checked."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from disentangle_bench import registry
from disentangle_bench.errors import BenchError, decapitalised, unknown_name
from disentangle_bench.specs import RunSpec, Value


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
    checked_options(spec.model, objective, dict(spec.options))
    return objective


def model_options(objective: Any) -> dict[str, Any]:
    """The options of a model that a grid can set, with their defaults; None stands for what is not asked for."""
    if not is_dataclass(objective):
        return {}
    return {field.name: field.default for field in fields(objective)}


def checked_hyper(model: str, key: str, value: Any) -> float:
    """The hyper-parameter as a number. Raises BenchError for anything but a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise BenchError(f"models.{model}.{key} = {value!r}: a finite number of at least 0 is needed")
    return float(value)


def checked_options(model: str, objective: type, options: dict[str, Any]) -> dict[str, Value]:
    """The options, each held against the type of the objective's field."""
    types = get_type_hints(objective, include_extras=True)
    for key, value in options.items():
        try:
            TypeAdapter(types[key]).validate_python(value, strict=True)
        except ValidationError as error:
            message = decapitalised(error.errors()[0]["msg"])
            raise BenchError(f"models.{model}.{key} = {value!r}: {message}") from error
    return options
