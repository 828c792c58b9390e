import numpy as np
import pytest
from known_tables import rng

from disentangle_bench.metrics.beta_vae import beta_vae
from disentangle_bench.metrics.dci import dci
from disentangle_bench.metrics.downstream import downstream_gbt, downstream_logistic
from disentangle_bench.metrics.explicitness import explicitness
from disentangle_bench.metrics.sampling import RowsByValue, draw_points, parted
from disentangle_bench.metrics.sap import sap


@pytest.mark.parametrize("values", [[0, 1, 2], [5, 0, 40_000], [7, 7, 7]])
def test_rows_have_the_value_that_was_drawn(values):
    factor = rng(1).permutation(np.repeat(values, [10, 200, 3]))
    present = np.unique(factor)
    grouped = RowsByValue(factor)
    drawn = grouped.draw_values((500, 4), rng())
    assert set(drawn.ravel()) == set(range(len(present)))
    assert (factor[grouped.draw_rows(drawn, rng())] == present[drawn]).all()


def test_values_are_uniform_however_many_rows_have_them_and_rows_are_uniform_within():
    factor = np.repeat([0, 2], [90, 10])
    grouped = RowsByValue(factor)
    rows = grouped.draw_rows(grouped.draw_values(100_000, rng()), rng(1))
    share = np.bincount(rows, minlength=100) / len(rows)
    assert share[:90] == pytest.approx(0.5 / 90, rel=0.2)
    assert share[90:] == pytest.approx(0.5 / 10, rel=0.05)


def test_points_are_rows_of_the_table_or_all_of_them():
    codes = np.arange(20, dtype=np.float32).reshape(10, 2)
    factors = np.arange(10)[:, None]
    drawn, values = draw_points(codes, factors, 1000, rng())
    assert drawn.dtype == np.float64
    assert drawn.shape == (1000, 2)
    assert (drawn[:, 0] == 2 * values[:, 0]).all()
    assert set(values.ravel()) == set(range(10))
    everything, _ = draw_points(codes, factors, None, rng())
    assert (everything == codes).all()


def test_parts_share_no_row_and_leave_none_out():
    rows = np.arange(30)[:, None]
    for share, size in ((2 / 3, 20), (0.0, 1), (1.0, 29)):
        (train, train_rows), (test, test_rows) = parted(rows.astype(np.float32), rows, share, rng())
        assert (train == train_rows).all()
        assert (test == test_rows).all()
        assert len(train) == size
        assert set(train_rows.ravel()) | set(test_rows.ravel()) == set(range(30))
        assert len(train) + len(test) == 30


@pytest.mark.parametrize(
    ("metric", "key", "chance"),
    [
        (beta_vae, "beta_vae", 1 / 3),
        (dci, "dci_informativeness", (1 / 3 + 1 / 4 + 1 / 5) / 3),
        (explicitness, "explicitness", 1 / 2),
        (downstream_logistic, "downstream_logistic", (1 / 3 + 1 / 4 + 1 / 5) / 3),
        (downstream_gbt, "downstream_gbt", (1 / 3 + 1 / 4 + 1 / 5) / 3),
    ],
)
def test_codes_that_know_nothing_are_at_chance_where_no_row_is_tested_on_that_was_trained_on(
    metric, key, chance
):
    factors = rng(1).integers(0, (3, 4, 5), size=(40, 3))
    codes = rng(2).normal(size=(40, 8)).astype(np.float32)
    assert metric(codes, factors, rng=rng())[key] > chance + 0.3
    assert metric(codes, factors, rng=rng(), disjoint=True)[key] == pytest.approx(chance, abs=0.15)


def test_the_support_vector_machines_of_sap_keep_to_their_part():
    # A factor that rows have by themselves cannot be told of rows that were not there.
    factors = np.arange(12)[:, None]
    codes = factors.astype(np.float32)
    assert sap(codes, factors, rng=rng())["sap"] > 0.1
    assert sap(codes, factors, rng=rng(), disjoint=True)["sap"] == 0
