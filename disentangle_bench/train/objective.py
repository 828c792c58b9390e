"""The objective of a run, told of the images that it trains on."""

from __future__ import annotations

from disentangle_bench.build import new_objective
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.models.objective import Fitted, Objective, with_data_facts
from disentangle_bench.specs import RunSpec
from disentangle_bench.train.batches import Batches


def make_objective(spec: RunSpec, dataset: FactorDataset) -> Objective | Fitted:
    """The spec's objective with its options, told of its data set where it has a field for that."""
    trained_on = Batches(spec.dataset, dataset).dataset
    return with_data_facts(new_objective(spec), len(trained_on), dataset.image_shape)
