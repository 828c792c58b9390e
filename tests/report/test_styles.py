"""One colour and one marker for each model."""

import re
from importlib import resources

from disentangle_bench.registry import MODELS
from disentangle_bench.report.styles import COLOURS, MARKERS, SHAPES, model_styles


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
