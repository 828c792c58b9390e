"""Batches: uniform over the whole set, without what is held out, or with two factors tied together."""

import pytest
import tiny_data
import torch

from disentangle_bench.errors import BenchError
from disentangle_bench.spec import DatasetSpec
from disentangle_bench.train.batches import Batches

WHOLE = tiny_data.squares()
EVERY_IMAGE = WHOLE.images(range(48))


def drawn(steps: int = 40, **entry) -> torch.Tensor:
    """Factors [n, 3] of the images that many steps train on, read off the pixels."""
    batches = Batches(DatasetSpec(name="tiny_data:SQUARES", **entry), WHOLE)
    images = torch.cat([batches.images(torch.tensor(0), step, 64) for step in range(steps)])
    index = (images[:, None] == EVERY_IMAGE[None]).flatten(2).all(dim=2).int().argmax(dim=1)
    return WHOLE.factors(index)


def test_all_images_are_drawn_alike() -> None:
    counts = torch.bincount(WHOLE.index(drawn()), minlength=48)
    assert counts.min() > 20
    assert counts.max() < 100


def test_held_out_combinations_are_never_trained_on() -> None:
    factors = drawn(hold_out={"row": (0, 1), "light": (2,)})
    held = (factors[:, 0] <= 1) & (factors[:, 2] == 2)
    assert not held.any()
    assert len(WHOLE.index(factors).unique()) == 48 - 8


def test_correlated_factors_go_together_and_the_third_stays_free() -> None:
    factors = drawn(correlated={"first": "row", "second": "column", "sigma": 0.1}).double()
    correlation = torch.corrcoef(factors.T)
    assert correlation[0, 1] > 0.9
    assert correlation[:2, 2].abs().max() < 0.1
    free = torch.corrcoef(drawn(correlated={"first": "row", "second": "column", "sigma": 50.0}).double().T)
    assert abs(free[0, 1]) < 0.1


def test_batches_are_a_function_of_seed_and_step() -> None:
    batches = Batches(DatasetSpec(name="tiny_data:SQUARES"), WHOLE)
    first = batches.images(torch.tensor(3), 5, 16)
    batches.images(torch.tensor(3), 6, 16)
    assert torch.equal(batches.images(torch.tensor(3), 5, 16), first)
    assert not torch.equal(batches.images(torch.tensor(3), 6, 16), first)


@pytest.mark.parametrize(
    "entry",
    [
        {"hold_out": {"rwo": (0,)}},
        {"hold_out": {"row": (9,)}},
        {"correlated": {"first": "row", "second": "row", "sigma": 1.0}},
    ],
)
def test_what_does_not_fit_is_refused(entry: dict) -> None:
    with pytest.raises(BenchError):
        Batches(DatasetSpec(name="tiny_data:SQUARES", **entry), WHOLE)
