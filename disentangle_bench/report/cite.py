"""What a paper says of a study: a paragraph of methods in LaTeX, and the BibTeX entries that it cites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from disentangle_bench.errors import BenchError
from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.papers import PAPERS, cited, entries, name_of
from disentangle_bench.report.words import latex_text
from disentangle_bench.specs import RunSpec

# Fitted at once, not trained.
FITTED = ("pca", "ica")


def methods(study: StudyDir) -> str:
    """The paragraph: models with their settings, data, training, scoring, metrics with revisions, and versions.

    Raises BenchError where no run of the study has finished.
    """
    records = finished(study)
    specs = [record.spec for record in records]
    settings: dict[str, dict[str, set[float]]] = {}
    for spec in specs:
        for name, value in spec.hypers.items():
            settings.setdefault(spec.model, {}).setdefault(name, set()).add(value)
    models = [
        f"{name_of('model', model)}{_values(settings.get(model, {}))}{cited('model', model)}"
        for model in dict.fromkeys(spec.model for spec in specs)
    ]
    data = [
        f"{latex_text(record.spec.dataset.label)}{cited('data set', record.spec.dataset.name)}"
        f" ({record.provenance['data']['images']:,} images, {_source(record)})"
        for record in {record.spec.dataset.label: record for record in records}.values()
    ]
    metrics = [
        f"{name_of('metric', name)}{cited('metric', name)} (revision {latex_text(str(about['revision']))})"
        for name, about in _metrics(records).items()
    ]
    seeds = sorted({spec.seed for spec in specs})
    counts = Counter(
        (spec.dataset.label, spec.model, *sorted(spec.hypers.items())) for spec in specs
    ).values()
    number = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    latents = _several(spec.network.latents for spec in specs)
    points = _several(record.scores["points"] for record in records)
    versions = records[0].provenance["versions"]
    ours, torch = (latex_text(versions.get(name, "(unknown)")) for name in ("disentangle_bench", "torch"))
    return (
        f"We trained {_listed(models)} on {_listed(data)}, with {number} seeds for each setting ({_range(seeds)}) and"
        f" {latents} latents.{_training([spec for spec in specs if spec.model not in FITTED])} The codes of {points}"
        f" images were scored by {_listed(metrics)}. Intervals are 95\\,\\% confidence intervals of the mean over seeds"
        f" (Student's t). Everything was computed by disentangle\\_bench {ours} with PyTorch {torch}.\n"
    )


def _training(specs: Sequence[RunSpec]) -> str:
    """` Networks were updated ...`, or nothing where none was."""
    if not specs:
        return ""
    steps = _several(spec.training.steps for spec in specs)
    batch = _several(spec.training.batch_size for spec in specs)
    rate = _several(spec.training.learning_rate for spec in specs)
    precision = _several(spec.training.precision for spec in specs)
    return (
        f" Networks were updated {steps} times with batches of {batch} images by Adam~\\cite{{kingma2015}} at a"
        f" learning rate of {rate}, in {precision}."
    )


def bibliography(study: StudyDir) -> str:
    """The BibTeX entries of all that `methods` cites; a comment names the paper of what is not this package's."""
    records = finished(study)
    used = {
        "model": [record.spec.model for record in records],
        "data set": [record.spec.dataset.name for record in records],
        "metric": list(_metrics(records)),
    }
    own = {name: about["paper"] for name, about in _metrics(records).items()}
    keys, others = {"kingma2015"}, {}
    for kind, names in used.items():
        for name in names:
            found = PAPERS[kind].get(name)
            if found is None:
                others[name] = own.get(name, "") if kind == "metric" else ""
            keys |= set(found or ())
    notes = [
        f"% {kept(name)}: {kept(paper) or 'its paper is not known here'}" for name, paper in others.items()
    ]
    return "\n".join([*notes, *(entry for key, entry in entries().items() if key in keys)])


def kept(text: str) -> str:
    """The text in one line, which no comment ends."""
    return " ".join(text.split())


def finished(study: StudyDir) -> list[RunRecord]:
    """The study's finished runs. Raises BenchError where there is none."""
    found = [record for record in study.records(curves=False) if record.failure is None]
    if not found:
        raise BenchError(f"no run of {study.path} has finished: there is nothing to cite yet")
    return found


def _metrics(records: Iterable[RunRecord]) -> dict[str, Mapping[str, Any]]:
    """What is on record of each metric that has scored one of these runs."""
    return {
        name: about
        for record in records
        for name, about in record.scores["metrics"].items()
        if "paper" in about
    }


def _source(record: RunRecord) -> str:
    where = {"official": "as published", "rendered": "drawn again"}
    return where.get(record.provenance["data"]["provenance"], "our own")


def _values(settings: Mapping[str, set[float]]) -> str:
    """` ($\\beta$ = 1, 4)`, the values of all hyper-parameters."""
    said = [
        f"{latex_text(name)} = {', '.join(f'{value:g}' for value in sorted(v))}"
        for name, v in settings.items()
    ]
    return f" ({'; '.join(said)})" if said else ""


def _several(values: Iterable[Any]) -> str:
    """Different values in words: `4,000` or `4,000 or 8,000`."""
    return " or ".join(_number(value) for value in dict.fromkeys(values))


def _number(value: Any) -> str:
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _range(seeds: Sequence[int]) -> str:
    whole = len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1))
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"
