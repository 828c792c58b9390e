"""What stands beside a run's pictures, against the code that draws them."""

import io

import numpy as np
import torch
from PIL import Image

from disentangle_bench.evaluation import pictures
from disentangle_bench.report import pictured


def test_the_numbers_are_those_of_the_pictures() -> None:
    assert (pictured.TRAVERSED, pictured.ACROSS) == (pictures.ROWS, pictures.SHOWN)
    for prior, ends in (
        (True, f"{pictures.REACH:g}"),
        (False, f"{pictures.QUANTILES[1]:.0%}".replace("%", " %")),
    ):
        assert pictured._labelled("p", "traversals.png", 4, prior).ends[-1] == ends


def test_latents_are_the_rows_of_the_picture_and_the_columns_of_the_moving_one() -> None:
    """Of three latents the second is white throughout."""
    drawn = torch.zeros(3, pictures.SHOWN, 1, 4, 4)
    drawn[1] = 1.0
    still = np.asarray(Image.open(io.BytesIO(pictures.png(drawn.flatten(0, 1), drawn.shape[1]))))
    moving = np.asarray(Image.open(io.BytesIO(pictures.gif(drawn))).convert("L"))
    rows, columns = still[4::6, 4], moving[4, 4::6]
    labels = pictured._labelled("p", "traversals.png", 3, True)
    assert [labels.down[i] for i in np.flatnonzero(rows == 255)] == ["z1"]
    labels = pictured._labelled("p/traversals.gif", "traversals.gif", 3, True)
    assert [labels.across[i] for i in np.flatnonzero(columns == 255)] == ["z1"]
    assert labels.moves


def test_many_latents() -> None:
    assert pictured._labelled("p", "traversals.gif", 12, True).down == ("z0 ...", "z10 ...")
    large = pictured._labelled("p", "traversals.png", 50, False)
    assert large.down == ()
    assert "the 20 whose codes vary most" in large.caption
