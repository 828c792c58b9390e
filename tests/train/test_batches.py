"""Batches: uniform over the whole set, without what is held out, or with two factors tied together."""

import pytest
import tiny_data
import torch

from disentangle_bench.errors import BenchError
from disentangle_bench.models.factor_vae import FactorVAE
from disentangle_bench.models.vae import VAE
from disentangle_bench.specs import DatasetSpec
from disentangle_bench.train.batches import Batches
from disentangle_bench.train.step_draws import StepDraws

WHOLE = tiny_data.squares()
EVERY_IMAGE = WHOLE.images(range(48))


def step_images(batches: Batches, seed, step, objective, batch_size: int) -> torch.Tensor:
    draws = StepDraws(batches, objective, {}, batch_size)
    return draws.images(draws.numbers(seed, step)[0], seed, step)


def drawn(steps: int = 40, **entry) -> torch.Tensor:
    """Factors [n, 3] of the images that many steps train on, read off the pixels."""
    batches = Batches(DatasetSpec(name="tiny_data:SQUARES", **entry), WHOLE)
    images = torch.cat([step_images(batches, torch.tensor(0), step, VAE(), 64) for step in range(steps)])
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
    first = step_images(batches, torch.tensor(3), 5, VAE(), 16)
    step_images(batches, torch.tensor(3), 6, VAE(), 16)
    assert torch.equal(step_images(batches, torch.tensor(3), 5, VAE(), 16), first)
    assert not torch.equal(step_images(batches, torch.tensor(3), 6, VAE(), 16), first)


class Paired(FactorVAE):
    """A model of two batches whose second holds partners of the first."""

    pairs = True


ENTRIES: list[dict] = [
    {},
    {"hold_out": {"row": (0, 1), "light": (2,)}},
    {"correlated": {"first": "row", "second": "column", "sigma": 0.2}},
    {"split": {"kind": "random"}},
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_stack_of_seeds_gets_what_each_seed_gets_alone(entry: dict) -> None:
    batches = Batches(DatasetSpec(name="tiny_data:SQUARES", **entry), WHOLE)
    seeds = torch.tensor([0, 5, 2**62])
    for objective in (VAE(), FactorVAE(), *([] if {"hold_out", "split"} & entry.keys() else [Paired()])):
        together = step_images(batches, seeds, torch.tensor(7), objective, 6)
        assert together.shape == (3, 6 * objective.batches, 1, 16, 16)
        for images, seed in zip(together, seeds, strict=True):
            assert torch.equal(images, step_images(batches, seed, 7, objective, 6))


@pytest.mark.parametrize("entry", [ENTRIES[0], ENTRIES[2]])
def test_partners_share_all_factors_but_one_or_more(entry: dict) -> None:
    batches = Batches(DatasetSpec(name="tiny_data:SQUARES", **entry), WHOLE)
    images = step_images(batches, torch.tensor(1), 3, Paired(), 6000)
    alone = step_images(batches, torch.tensor(1), 3, FactorVAE(), 6000)
    assert torch.equal(images[:6000], alone[:6000])  # the first images are those of a model without pairs
    index = (images[:, None] == EVERY_IMAGE[None]).flatten(2).all(dim=2).int().argmax(dim=1)
    first, second = WHOLE.factors(index).split(6000)
    equal = first == second
    assert equal.sum(dim=1).min() >= 1  # k is at most factors - 1
    if not entry:
        # Half of the pairs change one factor, half two; a changed factor of n values agrees by chance once in n.
        expected = [0.5 + 0.5 / size for size in WHOLE.factor_sizes]
        assert equal.double().mean(0).tolist() == pytest.approx(expected, abs=0.03)
        single = 0.5 * (2 * 3 / 4 + 2 / 3) / 3 + 0.5 * (2 * (0.75 / 3 + 2 / 3 / 4) + 2 * 0.75 / 4) / 3
        assert float((equal.sum(1) == 2).double().mean()) == pytest.approx(single, abs=0.03)
    else:
        # A partner keeps the tie where both factors of it are changed or neither is: in a third of all pairs.
        tied, partners = (torch.corrcoef(rows.double().T)[0, 1] for rows in (first, second))
        assert float(partners) == pytest.approx(float(tied) / 3, abs=0.05)


def test_pairs_need_a_full_grid() -> None:
    batches = Batches(DatasetSpec(name="tiny_data:SQUARES", **ENTRIES[1]), WHOLE)
    batches.check(FactorVAE())
    with pytest.raises(BenchError, match="every combination"):
        batches.check(Paired())


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
