import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng
from sklearn.linear_model import Lasso

from disentangle_bench.metrics.standardised import standardised
from disentangle_bench.metrics.udr import _correlation, _lasso, _relative_strength, udr

CODES = perfect_code(full_factorial((3, 4, 5)))
TURN, _ = np.linalg.qr(rng(3).normal(size=(3, 3)))


def test_equal_runs_agree_whatever_order_sign_and_scale_their_latents_have():
    runs = [CODES, CODES[:, [2, 0, 1]], CODES * np.float32([-1, 5, 0.1])]
    assert udr(runs, rng=rng(), similarity="spearman") == pytest.approx([1, 1, 1], abs=0.1)
    # The Lasso's penalty takes .1 of a correlation of 1.
    assert udr(runs, rng=rng()) == pytest.approx([0.9, 0.9, 0.9], abs=0.02)


def test_a_run_that_mixes_what_the_others_hold_apart_ranks_last():
    runs = [CODES, CODES, CODES, (CODES @ TURN).astype(np.float32)]
    scores = udr(runs, rng=rng())
    assert scores[:3] == pytest.approx([0.9] * 3, abs=0.02)
    assert scores[3] < 0.7


def test_latents_close_to_the_prior_take_no_part():
    idle = np.hstack([CODES, rng(1).normal(size=(60, 1))]).astype(np.float32)
    other = np.hstack([CODES, rng(2).normal(size=(60, 1))]).astype(np.float32)
    kl = [np.array([1.0, 1.0, 1.0, 0.005])] * 2
    assert udr([idle, other], rng=rng(), kl=kl) == pytest.approx([0.9, 0.9], abs=0.02)
    assert (udr([idle, other], rng=rng()) < 0.85).all()
    assert (udr([idle, other], rng=rng(), kl=[np.zeros(4)] * 2) == 0).all()


def test_constants_and_runs_of_other_widths():
    dead = np.hstack([CODES, np.full((60, 2), 0.3)]).astype(np.float32)
    assert udr([CODES, dead], rng=rng()) == pytest.approx([0.9, 0.9], abs=0.02)
    assert (udr([CODES, 0 * CODES], rng=rng()) == 0).all()


@pytest.mark.parametrize("runs", [[CODES], [CODES, CODES[:-1]]])
def test_runs_must_be_several_and_of_the_same_images(runs):
    with pytest.raises(ValueError, match="at least two runs"):
        udr(runs, rng=rng())
    with pytest.raises(ValueError, match="lasso or spearman"):
        udr([CODES, CODES], rng=rng(), similarity="cosine")


def test_all_regressions_at_once_are_each_alone() -> None:
    """Against scikit-learn's Lasso on tables whose latents are correlated, one of them idle."""
    draw = np.random.default_rng(3)
    truth = draw.normal(size=(400, 4))
    tables = [truth @ draw.normal(size=(4, k)) + draw.normal(size=(400, k)) for k in (4, 6)]
    kept = [np.ones(4, dtype=bool), np.array([True] * 5 + [False])]
    correlation, counts = _correlation(tables, kept)
    weights = _lasso(correlation)
    assert counts.tolist() == [4, 5]
    plain = [standardised(table[:, mask]) for table, mask in zip(tables, kept, strict=True)]
    for i, j in ((0, 1), (1, 0), (0, 0)):
        found = Lasso(alpha=0.1, tol=1e-10, max_iter=100_000).fit(plain[i], plain[j]).coef_.T
        assert weights[i, j, : counts[i], : counts[j]] == pytest.approx(found, abs=1e-6)
    assert not weights[1, :, 5].any()
    assert not weights[:, 1, :, 5].any()


def test_rows_and_columns_count_alike() -> None:
    """By hand: columns .8^2/.8, .6^2/1; rows .8^2/1.2, .6^2/.6; the mean of .58 and .5667."""
    likeness = np.array([[0.8, 0.4], [0.0, 0.6]])
    found = _relative_strength(likeness[None, None], np.array([2]))
    assert found == pytest.approx(np.array([[((0.8 + 0.36) / 2 + (0.64 / 1.2 + 0.6) / 2) / 2]]))
