"""Splits by name: which images each rule holds out, counted by hand, and what a grid may say of them."""

import re
import tomllib

import pytest
import tiny_data
import torch
from doc_blocks import DOCS, blocks
from pydantic import ValidationError

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import find_source, load_dataset
from disentangle_bench.data.parts import having, pick
from disentangle_bench.data.variants import COLOR, vary
from disentangle_bench.errors import BenchError
from disentangle_bench.grid_file import check_grid
from disentangle_bench.specs import DatasetSpec, SplitSpec
from disentangle_bench.splits import held_out, held_values, seen_and_unseen
from disentangle_bench.study.checks import check_study

SQUARES = tiny_data.squares()  # row 4, column 4, light 3
FACTORS = SQUARES.factors(range(48))
ROW, COLUMN, LIGHT = FACTORS.T


def split(kind: str, *factors: str, share: float = 0.25) -> SplitSpec:
    return SplitSpec(kind=kind, factors=factors, share=share)


# kind, factors, share; and what is unseen.
BY_HAND = [
    (split("composition", "row", "column"), (ROW >= 2) & (COLUMN >= 2), 12),
    (split("composition", "row", "column", "light"), (ROW >= 1) & (COLUMN >= 1) & (LIGHT >= 1), 18),
    (split("composition", "row", "light", share=0.01), (ROW == 3) & (LIGHT == 2), 4),
    (split("composition", "row", "light", share=0.99), (ROW >= 1) & (LIGHT >= 1), 24),
    (split("interpolation", "row"), ROW == 2, 12),
    (split("interpolation", "row", share=0.5), (ROW == 1) | (ROW == 2), 24),
    (split("interpolation", "row", "light", share=0.5), (ROW == 2) | (LIGHT == 1), 24),
    (split("extrapolation", "row"), ROW == 3, 12),
    (split("extrapolation", "row", share=0.99), ROW >= 1, 36),
    (split("extrapolation", "row", "column", share=0.5), (ROW == 3) | (COLUMN == 3), 21),
]


@pytest.mark.parametrize(("asked", "unseen", "count"), BY_HAND, ids=lambda each: getattr(each, "label", ""))
def test_what_each_split_holds_out(asked: SplitSpec, unseen: torch.Tensor, count: int) -> None:
    held = held_out(asked, SQUARES)
    assert torch.equal(held, unseen)
    assert int(held.sum()) == count
    training, rest = seen_and_unseen(DatasetSpec(name="squares", split=asked), SQUARES)
    assert (len(training), len(rest)) == (48 - count, count)
    assert torch.equal(rest.factors(range(count)), FACTORS[held])


@pytest.mark.parametrize(("share", "count"), [(0.25, 12), (0.5, 24), (0.1, 5), (0.98, 47)])
def test_a_random_split_holds_out_its_share_always_the_same(share: float, count: int) -> None:
    held = held_out(split("random", share=share), SQUARES)
    assert int(held.sum()) == count
    assert torch.equal(held, held_out(split("random", share=share), SQUARES))
    # It is random: neither the first nor the last ones.
    assert set(held.nonzero()[:, 0].tolist()) not in (set(range(count)), set(range(48 - count, 48)))


def test_inner_values_are_spread_evenly_between_the_ends() -> None:
    big = FactorDataset("b", ("x",), (32,), (1, 1, 1), "user", "", SQUARES.store)
    assert held_values(split("interpolation", "x", share=0.1), big, "x") == [6, 16, 26]
    assert held_values(split("interpolation", "x", share=0.99), big, "x") == list(range(1, 31))


def test_by_composition_each_value_is_seen_and_never_all_together() -> None:
    training, unseen = seen_and_unseen(
        DatasetSpec(name="squares", split=split("composition", "row", "column", share=0.5)), SQUARES
    )
    seen, rest = (part.factors(range(len(part))) for part in (training, unseen))
    for column in range(3):
        assert set(seen[:, column].tolist()) == set(FACTORS[:, column].tolist())
    pairs = {tuple(pair) for pair in seen[:, :2].tolist()}
    assert not pairs & {tuple(pair) for pair in rest[:, :2].tolist()}


def test_composition_is_refused_where_a_value_occurs_nowhere_else() -> None:
    """Without the other columns, row 3 is always in columns 2 and 3."""
    rows = (~having(SQUARES, {"row": [3], "column": [0, 1]})).nonzero()[:, 0]
    part = pick(SQUARES, rows, "less")
    with pytest.raises(BenchError, match="row = 3 only among what composition row column"):
        held_out(split("composition", "row", "column"), part)


def test_images_of_one_combination_stay_together() -> None:
    twice = pick(SQUARES, torch.arange(48).repeat(2), "twice")
    held = held_out(split("random"), twice)
    assert int(held.sum()) == 24
    assert torch.equal(held[:48], held[48:])


def test_a_sub_grid_a_smaller_size_and_a_variant_are_split_by_the_values_that_they_have() -> None:
    asked = split("extrapolation", "row", share=0.5)
    entry = {"name": "squares", "split": asked, "every": {"row": 2}, "size": 8}
    small = load_dataset("tiny_data:SQUARES", every={"row": 2}, size=8)
    for dataset in (small, vary(small, COLOR)):
        training, unseen = seen_and_unseen(DatasetSpec(**entry), dataset)
        assert (len(training), len(unseen)) == (12, 12)
        assert set(unseen.factors(range(12))[:, 0].tolist()) == {1}
        assert training.images([0]).shape[2:] == (8, 8)
    assert DatasetSpec(**entry).label == "squares[row/2,8x8,extrapolation row 0.5]"


REFUSED = {
    "composition": "a split by composition needs at least 2",
    "interpolation": "a split by interpolation needs at least 1",
    "mixed": "should be 'random', 'composition', 'interpolation' or 'extrapolation'",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_name_alone_is_enough_for_a_random_split_only(kind: str) -> None:
    assert DatasetSpec(name="squares", split="random").split == SplitSpec(kind="random")
    with pytest.raises(ValidationError, match=REFUSED[kind]):
        DatasetSpec(name="squares", split=kind)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"split": {"kind": "random", "factors": ["row"]}}, "takes no factors"),
        ({"split": {"kind": "extrapolation", "factors": ["row", "row"]}}, "listed twice"),
        ({"split": {"kind": "random", "share": 1.0}}, "less than 1"),
        ({"split": {"kind": "random", "shares": 0.5}}, "Did you mean 'share'"),
        ({"split": "random", "hold_out": {"row": [1]}}, "exclude each other"),
    ],
)
def test_what_a_grid_may_not_say(entry: dict, message: str) -> None:
    document = {"name": "g", "datasets": [{"name": "tiny_data:SQUARES"} | entry], "models": [{"name": "vae"}]}
    with pytest.raises(BenchError, match=message) as error:
        check_grid(document)
    assert "datasets.0" in str(error.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (split("extrapolation", "rwo"), "unknown factor of squares.*rwo.*row"),
        (split("interpolation", "shade"), "needs factors of at least 3 values; shade of few has 2"),
        (split("extrapolation", "single"), "needs factors of at least 2 values; single of few has 1"),
    ],
)
def test_factors_that_do_not_fit_are_refused(asked: SplitSpec, message: str) -> None:
    few = FactorDataset("few", ("shade", "single"), (2, 1), (1, 1, 1), "user", "", SQUARES.store)
    with pytest.raises(BenchError, match=message):
        held_out(asked, SQUARES if "rwo" in asked.factors else few)


def test_a_split_is_part_of_a_runs_name_and_no_other_run_gets_a_new_one() -> None:
    def ids(*entries: dict) -> list[str]:
        datasets = [{"name": "tiny_data:SQUARES"} | entry for entry in entries]
        grid = check_grid({"name": "g", "datasets": datasets, "models": [{"name": "vae"}]})
        assert check_grid(grid.document()) == grid
        return [run.id for run in grid.runs]

    entries = [{"split": "random"}, {"split": {"kind": "random", "share": 0.5}}]
    for kind in ("interpolation", "extrapolation"):
        entries += [{"split": {"kind": kind, "factors": ["row"]}}]
    assert len(set(ids({}, *entries))) == 5
    assert ids({"split": "random"}) == ids({"split": {"kind": "random", "factors": [], "share": 0.25}})
    # What these runs were called before there were splits.
    tie = {"first": "row", "second": "column", "sigma": 0.2}
    old = ids({}, {"hold_out": {"row": [0]}}, {"correlated": tie})
    assert [run.rsplit("-", 1)[1] for run in old] == ["6b30fdc5", "66c113af", "4ddb33c6"]


PAGE = DOCS / "generalisation.md"


def test_the_grids_of_the_page_are_such() -> None:
    whole, transfer, ties = blocks(PAGE, "toml")
    (entry,) = check_grid(tomllib.loads(whole)).datasets
    assert entry.label.endswith("32x32,composition shape posX 0.25]")
    carried = check_grid(tomllib.loads(transfer))
    check_study(carried)
    assert f"`{carried.datasets[0].score_on[0].label}`" in PAGE.read_text()
    tied = check_grid(tomllib.loads(ties) | {"name": "ties", "models": [{"name": "vae"}]})
    assert [len(entry.correlated) for entry in tied.datasets] == [1, 2, 1]


@pytest.mark.parametrize(
    "line", [line for line in PAGE.read_text().splitlines() if re.match(r"\| (dSprites|3D Shapes), ", line)]
)
def test_the_numbers_of_images_on_the_page_are_those(line: str) -> None:
    name, _, unseen, seen = line.split("|")[1:5]
    source = {"dSprites": "dsprites_rendered", "3D Shapes": "shapes3d_rendered"}
    title, words = name.strip().split(", ", 1)
    kind, _, factors = words.partition(" of ")
    asked = split(kind, *re.split(", | and ", factors)) if factors else split(kind)
    held = held_out(asked, find_source(source[title]).outline({}, None))
    found = [f"{int(part.sum()):,}" for part in (held, ~held)]
    assert found == [unseen.strip(), seen.strip()]
