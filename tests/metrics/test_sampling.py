import numpy as np
import pytest
from known_tables import rng

from disentangle_bench.metrics.sampling import RowsByValue, draw_points


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
