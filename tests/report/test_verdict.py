"""What a table says in a sentence, against tables worked out by hand."""

import pytest
from test_leaderboard import THREE, many

from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.report.tables import tables_of
from disentangle_bench.report.verdict import _listed, sentences


def said(numbers, sort: str | None = None) -> list[str]:
    return sentences(tables_of(runs_table(many(numbers)), sort=sort), sort)


def test_the_best_row_its_price_and_its_equals() -> None:
    (text,) = said(THREE)
    assert text == (
        "Best by mig over 3 seeds is beta_vae (beta=2): 0.220 against 0.020 of beta_vae (beta=4); no row can be said to"
        " reconstruct better; it cannot be told from vae. Rows are told apart by factor_vae (best mean: vae) too."
    )
    (text,) = said(THREE, sort="factor_vae")
    assert text.startswith("Best by factor_vae over 3 seeds is vae: 0.600 against 0.103 of beta_vae (beta=4)")


def test_a_price_in_nats() -> None:
    dear = {("vae", None): [(100.0 + s, 0.1 + s / 100, 0.5) for s in range(3)]}
    dear |= {("beta_vae", 4.0): [(120.0 + s, 0.3 + s / 100, 0.5) for s in range(3)]}
    (text,) = said(dear)
    assert text == (
        "Best by mig over 3 seeds is beta_vae (beta=4): 0.310 against 0.110 of vae; it reconstructs 20.0 nats worse"
        " than vae (121.0 against 101.0). Another metric tells none apart."
    )


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_say_nothing(seeds: int) -> None:
    assert said({key: runs[:seeds] for key, runs in THREE.items()}) == []


def test_nothing_can_be_told_apart() -> None:
    equal = {key: THREE["vae", None] for key in THREE}
    assert said(equal) == [
        "By mig no row can be told from the best mean, 0.200 of vae. Another metric tells none apart."
    ]


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
