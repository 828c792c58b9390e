"""One colour and one marker for each model, in every figure, table and page of a study."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from disentangle_bench.registry import MODELS

if TYPE_CHECKING:
    from disentangle_bench.report.tables import Tables

# Okabe and Ito's palette, which any colour vision can distinguish; its yellow is darker here, for white paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B3A800")
# Shapes distinguish models without colour. None is a star, which marks Pareto fronts.
# They are matplotlib's signs, and the same as SVG paths around (0, 0).
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
SHAPES = (
    "M5.5,0A5.5,5.5 0 1 1 -5.5,0A5.5,5.5 0 1 1 5.5,0Z",
    "M-5,-5H5V5H-5Z",
    "M0,-6.5L6,5H-6Z",
    "M0,-7L6,0L0,7L-6,0Z",
    "M0,6.5L6,-5H-6Z",
    "M-2,-6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z",
    "M-6,-3.5L-3.5,-6L0,-2.5L3.5,-6L6,-3.5L2.5,0L6,3.5L3.5,6L0,2.5L-3.5,6L-6,3.5L-2.5,0Z",
    "M0,-6.5L6.2,-2L3.8,5.3H-3.8L-6.2,-2Z",
)
# The ends of heat maps: more is darker. Below zero the colour is another one.
BELOW, ZERO, ABOVE = "#D55E00", "#F4F4F4", "#0072B2"


def model_styles(models: Iterable[str]) -> dict[str, tuple[int, int]]:
    """For each model the numbers of its colour and of its marker, no two models alike up to 64.

    The first models of the registry have colours of their own in any study. Others take the last colours that are left,
    first those of the registry, then those of somebody else by name.
    """
    place = {name: number for number, name in enumerate(MODELS)}
    free: list[int] = []
    found: dict[str, tuple[int, int]] = {}
    for model in sorted(set(models), key=lambda name: (place.get(name, len(place)), name)):
        free = free or list(range(len(COLOURS)))
        own = place.get(model)
        colour = own if own in free else free[-1]
        free.remove(colour)
        # From the ninth model on a colour has another marker.
        found[model] = colour, (colour + len(found) // len(COLOURS)) % len(MARKERS)
    return found


def styles_of(tables: Tables) -> dict[str, tuple[int, int]]:
    """`model_styles` of all models of these tables, which are no controls."""
    return model_styles(tables.rows.loc[~tables.rows["control"].astype(bool), "model"])
