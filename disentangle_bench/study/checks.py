"""Everything that is refused before a run starts, in one place: `bench validate` and `bench run` ask the same."""

from __future__ import annotations

from disentangle_bench import registry
from disentangle_bench.build import build_nothing, new_objective
from disentangle_bench.data.channels import check_shape
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import find_source
from disentangle_bench.errors import BenchError
from disentangle_bench.grid import Grid, expand
from disentangle_bench.models.objective import NetworkSize, is_fitted, with_data_facts
from disentangle_bench.processes.worker import Caller, Surroundings, Worker, may_fork
from disentangle_bench.specs import RunSpec
from disentangle_bench.study.plan import check_headlines
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.network_check import MOST_WEIGHTS, check_layers, check_one_step

# A source that says nothing of its table counts as a grid, whose combinations may be more than can be listed.
MOST_IMAGES = 1 << 27


def check_study(grid: Grid) -> None:
    """Raise BenchError where the grid's runs cannot be had of its data sets; no image is read and nothing written.

    A data set's factors, sizes and number of images are looked at, as its source or its file's head tells them.
    """
    check_headlines(grid)
    outlines = {
        entry.label: find_source(entry.name).outline(entry.every, entry.size) for entry in grid.datasets
    }
    for entry in grid.datasets:
        for other in entry.score_on or ():
            outline = find_source(other.name).outline(other.every, other.size)
            check_shape(other.label, outline.image_shape, outlines[entry.label].image_shape)
        if len(outlines[entry.label]) <= MOST_IMAGES:
            Batches(entry, outlines[entry.label])
    for spec in {spec.program: spec for spec in expand(grid)}.values():
        if spec.model not in registry.MODELS and may_fork():
            check_apart(spec)
        else:
            check_model(spec, outlines[spec.dataset.label])


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
    check_model(spec, find_source(spec.dataset.name).outline(spec.dataset.every, spec.dataset.size))


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
