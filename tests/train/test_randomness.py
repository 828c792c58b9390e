"""Randomness: known words, uniform and normal by a test of fit, and a function of (seed, step, purpose) alone."""

import numpy as np
import pytest
import torch
from scipy import stats
from stack_cases import TRAINED, alone, runs_of

from disentangle_bench import randomness
from disentangle_bench.models.draws import Normal, Permutations
from disentangle_bench.train.step_draws import Ahead


def test_words_are_splitmix64() -> None:
    # The published generator started at 1234567 gives these five words (Steele, Lea & Flood's reference code).
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    found = randomness.words(torch.tensor(1234567), 5).tolist()
    assert [word % 2**64 for word in found] == expected


def test_uniform_and_normal_fit_their_distributions() -> None:
    stream = randomness.key(torch.tensor(0), 1, "test")
    assert stats.kstest(randomness.uniform(stream, 100_000).numpy(), "uniform").pvalue > 0.01
    values = randomness.normal(stream, (50_000, 2)).numpy()
    assert stats.kstest(values.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.02
    assert np.isfinite(values).all()


def test_integers_reach_every_value_evenly() -> None:
    counts = torch.bincount(
        randomness.integers(randomness.key(torch.tensor(5), 1, "x"), 70_000, 7), minlength=7
    )
    assert len(counts) == 7
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


def test_permutations_are_permutations_and_all_alike() -> None:
    drawn = randomness.permutations(randomness.key(torch.tensor(2), 9, "p"), 3, 6000)
    assert torch.equal(drawn.sort(dim=0).values, torch.arange(3)[:, None].expand(3, 6000))
    codes = (drawn * torch.tensor([9, 3, 1])[:, None]).sum(0)
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


def test_streams_of_other_seeds_steps_and_purposes_are_unrelated() -> None:
    base = randomness.key(torch.tensor(0), 1, "a")
    others = [
        randomness.key(torch.tensor(1), 1, "a"),
        randomness.key(torch.tensor(0), 2, "a"),
        randomness.key(torch.tensor(0), 1, "b"),
    ]
    first = randomness.uniform(base, 20_000)
    for other in others:
        assert abs(np.corrcoef(first, randomness.uniform(other, 20_000))[0, 1]) < 0.03


def test_a_stack_of_seeds_draws_what_each_seed_draws_alone() -> None:
    seeds = torch.tensor([0, 7, 2**62])
    asked = {"noise": Normal((4, 3)), "order": Permutations(5, 2)}
    together = randomness.draw(asked, seeds, 11)
    for row, seed in enumerate(seeds):
        alone = randomness.draw(asked, seed, 11)
        for name in asked:
            assert torch.equal(together[name][row], alone[name])


def test_a_shorter_draw_is_the_start_of_a_longer_one() -> None:
    stream = randomness.key(torch.tensor(3), 4, "batch")
    assert torch.equal(randomness.integers(stream, 64, 1000), randomness.integers(stream, 128, 1000)[:64])
    assert torch.equal(randomness.normal(stream, (8, 3)), randomness.normal(stream, (16, 3))[:8])


def test_sampling_without_replacement() -> None:
    stream = randomness.key(torch.tensor(1), 0, "points")
    drawn = randomness.sample_without_replacement(stream, 100, 1000)
    assert len(drawn.unique()) == 100
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    assert torch.equal(randomness.sample_without_replacement(stream, 50, 20), torch.arange(20))


@pytest.mark.parametrize("model", TRAINED)
@pytest.mark.parametrize("batch_size", [8, 63])
def test_steps_drawn_ahead_are_the_steps_drawn_one_by_one(model: str, batch_size: int) -> None:
    spec = runs_of(model, batch_size=batch_size)[0]
    program = alone(spec)
    draws, ahead = program.draws, Ahead(program.draws, program.seed)
    for step in (
        1,
        2,
        ahead.steps,
        ahead.steps + 1,
        ahead.steps + 2,
        1000,
        7,
    ):  # 7: after a resume from an earlier step
        index, noise = ahead.numbers(step)
        expected_index, expected = draws.numbers(program.seed, torch.tensor(step))
        assert torch.equal(index, expected_index)
        assert noise.keys() == expected.keys()
        assert all(torch.equal(noise[name], expected[name]) for name in expected)
