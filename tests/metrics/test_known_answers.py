"""Scores worked out by hand, for the metrics without a file of their own."""

import numpy as np
import pytest
from known_tables import full_factorial, perfect_code, rng
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import roc_auc_score

from disentangle_bench.metrics.dci import concentration, dci
from disentangle_bench.metrics.dcimig import dcimig
from disentangle_bench.metrics.explicitness import _mean_area, explicitness
from disentangle_bench.metrics.infomec import concentration as share_concentration
from disentangle_bench.metrics.infomec import infomec
from disentangle_bench.metrics.irs import irs
from disentangle_bench.metrics.jemmig import jemmig
from disentangle_bench.metrics.mig_sup import mig_sup
from disentangle_bench.metrics.modularity import modularity
from disentangle_bench.metrics.mutual_information import entropies
from disentangle_bench.metrics.neighbour_information import neighbour_information
from disentangle_bench.metrics.sampling import draw_distinct
from disentangle_bench.metrics.sap import sap, sap_continuous
from disentangle_bench.metrics.unsupervised import unsupervised

# Two coins. BOTH tells them apart by four values, SUM by three (0, 1, 2).
COINS = full_factorial((2, 2))
BOTH = COINS @ np.array([[2], [1]])
SUM = COINS.sum(axis=1, keepdims=True)
BIT = np.log(2)

FACTORS = full_factorial()
PERFECT = perfect_code(FACTORS)


def exact(metric, codes, factors=COINS):
    """The headline on all points."""
    codes = np.asarray(codes, dtype=np.float32)
    return metric(codes, factors, rng=rng(), points=None)[metric.__name__]


def sampled(metric, codes, factors=COINS):
    return metric(np.asarray(codes, dtype=np.float32), factors, rng=rng())


def test_mig_sup():
    assert exact(mig_sup, PERFECT, FACTORS) == pytest.approx(1)
    assert exact(mig_sup, np.hstack([COINS, COINS])) == pytest.approx(1)
    assert exact(mig_sup, BOTH) == pytest.approx(0)
    # A latent that knows one factor, one that knows both, and a constant that is left out.
    assert exact(mig_sup, np.hstack([COINS[:, :1], BOTH, 0 * BOTH])) == pytest.approx(0.5)


def test_jemmig():
    assert exact(jemmig, PERFECT, FACTORS) == pytest.approx(1)
    # Nothing to rival it, but it carries a bit of the other coin: H(z, v) - I = 1 bit of the 1 + log2(20) at most.
    assert exact(jemmig, BOTH) == pytest.approx(1 - BIT / (BIT + np.log(20)))
    # A copy rivals it by all of its bit.
    assert exact(jemmig, np.hstack([COINS, COINS])) == pytest.approx(1 - BIT / (BIT + np.log(20)))


def test_dcimig():
    assert exact(dcimig, PERFECT, FACTORS) == pytest.approx(1)
    assert exact(dcimig, np.hstack([COINS, COINS, 0 * BOTH])) == pytest.approx(1)
    assert exact(dcimig, COINS[:, :1]) == pytest.approx(0.5)
    assert exact(dcimig, BOTH) == pytest.approx(0)


def test_modularity():
    assert exact(modularity, PERFECT, FACTORS) == pytest.approx(1)
    assert exact(modularity, BOTH) == pytest.approx(0)
    assert exact(modularity, np.hstack([COINS[:, :1], BOTH, 0 * BOTH])) == pytest.approx(0.5)
    # Of three coins one latent tells two apart and nothing of the third: 1 - (1 + 0) / (1 * 2).
    three = full_factorial((2, 2, 2))
    assert exact(modularity, three[:, :2] @ np.array([[2], [1]]), three) == pytest.approx(0.5)


def test_sap():
    # Each latent is always right about its own coin and half the time about the other.
    assert sampled(sap, COINS)["sap"] == pytest.approx(0.5, abs=0.02)
    assert sampled(sap, np.hstack([COINS, COINS]))["sap"] == pytest.approx(0, abs=0.02)
    # Of many values in a row lines cut out the two ends alone.
    row = full_factorial((40,))
    assert sampled(sap, perfect_code(row), row)["sap"] == pytest.approx(2 / 40, abs=0.01)


def test_sap_continuous():
    assert exact(sap_continuous, PERFECT, FACTORS) == pytest.approx(1)
    assert exact(sap_continuous, np.hstack([COINS, COINS])) == pytest.approx(0)
    # The sum of two coins correlates with each by sqrt(1/2).
    assert exact(sap_continuous, SUM) == pytest.approx(0.5)
    assert exact(sap_continuous, np.hstack([COINS, SUM])) == pytest.approx(0.5)


def test_explicitness():
    assert sampled(explicitness, COINS)["explicitness"] == pytest.approx(1)
    assert sampled(explicitness, COINS @ [[1.0, 1.0], [-1.0, 1.0]])["explicitness"] == pytest.approx(1)
    # One coin is told for certain, the other is guessed: areas 1 and 1/2.
    assert sampled(explicitness, COINS[:, :1])["explicitness"] == pytest.approx(0.75, abs=0.02)
    assert sampled(explicitness, 0 * COINS)["explicitness"] == 0.5


def test_areas_are_those_of_scikit_learn():
    values = rng(1).integers(4, size=300)
    probabilities = rng(2).dirichlet(np.ones(4), size=300).round(2)
    expected = [roc_auc_score(values == k, probabilities[:, k]) for k in range(4)]
    assert _mean_area(probabilities, np.arange(4), values) == pytest.approx(np.mean(expected))
    # A value that the points do not have, and one that was never learnt, have no area.
    assert _mean_area(probabilities, np.array([0, 1, 2, 9]), values) == pytest.approx(np.mean(expected[:3]))


def test_irs():
    assert sampled(irs, PERFECT, FACTORS)["irs"] == pytest.approx(1)
    # With one coin held the sum is half off its mean there, of a reach of 1.
    assert sampled(irs, SUM)["irs"] == pytest.approx(0.5, abs=0.02)
    # A latent of twice the reach weighs twice as much; a constant is not counted.
    assert sampled(irs, np.hstack([2 * SUM, COINS * 2, 0 * SUM])) == {
        "irs": pytest.approx((2 * 0.5 + 1 + 1) / 4, abs=0.02),
        "irs_active": 3.0,
    }


def test_infomec():
    scores = sampled(infomec, np.repeat(PERFECT, 50, axis=0), np.repeat(FACTORS, 50, axis=0))
    assert [scores[key] for key in ("infom", "infoc", "infoe")] == pytest.approx([1, 1, 1], abs=0.02)
    # Neighbours are looked for among the rows themselves, so there must be many.
    coins = np.repeat(COINS, 1000, axis=0)
    both = coins @ np.array([[2], [1]])
    # The lone latent knows both coins alike; being alone, it is each factor's only one.
    scores = sampled(infomec, both, coins)
    assert scores["infom"] == pytest.approx(0, abs=0.02)
    assert scores["infoc"] == 1
    # Two copies share each coin: no concentration. Linear classifiers lose nothing.
    scores = sampled(infomec, np.hstack([coins, coins]), coins)
    assert [scores["infom"], scores["infoe"]] == pytest.approx([1, 1], abs=0.02)
    assert scores["infoc"] == pytest.approx((1 / 2 - 1 / 4) / (1 - 1 / 4), abs=0.02)
    # A latent of a hundredth of the range takes no part.
    assert sampled(infomec, np.hstack([coins, 0.01 * coins]), coins)["infom_active"] == 2


def noisy_perfect_code(points):
    """Three factors of ten values, drawn at random, each with a latent of its own and a little noise."""
    factors = rng(5).integers(10, size=(points, 3))
    return (perfect_code(factors) + 0.05 * rng(6).normal(size=factors.shape)).astype(np.float32), factors


@pytest.mark.parametrize("points", [200, 1_000, 10_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_infomec_of_a_table_does_not_depend_on_its_length(points):
    codes, factors = noisy_perfect_code(points)
    scores = sampled(infomec, codes, factors)
    assert [scores["infom"], scores["infoc"]] == pytest.approx([0.99, 0.99], abs=0.01)
    # The same as scikit-learn's estimate on every row once.
    if points <= 1_000:
        known = [mutual_info_classif(codes, column, n_neighbors=10, random_state=0) for column in factors.T]
        shares = np.stack(known, axis=1) / entropies(factors)
        assert scores["infom"] == pytest.approx(share_concentration(shares), abs=0.005)
        assert scores["infoc"] == pytest.approx(share_concentration(shares.T), abs=0.005)


def test_rows_of_infomec_are_different_ones():
    codes, factors = noisy_perfect_code(1_000)
    rows, values = draw_distinct(codes, factors, 300, rng())
    assert len(np.unique(rows, axis=0)) == 300
    assert {(*row, *value) for row, value in zip(rows, values, strict=True)} <= {
        (*row, *value) for row, value in zip(codes, factors, strict=True)
    }
    rows, values = draw_distinct(codes, factors, 1_001, rng())
    assert (rows == codes).all()
    assert (values == factors).all()


def test_neighbour_information():
    factor = np.arange(4000) % 4
    noise = rng(1).normal(size=4000)
    assert neighbour_information(factor + 0.01 * noise, factor, 10, rng()) == pytest.approx(
        np.log(4), abs=0.01
    )
    assert neighbour_information(factor.astype(float), factor, 10, rng()) == pytest.approx(
        np.log(4), abs=0.01
    )
    assert neighbour_information(noise, factor, 10, rng()) == pytest.approx(0, abs=0.03)
    # Uniform on 0..2 for one value, on 1..3 for the other: half of the points are told, half are not.
    factor, within = factor % 2, rng(2).random(4000) * 2
    assert neighbour_information(factor + within, factor, 10, rng()) == pytest.approx(BIT / 2, abs=0.03)


@pytest.mark.parametrize("kind", ["smooth", "a few exact values"])
def test_neighbour_information_is_that_of_scikit_learn(kind):
    factors = rng(1).integers(0, (3, 40), size=(4000, 2))
    codes = (factors @ [[1.0, 0.3], [0.0, 0.1]] + 0.5 * rng(2).normal(size=(4000, 2))).round(1)
    codes += (kind == "smooth") * 0.1 * rng(3).normal(size=codes.shape)
    for factor in factors.T:
        expected = mutual_info_classif(codes, factor, n_neighbors=10, random_state=0)
        ours = [neighbour_information(latent, factor, 10, rng()) for latent in codes.T]
        assert ours == pytest.approx(expected, abs=1e-3 if kind == "smooth" else 0.02)


def test_dci():
    scores = sampled(dci, PERFECT, FACTORS)
    assert list(scores.values()) == pytest.approx([1, 1, 1, 1])
    # BOTH predicts both coins; with no other latent completeness has nothing to ask.
    scores = sampled(dci, BOTH)
    assert scores["dci_disentanglement"] == pytest.approx(0, abs=0.01)
    assert scores["dci_completeness"] == scores["dci_informativeness"] == 1
    # Two copies of each share its importance evenly: entropy log 2 of log 4.
    scores = sampled(dci, np.hstack([COINS, COINS]))
    assert scores["dci_disentanglement"] == pytest.approx(1)
    assert scores["dci_completeness"] == pytest.approx(0.5, abs=0.05)
    assert sampled(dci, COINS[:, :1])["dci_informativeness"] == pytest.approx(0.75, abs=0.02)
    assert concentration(np.array([[0.9, 0.0], [0.05, 0.05]])) == pytest.approx(0.9)


def test_the_fast_booster_of_dci_is_the_exact_one_but_for_its_bins():
    codes = (np.repeat(PERFECT, 20, axis=0) @ rng(1).normal(size=(3, 4))).astype(np.float32)
    codes += 0.3 * rng(2).normal(size=codes.shape).astype(np.float32)
    factors = np.repeat(FACTORS, 20, axis=0)
    few = {"rng": rng(), "train_points": 1000, "test_points": 500}
    fast = dci(codes, factors, **few)
    slow = dci(codes, factors, **{**few, "rng": rng()}, booster="exact")
    assert list(fast.values()) == pytest.approx(list(slow.values()), abs=0.02)
    with pytest.raises(ValueError, match="booster must be one of histogram, exact"):
        dci(codes, factors, rng=rng(), booster="forest")


def test_diagnostics():
    # Three unit coins: the second equals the first with probability .9, so they correlate by .8.
    same = rng(1).random(20_000) < 0.9
    first, third = rng(2).choice([-1, 1], size=(2, 20_000))
    codes = np.stack([first, np.where(same, first, -first), third, 0 * first + 0.3], axis=1)
    scores = sampled(unsupervised, codes, np.zeros((20_000, 1), dtype=np.int64))
    assert scores["active_units"] == 3
    assert scores["gaussian_total_correlation"] == pytest.approx(-0.5 * np.log(1 - 0.8**2), abs=0.03)
    distance = 2 * 2 - 2 * (np.sqrt(1.8) + np.sqrt(0.2))
    assert scores["wasserstein_dependence"] == pytest.approx(distance, abs=0.03)
    assert scores["wasserstein_dependence_norm"] == pytest.approx(distance / 3, abs=0.01)
    told = BIT + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)
    assert scores["mean_pairwise_information"] == pytest.approx(told / 6, abs=0.01)
