"""Known answers by protocol, and that no protocol's numbers can be taken for another's."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from known_tables import full_factorial, perfect_code, rng

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.protocol_metrics import dci_forest, mig_of_densities
from disentangle_bench.evaluation.protocols import PROTOCOLS, score_by_protocol
from disentangle_bench.evaluation.scores import overlap_note, random_codes, score_report
from disentangle_bench.records.schemas import ScoresKept, checked

NAMES = ("shape", "scale", "orientation", "posX", "posY")
FACTORS = full_factorial((3, 6, 8, 8, 8))
PERFECT = perfect_code(FACTORS)
NOISE = random_codes(len(FACTORS), 10)
GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
SLOW = {"dci", "dci_forest"}
QUICK = {name: [key for key in each.metrics if key not in SLOW] for name, each in PROTOCOLS.items()}


def scored(name, codes, metrics=None, factors=FACTORS, names=NAMES, seed=0):
    return score_by_protocol(name, codes, factors, names, seed, metrics)


def headlines(report):
    return {key: report["scores"][key] for about in report["metrics"].values() for key in about["headlines"]}


def test_default_is_this_packages_own_way():
    metrics = ["mig", "infomec", "factor_vae", "irs"]
    codes = 1e6 + PERFECT.astype(np.float64) @ rng(1).normal(size=(5, 4))
    report = scored("default", codes, metrics, seed=3)
    told = report.pop("protocol")
    assert report == score_report(codes, FACTORS, metrics, seed=3)
    assert told == {"name": "default", "points": "all", "replace": False, "left_out": [], "note": ""}
    assert list(PROTOCOLS["default"].metrics) == list(registry.METRICS)


@pytest.mark.parametrize("name", sorted(PROTOCOLS.keys() - {"default"}))
def test_a_perfect_code_gets_one_and_noise_next_to_nothing(name):
    report = scored(name, PERFECT, QUICK[name])
    found = headlines(report)
    assert not report["failures"]
    assert found.pop("sap", 1.0) > 0.4
    assert found == pytest.approx(dict.fromkeys(found, 1.0), abs=0.005)
    noise = headlines(scored(name, NOISE, QUICK[name]))
    ceilings = {"factor_vae": 0.35, "beta_vae": 0.35, "explicitness": 0.53}
    # Ratios, which noise does not lower to 0; a single weight that the penalty leaves is one too.
    for key in noise.keys() - {"modularity", "infom", "infoc", "dci_lasso"}:
        assert noise[key] < ceilings.get(key, 0.05), key


def test_without_pruning_a_constant_latent_takes_every_vote():
    # A touch of noise, so that no other latent is as still as the constant one.
    codes = np.insert(PERFECT + 0.01 * NOISE[:, :5], 2, 0.3, axis=1)
    assert scored("factorvae2018", codes)["scores"] == {"factor_vae": 1.0, "factor_vae_active": 5.0}
    # Then the score is the share of the votes that hold the commonest factor.
    assert 0.2 < scored("infogan_cr", codes, ["factor_vae"])["scores"]["factor_vae"] < 0.3


def test_scores_on_training_rows_say_so():
    report = scored("infogan_cr", NOISE, ["factor_vae", "beta_vae", "mig"])
    assert [report["metrics"][name]["trained_on"] for name in ("factor_vae", "beta_vae", "mig")] == [1, 1, 0]
    assert "factor_vae 100%, beta_vae 100%" in overlap_note(report)


def test_factors_left_out_do_not_matter():
    other = FACTORS.copy()
    other[:, 0] = rng(5).permutation(other[:, 0])
    report = scored("chen2018", PERFECT)
    assert scored("chen2018", PERFECT, factors=other) == report
    assert report["protocol"]["left_out"] == ["shape"]
    # The information table has the columns of those that are left.
    assert np.shape(report["mutual_information"]) == (5, 4)
    assert scored("infogan_cr", PERFECT, ["mig"], factors=other)["scores"]["mig"] < 0.9


def test_a_code_of_the_shape_alone_is_worth_nothing_without_the_shape():
    assert scored("chen2018", PERFECT[:, :1])["scores"]["mig"] == pytest.approx(0, abs=1e-9)
    assert scored("dlib2019", PERFECT[:, :1], ["mig"])["scores"]["mig"] == pytest.approx(0.2, abs=0.01)


def test_a_seed_gives_the_same_report_and_another_seed_another():
    report = scored("infogan_cr", NOISE, ["mig", "factor_vae"])
    assert scored("infogan_cr", NOISE, ["factor_vae", "mig"]) == report
    assert scored("infogan_cr", NOISE, ["mig"], seed=1)["scores"]["mig"] != report["scores"]["mig"]


def test_as_many_points_as_the_protocol_takes_and_a_note_where_there_are_fewer():
    drawn = scored("infogan_cr", PERFECT, ["mig"])
    assert drawn["points"] == drawn["protocol"]["points"] == 73_728
    assert "drawn from 9,216" in drawn["protocol"]["note"]
    few = scored("infomec", PERFECT)
    assert few["points"] == 9_216
    assert few["protocol"]["note"] == "the protocol takes 10,000 different rows; all 9,216 were taken"


def test_infomec_takes_different_rows():
    # Among copies of a row, its nearest neighbours, these codes would seem to know little.
    factors = np.repeat(full_factorial((10, 10, 10)), 11, axis=0)
    codes = perfect_code(factors) + 0.01 * rng(1).normal(size=factors.shape)
    report = scored("infomec", codes, factors=factors, names=("a", "b", "c"))
    assert report["points"] == 10_000
    assert report["protocol"]["note"] == ""
    assert report["scores"]["infom"] > 0.98


def test_revisions_name_the_protocol():
    revisions = {
        name: scored(name, NOISE, ["mig"])["metrics"]["mig"]["revision"]
        for name in ("default", "dlib2019", "infogan_cr", "chen2018")
    }
    own = registry.resolve("metric", "mig").revision
    assert revisions.pop("default") == own
    assert revisions == {name: f"{name} {own}" for name in revisions}


def test_a_report_can_be_kept_as_scores():
    report = json.loads(json.dumps(scored("infogan_cr", NOISE, ["mig"])))
    assert checked(ScoresKept, report)["protocol"]["name"] == "infogan_cr"


def test_a_metric_that_fails_costs_its_own_column():
    report = scored("infogan_cr", PERFECT, ["dci_forest", "dci_lasso"], FACTORS[:, 1:], NAMES[1:])
    assert "the five factors of dSprites, not for 4" in report["failures"]["dci_forest"]
    assert report["scores"].keys() == {"dci_lasso"}


def test_the_lasso_of_two_factors_that_share_two_latents():
    codes = PERFECT.copy()
    codes[:, 0], codes[:, 1] = PERFECT[:, 0] + PERFECT[:, 1], PERFECT[:, 0] - PERFECT[:, 1]
    # A weight is a correlation, 1 or the root of a half, less the penalty of .02.
    shared, alone = 2 * (math.sqrt(0.5) - 0.02), 1 - 0.02
    expected = (2 * shared * (1 - math.log(2) / math.log(5)) + 3 * alone) / (2 * shared + 3 * alone)
    assert scored("infogan_cr", codes, ["dci_lasso"])["scores"]["dci_lasso"] == pytest.approx(
        expected, abs=0.01
    )


def test_the_forests_of_a_perfect_code_and_of_one_that_mixes_two_factors():
    assert dci_forest(PERFECT, FACTORS, rng=rng())["dci_forest"] == pytest.approx(1.0, abs=0.01)
    mixed = PERFECT.copy()
    mixed[:, 3] = PERFECT[:, 3] + PERFECT[:, 4]
    # One latent of four is shared by two factors, so that it counts for up to half of the importance of both.
    found = dci_forest(mixed[:, :4], FACTORS, rng=rng())["dci_forest"]
    assert found == pytest.approx((3 + 2 * (1 - math.log(2) / math.log(5))) / 5, abs=0.05)


def test_mig_of_densities():
    factors = np.repeat(full_factorial((3, 4)), 100, axis=0)
    # Posteriors with a standard deviation of 1 that are far apart, and the prior twice.
    means = np.hstack([100.0 * factors, np.zeros_like(factors)])
    found = mig_of_densities(means, np.zeros_like(means), factors, rng=rng())
    assert found["mig_of_densities"] == pytest.approx(1.0, abs=0.1)
    prior = np.zeros_like(means)
    assert mig_of_densities(prior, prior, factors, rng=rng())["mig_of_densities"] == pytest.approx(0, abs=0.1)
    twice = np.hstack([means, means])
    twice = mig_of_densities(twice, np.zeros_like(twice), factors, rng=rng())
    assert twice["mig_of_densities"] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dlib2018", PERFECT), "unknown protocol 'dlib2018'. Did you mean 'dlib2019'"),
        (("infomec", PERFECT, ["mig"]), "unknown metric of the protocol 'infomec' 'mig'. Known: infomec"),
        (("dlib2019", PERFECT, ["mig"], FACTORS, NAMES[1:]), "5 factors and 4 names"),
        (("chen2018", PERFECT, None, FACTORS[:, :1], NAMES[:1]), "leaves shape out: no factor is left"),
        (("dlib2019", PERFECT[:-1], ["mig"]), "9215 rows and factors 9216"),
        (("chen2018", PERFECT * np.nan), "NaN"),
        (("infogan_cr", PERFECT, ["mig"], FACTORS, NAMES, -1), "whole number from 0"),
    ],
)
def test_what_cannot_be_scored_is_said(arguments, message):
    with pytest.raises(BenchError) as error:
        scored(*arguments)
    assert message in str(error.value)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_says_where_it_is_from(name):
    protocol = PROTOCOLS[name]
    assert protocol.source.name == name
    assert name == "default" or "arXiv:" in protocol.source.paper


GOLDEN_KEYS = {
    "beta_vae": "beta_vae/eval_accuracy",
    "factor_vae": "factor_vae/eval_accuracy",
    "mig": "mig/discrete_mig",
    "modularity": "modexp/modularity_score",
    "explicitness": "modexp/explicitness_score_test",
    "sap": "sap/SAP_score",
}
DCI_KEYS = {
    "dci_disentanglement": "dci/disentanglement",
    "dci_completeness": "dci/completeness",
    "dci_informativeness": "dci/informativeness_test",
}


def assert_agrees(codes_name, metrics, keys, seeds):
    """The scores lie within Monte-Carlo error, and .005, of disentanglement_lib's."""
    rows = (
        pd.read_csv(GOLDEN / "golden.csv")
        .set_index(["source", "dataset", "representation", "metric"])
        .sort_index()
    )
    reference = rows.loc["disentanglement_lib@86a644d sklearn0.23.2", "dsprites_like", codes_name]
    tables = np.load(GOLDEN / "codes.npz", allow_pickle=False)
    factors, codes = tables["dsprites_like/factors"].astype(np.int64), tables[f"dsprites_like/{codes_name}"]
    ours = pd.DataFrame(
        [scored("dlib2019", codes, metrics, factors, seed=seed)["scores"] for seed in range(seeds)]
    )
    for key, theirs in keys.items():
        row = reference.loc[theirs]
        alone = row["n_seeds"] == 1  # which says nothing of its spread
        spread = 0.0 if alone else row["std"] ** 2 / row["n_seeds"] + ours[key].var() / seeds
        slack = 0.02 if alone else 0.005
        assert abs(ours[key].mean() - row["mean"]) <= 4 * np.sqrt(spread) + slack, key


@pytest.mark.skipif(not GOLDEN.exists(), reason="the reference figures are not beside the checkout")
@pytest.mark.parametrize("codes_name", ["rotation", "vae_like"])
def test_dlib2019_agrees_with_disentanglement_lib(codes_name):
    assert_agrees(codes_name, list(GOLDEN_KEYS), GOLDEN_KEYS, seeds=3)


@pytest.mark.slow
@pytest.mark.skipif(not GOLDEN.exists(), reason="the reference figures are not beside the checkout")
def test_the_exact_trees_of_dlib2019_agree_with_disentanglement_lib():
    assert_agrees("dup", ["dci"], DCI_KEYS, seeds=1)
