"""Everything that is refused before a run starts, in one place: `bench validate` and `bench run` ask the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from disentangle_bench import registry
from disentangle_bench.build import build_nothing, new_objective
from disentangle_bench.data.channels import check_shape
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import find_source
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.without_factors import (
    refuse_all_left_out,
    scored_and_left_out,
    words_of_factors,
)
from disentangle_bench.grid import Grid, expand
from disentangle_bench.models.objective import NetworkSize, is_fitted, with_data_facts
from disentangle_bench.processes.worker import Caller, Surroundings, Worker, may_fork
from disentangle_bench.specs import RunSpec
from disentangle_bench.study.plan import check_headlines
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.network_check import MOST_WEIGHTS, check_layers, check_one_step

# A source that says nothing of its table counts as a grid, whose combinations may be more than can be listed.
MOST_IMAGES = 1 << 27


def check_study(grid: Grid) -> list[str]:
    """Raise BenchError where the grid's runs cannot be had of its data sets; no image is read and nothing written.

    Gives what a user should hear before it starts, in sentences. A data set's factors, sizes and number of images are
    looked at, as its source or its file's head tells them.
    """
    check_headlines(grid)
    outlines = {
        entry.label: find_source(entry.name, entry.parameters).outline(entry.every, entry.size)
        for entry in grid.datasets
    }
    for entry in grid.datasets:
        for other in entry.score_on or ():
            outline = find_source(other.name, other.parameters).outline(other.every, other.size)
            for both in (outline, outlines[entry.label]):
                both.check_labelled("score_on")
            check_shape(other.label, outline.image_shape, outlines[entry.label].image_shape)
        if len(outlines[entry.label]) <= MOST_IMAGES:
            Batches(entry, outlines[entry.label])
    for spec in {spec.program: spec for spec in expand(grid)}.values():
        if spec.model not in registry.MODELS and may_fork():
            check_apart(spec)
        else:
            check_model(spec, outlines[spec.dataset.label])
    return _words(grid, outlines)


def _words(grid: Grid, outlines: Mapping[str, FactorDataset]) -> list[str]:
    """What is left out where images have no factors, and how many are scored where only some have them.

    Raises BenchError where nothing of the metrics that the grid names would be left.
    """
    without = [label for label, dataset in outlines.items() if not dataset.factor_names]
    # The metrics of a grid that names none are no mistake of its author.
    if len(without) == len(outlines) and grid.metrics != Grid.model_fields["metrics"].default:
        refuse_all_left_out(grid.metrics, without)
    words = []
    for label, dataset in outlines.items():
        _, left_out = scored_and_left_out(grid.metrics, dataset)
        controls = ("controls",) * (grid.controls and not dataset.factor_names)
        words += words_of_factors(label, dataset, (*left_out, *controls))
    return words


def check_metrics(grid: Grid, asked: Sequence[str]) -> None:
    """Raise BenchError where all of these further metrics need factors, which none of the grid's data sets has."""
    if not any(find_source(entry.name, entry.parameters).factor_names for entry in grid.datasets):
        refuse_all_left_out(asked, [entry.label for entry in grid.datasets])


def check_apart(spec: RunSpec) -> None:
    """As `check_model`, in a process of its own, which anyone's model may end."""
    worker = Worker(Surroundings.here())
    try:
        worker.give(_check, spec)
        kind, content = worker.hear() or ("", "")
    finally:
        worker.end()
    if kind == "refused":
        raise BenchError(content)
    if kind != "done":
        raise BenchError(f"model {spec.model!r} cannot be tried: {content}")


def _check(caller: Caller, spec: RunSpec) -> None:
    asked = spec.dataset
    check_model(spec, find_source(asked.name, asked.parameters).outline(asked.every, asked.size))


def check_model(spec: RunSpec, dataset: FactorDataset) -> None:
    """Raise BenchError where the spec's model cannot be built for these images, or may not be trained as it is."""
    listed = len(dataset) <= MOST_IMAGES
    images = len(Batches(spec.dataset, dataset).dataset) if listed else len(dataset)
    objective = with_data_facts(new_objective(spec), images, dataset.image_shape)
    size = NetworkSize(**spec.network.model_dump())
    networks = build_nothing(spec, objective, dataset.image_shape)
    check_layers(spec.model, networks)
    if (
        sum(weight.numel() for network in networks.values() for weight in network.parameters())
        <= MOST_WEIGHTS
    ):
        check_one_step(spec.model, objective, dataset.image_shape, size, spec.hypers)
    if listed:
        check_pairs(spec, dataset)


def check_pairs(spec: RunSpec, dataset: FactorDataset) -> None:
    """Raise BenchError where the spec's model trains on pairs that these images do not make up."""
    objective = new_objective(spec)
    if not is_fitted(objective) and objective.pairs:
        Batches(spec.dataset, dataset).check(objective)
