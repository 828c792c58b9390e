"""What a table says in a sentence, against tables worked out by hand."""

import pytest
from test_leaderboard import THREE, many

from disentangle_bench.report import verdict
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.report.tables import tables_of
from disentangle_bench.report.verdict import _listed, sentences


def said(numbers, sort: str | None = None) -> list[str]:
    return sentences(tables_of(runs_table(many(numbers)), sort=sort), sort)


MADE = "it trained for 7 steps (the standard is 300,000) on rendered images (dsprites_rendered[posX/4])."


def test_the_best_row_its_price_and_its_equals() -> None:
    (text,) = said(THREE)
    assert text == (
        "Best by MIG is beta_vae (beta=2): 0.220 [0.154, 0.286] over 3 seeds, after correction significantly better"
        f" than 1 of 2 other rows; no row reconstructs significantly better (114.0 nats); {MADE} Not distinguished"
        " from it: vae. Other metrics that distinguish rows: FactorVAE metric (best mean: vae)."
    )
    (text,) = said(THREE, sort="factor_vae")
    assert text.startswith(
        "Best by FactorVAE metric is vae: 0.600 [0.352, 0.848] over 3 seeds, after correction significantly better than"
        " 1 of 2 other rows;"
    )


def test_a_price_in_nats() -> None:
    dear = {("vae", None): [(100.0 + s, 0.1 + s / 100, 0.5) for s in range(3)]}
    dear |= {("beta_vae", 4.0): [(120.0 + s, 0.3 + s / 100, 0.5) for s in range(3)]}
    (text,) = said(dear)
    # Student's t at two degrees of freedom is 4.303: 0.31 +- 4.303 * 0.01 / sqrt(3).
    assert text == (
        "Best by MIG is beta_vae (beta=4): 0.310 [0.285, 0.335] over 3 seeds, after correction significantly better"
        f" than the other row; it reconstructs 20.0 nats worse than vae (121.0 against 101.0 nats); {MADE} 1 other"
        " metric distinguishes none."
    )


def test_a_price_above_the_floor() -> None:
    """The floor is 90 nats."""
    records = many({key: THREE[key] for key in (("vae", None), ("beta_vae", 4.0))})
    for record in records:
        record.scores["reconstruction"] |= {"floor_nats": 90.0, "constant_nats": 500.0}
        record.scores["scores"]["reconstruction_nats"] = 100.0 + record.spec.seed
    (text,) = sentences(tables_of(runs_table(records)))
    assert "no row reconstructs significantly better (11.0 nats above the floor)" in text


@pytest.mark.parametrize(("seeds", "words"), [(1, "0.250 over 1 seed"), (2, "0.225 over 2 seeds")])
def test_too_few_seeds_compare_nothing(seeds: int, words: str) -> None:
    assert said({key: runs[:seeds] for key, runs in THREE.items()}) == [
        "By MIG no rows are compared, since fewer than two have 3 seeds; the best mean is that of beta_vae (beta=2):"
        f" {words}; {MADE}"
    ]


def test_no_row_is_distinguished() -> None:
    equal = {key: THREE["vae", None] for key in THREE}
    (text,) = said(equal)
    assert text == (
        "By MIG no row is distinguished from the best mean, that of vae: 0.200 [0.150, 0.250] over 3 seeds; no row"
        f" reconstructs significantly better (105.0 nats); {MADE} 1 other metric distinguishes none."
    )


def test_a_model_without_steps_and_one_of_the_standard_steps() -> None:
    row = tables_of(runs_table(many(THREE))).rows.assign(steps=300_000).iloc[0]

    def made(model: str) -> str:
        return verdict._made(row.where(row.index != "model", model))

    assert made("vae").startswith("it trained for 300,000 steps (the standard number) on rendered images")
    assert made("pca").startswith("it is fitted at once, without steps, on rendered images")


def test_nats_of_several_likelihoods_are_not_compared() -> None:
    """The VAE's unseen images cost far less, in a likelihood of its own or in the other's."""

    def told(likelihood: str) -> str:
        records = many({key: runs for key, runs in THREE.items() if key != ("beta_vae", 2.0)})
        for record in records:
            scores, vae = record.scores, record.spec.model == "vae"
            scores["scores"]["reconstruction_nats_unseen"] = (10.0 if vae else 900.0) + record.spec.seed
            name = "reconstruction_nats_unseen"
            about = {"headlines": [name], "lower_is_better": [name], "revision": 1, "paper": "p"}
            scores["metrics"]["seen and unseen"] = about
            scores["reconstruction"]["likelihood"] = likelihood if vae else "gaussian"
        (text,) = sentences(tables_of(runs_table(records)))
        return text

    assert "reconstruction_nats_unseen (best mean: vae)" in told("gaussian")
    assert "reconstruction_nats_unseen" not in told("bernoulli")


def test_what_is_many_is_counted() -> None:
    assert _listed(["a"]) == "a"
    assert _listed(["a", "b", "c"]) == "a, b and c"
    assert _listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
