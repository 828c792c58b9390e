"""Factors that are tied together: each form has the distribution that it states, and one pair draws as ever."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_data
import torch

from disentangle_bench import randomness
from disentangle_bench.data.correlated import CorrelatedFactors, Tie
from disentangle_bench.errors import BenchError
from disentangle_bench.grid_file import check_grid
from disentangle_bench.specs import DatasetSpec
from disentangle_bench.train.batches import Batches

SQUARES = tiny_data.squares()  # row 4, column 4, light 3
ROW, COLUMN, LIGHT = (np.linspace(0, 1, size) for size in (4, 4, 3))


def near(a: np.ndarray, b: np.ndarray, sigma: float) -> np.ndarray:
    return np.exp(-((a[:, None] - b) ** 2) / (2 * sigma**2))


# The ties, and the weight of each image [row, column, light].
STATED = {
    "a pair": ([Tie("row", "column", 0.2)], near(ROW, COLUMN, 0.2)[:, :, None] * np.ones(3)),
    "inverse": ([Tie("row", "light", 0.3, True)], near(ROW, 1 - LIGHT, 0.3)[:, None] * np.ones((4, 1))),
    "a confounder": (
        [Tie("light", "*", 0.4)],
        near(ROW, LIGHT, 0.4)[:, None] * near(COLUMN, LIGHT, 0.4)[None],
    ),
    "a chain": (
        [Tie("row", "column", 0.2), Tie("light", "column", 0.5, True)],
        near(ROW, COLUMN, 0.2)[:, :, None] * near(COLUMN, 1 - LIGHT, 0.5)[None],
    ),
}


@pytest.mark.parametrize("name", STATED)
def test_images_come_up_as_often_as_their_ties_say(name: str) -> None:
    ties, weights = STATED[name]
    count = 300_000
    uniforms = torch.rand(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = torch.bincount(CorrelatedFactors(SQUARES, ties).index(uniforms), minlength=48).numpy() / count
    wanted = (weights / weights.sum()).ravel()
    # Five standard errors of each of 48 shares.
    assert (np.abs(drawn - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / count) + 1e-6).all()


def test_two_pairs_leave_each_other_alone() -> None:
    """Of four factors the first two and the last two are tied: the halves are independent."""
    four = replace(SQUARES, factor_names=("a", "b", "c", "d"), factor_sizes=(3, 4, 5, 2))
    tied = CorrelatedFactors(four, [Tie("a", "b", 0.2), Tie("c", "d", 0.2, True)])
    uniforms = torch.rand(100_000, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    correlation = np.corrcoef(four.factors(tied.index(uniforms)).numpy().T)
    assert correlation[0, 1] > 0.8
    assert correlation[2, 3] < -0.8
    assert np.abs(correlation[:2, 2:]).max() < 0.02


def test_one_pair_draws_the_images_that_it_drew_before_there_were_others() -> None:
    uniforms = randomness.uniform(randomness.key(torch.tensor(0), 0, "x"), 36).reshape(12, 3)
    found = CorrelatedFactors(SQUARES, [Tie("row", "column", 0.2)]).index(uniforms)
    assert found.tolist() == [29, 14, 19, 47, 47, 15, 46, 0, 16, 31, 2, 32]


@pytest.mark.parametrize(
    ("ties", "message"),
    [
        ([Tie("row", "column", 0.2), Tie("row", "column", 0.2)], "tied to the same factors in two ways"),
        ([Tie("row", "*", 0.2), Tie("column", "light", 0.2)], "make no ring"),
        ([Tie("rwo", "*", 0.2)], "unknown factor of squares 'rwo'"),
    ],
)
def test_ties_that_cannot_be_drawn_are_refused(ties: list[Tie], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        CorrelatedFactors(SQUARES, ties)


def test_however_small_sigma_is_both_ends_meet() -> None:
    tied = CorrelatedFactors(SQUARES, [Tie("row", "light", 1e-4, True), Tie("column", "light", 1e-4)])
    uniforms = torch.rand(1000, 3, generator=torch.Generator().manual_seed(2))
    assert set(map(tuple, SQUARES.factors(tied.index(uniforms)).tolist())) == {(3, 0, 0), (0, 3, 2)}


def test_a_grid_has_one_tie_or_a_list_of_them_and_labels_tell_them_apart() -> None:
    one = {"first": "row", "second": "column", "sigma": 0.2}
    entries = [one, [one], one | {"inverse": True}, one | {"second": "*"}, [one, one | {"second": "light"}]]
    specs = [DatasetSpec(name="tiny_data:SQUARES", correlated=entry) for entry in entries]
    assert specs[0] == specs[1]
    assert [spec.label.split("[")[1] for spec in specs[1:]] == [
        "row~column 0.2]",
        "row~-column 0.2]",
        "row~* 0.2]",
        "row~column 0.2,row~light 0.2]",
    ]
    assert specs[1].model_dump()["correlated"] == one
    for spec, entry in zip(specs, entries, strict=True):
        document = {"name": "g", "models": [{"name": "vae"}], "metrics": ["mig"]}
        document["datasets"] = [{"name": "tiny_data:SQUARES", "correlated": entry}]
        grid = check_grid(document)
        assert check_grid(grid.document()).runs == grid.runs
        assert grid.runs[0].dataset == spec
        assert (
            type(grid.runs[0]).model_validate_json(grid.runs[0].model_dump_json(), strict=False)
            == grid.runs[0]
        )


def test_a_stack_of_seeds_gets_what_each_gets_alone() -> None:
    entry = DatasetSpec(
        name="tiny_data:SQUARES", correlated=[{"first": "light", "second": "*", "sigma": 0.2}]
    )
    batches = Batches(entry, SQUARES)
    together = batches.index(torch.tensor([0, 5]), 3, 32)
    assert torch.equal(together[1], batches.index(torch.tensor(5), 3, 32))
    factors = SQUARES.factors(together.flatten()).double()
    assert (torch.corrcoef(factors.T)[2, :2] > 0.6).all()
