"""The reference of grid files: every key as the code checks it, and the grids that come with the package."""

import json
from inspect import getdoc
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from disentangle_bench.grid import Grid, GridTrainingSpec, ModelSpec
from disentangle_bench.shipped_grids import shipped_grids
from disentangle_bench.specs import (
    CorrelatedSpec,
    DatasetSpec,
    NetworkSpec,
    ScoringSpec,
    SplitSpec,
    TrainingSpec,
)

HEAD = """# Grid files

The tables and keys of a grid file, made from what the code checks. [Write a grid](../grids.md) says what they mean,
with examples. Unknown keys are refused; `bench validate GRID` names them.
"""
WHOLE = """Data sets, models with their lists of settings, and seeds multiply out into runs. Without a `name` it is the
file's. `seeds` may also be a number: 5 stands for the seeds 0 to 4."""
AUTO = 'A grid may also say "auto": bfloat16 on a device that has instructions for it.'
# A heading, what the keys are checked by, and what is said of them.
TABLES: list[tuple[str, type[BaseModel], str | None]] = [
    ("The file", Grid, WHOLE),
    ("`[[datasets]]`", DatasetSpec, getdoc(DatasetSpec)),
    ("`split` of a data set", SplitSpec, getdoc(SplitSpec)),
    ("`correlated` of a data set", CorrelatedSpec, getdoc(CorrelatedSpec)),
    (
        "`[[models]]`",
        ModelSpec,
        "Its other keys are those of the model: see [each model's page](models/index.md).",
    ),
    ("`[network]`", NetworkSpec, getdoc(NetworkSpec)),
    ("`[training]`", GridTrainingSpec, f"{getdoc(TrainingSpec)} {AUTO}"),
    ("`[scoring]`", ScoringSpec, getdoc(ScoringSpec)),
]
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files and the page."""
    parts = [HEAD, *(table(*each) for each in TABLES), "## Grids that come with the package\n"]
    for name, path in shipped_grids().items():
        text = path.read_text(encoding="utf-8")
        first = text.partition("\n")[0].lstrip("# ")
        parts.append(f'??? note "`{name}`: {first}"\n\n    ```toml\n{indented(text)}\n    ```\n')
    files.append(File.generated(config, "reference/grid_files.md", content="\n".join(parts)))
    return files


def table(title: str, spec: type[BaseModel], said: str | None) -> str:
    """The section of a table of the file: what is said of it, and its keys."""
    schema = spec.model_json_schema()
    schema = schema["$defs"][spec.__name__] if "$ref" in schema else schema
    rows = [
        f"| `{key}` | {value_kind(entry)} | {default(spec, key)} |"
        for key, entry in schema["properties"].items()
    ]
    head = ["| key | value | default |", "|---|---|---|"]
    return "\n".join([f"## {title}", "", said or "", "", *head, *rows, ""])


def value_kind(entry: dict[str, Any]) -> str:
    """A value's type in words, by its JSON schema."""
    if "$ref" in entry:
        return "table"
    if "anyOf" in entry:
        kinds = [value_kind(each) for each in entry["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds)) if len(kinds) < 4 else "value"
    if "enum" in entry:
        return ", ".join(f'`"{value}"`' for value in entry["enum"])
    if "const" in entry:
        return f'`"{entry["const"]}"`'
    if entry.get("type") == "array":
        inner = entry.get("items") or entry.get("prefixItems", [{}])[0]
        return f"list ({value_kind(inner)})"
    if entry.get("type") == "object":
        return f"table ({value_kind(entry.get('additionalProperties') or {})})"
    name = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    bounds = [
        words.format(f"{entry[key]:g}") for key, words in BOUNDS.items() if abs(entry.get(key, 2**63)) < 2**62
    ]
    return " ".join([name.get(entry.get("type", ""), "value"), ", ".join(bounds)]).strip()


def default(spec: type[BaseModel], key: str) -> str:
    """A key's default, or that it is needed."""
    field = spec.model_fields[key]
    if field.is_required():
        return "needed"
    value = field.default
    if isinstance(value, BaseModel):
        return "see below"
    if value is None or value == {} or value == ():
        return "none"
    return f"`{json.dumps(value)}`"


def indented(text: str) -> str:
    """The text four columns to the right."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
