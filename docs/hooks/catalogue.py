"""A page for each metric, model and data set of the registry, made of its facts and of its docstring."""

import inspect
import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_type_hints

from markdown.extensions.toc import slugify
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import TypeAdapter

from disentangle_bench import registry
from disentangle_bench.data.load import find_source
from disentangle_bench.models.settings import model_class, model_options
from disentangle_bench.report.papers import PAPERS, entries
from grids import value_kind

DOCS = Path(__file__).parents[1]
KINDS = {
    "Metrics": ("metric", "metrics"),
    "Models": ("model", "models"),
    "Data sets": ("data set", "datasets"),
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation with a page for each name."""
    (reference,) = (part["Reference"] for part in config.nav or [] if "Reference" in part)
    for section in reference:
        for title, (kind, folder) in KINDS.items():
            if isinstance(section, dict) and title in section:
                section[title] += [{name: page_of(folder, name)} for name in registry.TABLES[kind]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files, the pages of all names, and for each kind a page that lists them."""
    writers: dict[str, Callable[[str], tuple[str, str]]] = {
        "metric": metric_page,
        "model": model_page,
        "data set": dataset_page,
    }
    for title, (kind, folder) in KINDS.items():
        lines = [f"# {title}", "", LISTS[kind], "", "| name | what it is |", "|---|---|"]
        for name in registry.TABLES[kind]:
            summary, page = writers[kind](name)
            lines.append(f"| [`{name}`]({name}.md) | {summary} |")
            files.append(File.generated(config, page_of(folder, name), content=page + bibtex(kind, name)))
        index = f"reference/{folder}/index.md"
        files.append(File.generated(config, index, content="\n".join(lines) + "\n"))
    return files


LISTS = {
    "metric": "What `metrics = [...]` of a grid can name. [Metrics](../../metrics.md) compares them, says what each is"
    " fooled by, and how to add one.",
    "model": "What `[[models]]` of a grid can name. [Models](../../models.md) compares them, and says how to add one.",
    "data set": "What `[[datasets]]` of a grid can name. [Data sets](../../data.md) compares them, says where files"
    " come from, and how to bring your own.",
}


def page_of(folder: str, name: str) -> str:
    """Where the page of a name is."""
    return f"reference/{folder}/{name}.md"


def metric_page(name: str) -> tuple[str, str]:
    """(One line on a metric, its page)."""
    metric = registry.resolve("metric", name)
    score, expects = metric.score, metric.expects
    still = [
        kind
        for kind, key in (("order", "permutation"), ("sign", "sign"), ("scale", "scale"))
        if getattr(expects, key)
    ]
    facts = {
        "Paper": linked(metric.paper),
        "Columns in `scores.csv`": code_list(metric.headlines) or "details only",
        "Range": f"{number(expects.lowest)} to {number(expects.highest)}"
        if metric.headlines
        else "see below",
        "Better is": better(metric),
        "Revision": f"{metric.revision}; it goes up whenever the same codes may get another number",
        "Not moved by": f"{', '.join(still)} of the latents",
        "Of real-valued factors it sees": real_valued(metric),
    }
    if metric.training_rows:
        facts["Learns from"] = f"{metric.training_rows:,} rows drawn with replacement, at most"
    parameters = [
        f"| `{key}` | `{parameter.default!r}` |"
        for key, parameter in inspect.signature(score).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    ]
    table = (
        ["## Parameters", "", "| parameter | default |", "|---|---|", *parameters, ""] if parameters else []
    )
    more = section("metrics.md", name)
    lines = [*head(name, facts), *table, "## The function", "", directive(score), ""]
    lines += (
        [f"[What it is fooled by, its ceiling, and how other code differs](../../{more}).", ""]
        if more
        else []
    )
    return first_sentence(score), "\n".join(lines)


def model_page(name: str) -> tuple[str, str]:
    """(One line on a model, its page)."""
    model = model_class(name)
    hints = get_type_hints(model, include_extras=True)
    hypers = [
        f"| `{key}` | hyper-parameter | `{value:g}` | a number of at least 0 |"
        for key, value in model.hypers.items()
    ]
    options = [
        f"| `{key}` | option | `{json.dumps(value)}` | {value_kind(TypeAdapter(hints[key]).json_schema())} |"
        for key, value in model_options(model).items()
    ]
    lines = [
        *head(name, {"Paper": linked(model.paper)}),
        "## Settings in a grid",
        "",
        "Hyper-parameters may differ between the runs of a stack. Options say how the model is built.",
        "",
        "| key | kind | default | allowed |",
        "|---|---|---|---|",
        *hypers,
        *options,
        "",
        "## The class",
        "",
        directive(model, "show_source: true", "show_bases: true", "inherited_members: false"),
        "",
        "[All models beside each other](../../models.md).",
        "",
    ]
    return first_sentence(model), "\n".join(lines)


def dataset_page(name: str) -> tuple[str, str]:
    """(One line on a data set, its page)."""
    source = find_source(name)
    channels, height, width = source.image_shape
    count = math.prod(source.factor_sizes) if source.factor_names else len(source.table)
    facts = {
        "Images": f"{count:,}",
        "Pixels": f"{height} x {width}, channels: {channels}",
        "Provenance": f"`{source.provenance}`",
        "Nuisance": source.nuisance,
    }
    lines = head(name, {key: value for key, value in facts.items() if value})
    if source.factor_names:
        lines += ["## Factors", "", "| factor | values | their names |", "|---|--:|---|"]
        for factor, size in zip(source.factor_names, source.factor_sizes, strict=True):
            lines.append(f"| `{factor}` | {size} | {', '.join(source.labels.get(factor, ()))} |")
        lines.append("")
    files = getattr(getattr(source, "original", source), "files", ())
    if files:
        lines += ["## Files", "", f"`bench data get {source.published}` has them checked.", ""]
        lines += ["| file | from | bytes | hashes |", "|---|---|--:|---|"]
        for file in files:
            hashes = (
                "<br>".join(f"{kind} `{value}`" for kind, value in file.hashes.items()) or "none is published"
            )
            size = "" if file.size is None else f"{file.size:,}"
            lines.append(
                f"| `{file.name}` | {file.url}{' (by hand)' if file.by_hand else ''} | {size} | {hashes} |"
            )
        lines.append("")
    lines += ["[Every data set, its source and its terms](../../data.md).", ""]
    return first_sentence(type(source)), "\n".join(lines)


def head(name: str, facts: dict[str, str]) -> list[str]:
    """The lines that a page begins with: its name, and a table of facts."""
    return [
        f"# `{name}`",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in facts.items()),
        "",
    ]


def directive(what: Any, *options: str) -> str:
    """Where mkdocstrings puts the documentation of a function or class."""
    settings = "".join(f"\n        {option}" for option in ("heading_level: 3", *options))
    return f"::: {what.__module__}.{what.__qualname__}\n    options:{settings}"


def bibtex(kind: str, name: str) -> str:
    """The entries of the papers behind a name, as `bench cite` gives them."""
    known = entries()
    found = "\n".join(known[key] for key in PAPERS[kind].get(name, ()))
    return f"\n## BibTeX\n\n```bibtex\n{found}```\n" if found else ""


def first_sentence(what: Any) -> str:
    """The first line of a docstring, in a table's cell."""
    paragraph = (inspect.getdoc(what) or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", r"\|")


def linked(paper: str) -> str:
    """A paper's line, its arXiv number or its address as a link."""
    paper = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)
    return re.sub(r"(openreview\.net/\S+?)(?=\))", r"[\1](https://\1)", paper)


def section(page: str, name: str) -> str | None:
    """The link to the section of a page of docs/ whose heading names it, None where there is none."""
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("### ") and f"`{name}`" in line:
            return f"{page}#{slugify(line.removeprefix('### ').replace('`', ''), '-')}"
    return None


def better(metric: Any) -> str:
    """Whether more is better."""
    if not metric.headlines:
        return "neither higher nor lower: these are diagnostics"
    return "lower" if metric.lower_is_better else "higher"


def real_valued(metric: Any) -> str:
    """How a metric sees factors that were measured."""
    if not metric.needs_factors:
        return "nothing; it needs no factors"
    return "the values" if metric.takes_values else "ten bins of equal frequency"


def number(value: float) -> str:
    """A bound as people write it."""
    return "any" if math.isinf(value) else f"{value:g}"


def code_list(names: Iterable[str]) -> str:
    """Names as code, with commas."""
    return ", ".join(f"`{name}`" for name in names)
