"""Which images of a data set training sees and which it never does, as the data set's entry in a grid asks."""

from __future__ import annotations

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.parts import hold_out
from disentangle_bench.specs import DatasetSpec


def seen_and_unseen(spec: DatasetSpec, dataset: FactorDataset) -> tuple[FactorDataset, FactorDataset] | None:
    """(the images to train on, those that training never sees); None where the entry holds nothing out.

    Raises BenchError where what is held out does not fit the data set, or nothing is left on one side.
    """
    return None if spec.hold_out is None else hold_out(dataset, spec.hold_out)
