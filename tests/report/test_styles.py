"""One colour and one marker for each model."""

import re
from importlib import resources

from matplotlib.colors import to_hex
from test_leaderboard import THREE, many

from disentangle_bench.registry import MODELS
from disentangle_bench.report.figures import CORRELATIONS, SHARES, curves, tradeoff
from disentangle_bench.report.runs_table import runs_table
from disentangle_bench.report.styles import COLOURS, MARKERS, SHAPES, model_styles
from disentangle_bench.report.tables import tables_of


def test_a_models_colour_does_not_depend_on_the_study() -> None:
    alone, many = model_styles(["factor_vae"]), model_styles(["vae", "factor_vae", "mine", "ada_gvae"])
    assert alone["factor_vae"] == many["factor_vae"] == (2, 2)
    assert many["vae"] == (0, 0)
    assert many["ada_gvae"] == model_styles(["vae", "ada_gvae"])["ada_gvae"] == (7, 7)
    assert many["mine"] == (6, 6)


def test_no_two_models_look_alike() -> None:
    styles = model_styles([*MODELS, *(f"model{i}" for i in range(20))])
    assert len(set(styles.values())) == len(styles) == len(MODELS) + 20
    assert len({colour for colour, _ in model_styles(list(MODELS)[:8]).values()}) == 8


def test_pages_have_the_figures_colours() -> None:
    style = resources.files("disentangle_bench.report").joinpath("assets", "report.css").read_text()
    light = dict(re.findall(r"--m(\d): light-dark\(#(\w+),", style))
    found = {
        int(k): value if len(value) == 6 else "".join(2 * sign for sign in value)
        for k, value in light.items()
    }
    assert found == {i: colour[1:].lower() for i, colour in enumerate(COLOURS)}
    assert len(COLOURS) == len(MARKERS) == len(SHAPES)


def test_figures_agree_on_a_models_colour() -> None:
    """The figure of curves has a run of the beta-VAE alone."""
    runs = many({key: THREE[key] for key in (("vae", None), ("beta_vae", 4.0))})
    made = tables_of(runs_table(runs))
    (all_models,) = tradeoff(made).legends
    points = {text.get_text(): to_hex(mark.get_facecolor()[0]) for text, mark in _labelled(all_models)}
    (one_model,) = curves(made, [run for run in runs if run.spec.model == "beta_vae"]).legends
    lines = {text.get_text(): to_hex(mark.get_color()) for text, mark in _labelled(one_model)}
    assert points == {"vae": COLOURS[0].lower(), "beta_vae": COLOURS[1].lower()}
    assert lines == {"beta_vae": COLOURS[1].lower()}


def _labelled(legend):
    return zip(legend.get_texts(), legend.legend_handles, strict=True)


def test_more_is_darker_in_heat_maps() -> None:
    def light(colours, share: float) -> float:
        return sum(colours(share)[:3])

    for colours, first in ((SHARES, 0.0), (CORRELATIONS, 0.5)):
        steps = [light(colours, first + (1 - first) * k / 10) for k in range(11)]
        assert steps == sorted(steps, reverse=True)
        assert steps[0] > steps[-1] + 1
