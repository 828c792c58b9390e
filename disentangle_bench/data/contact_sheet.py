"""A picture of a data set: a row per factor, in which that factor alone runs through its values.

Of images without factors it is a sheet of some of them, evenly spaced.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from disentangle_bench.data.checks import some_images
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError

COLUMNS = 12
# Of images without factors.
ROWS = 6
GAP, LABEL_HEIGHT, FONT_SIZE = 2, 18, 13


def save_contact_sheet(dataset: FactorDataset, path: Path) -> None:
    """Write the sheet as a PNG. Raises BenchError where that is not possible."""
    try:
        Image.fromarray(contact_sheet(dataset)).save(path, format="PNG")
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {error}") from error


def contact_sheet(dataset: FactorDataset) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: at most 12 evenly spaced values of each factor, the others held still.

    Above each row stands the factor's name and the first and last value shown, by their labels where they have some,
    else by their numbers. Where a combination is not in the data set, its place stays grey.
    """
    if not dataset.factor_names:
        return sheet_of_some(dataset)
    _, height, width = dataset.image_shape
    rows = [sweep(dataset, column) for column in range(len(dataset.factor_sizes))]
    across = max(len(factors) for factors in rows)
    tall = LABEL_HEIGHT + height + GAP
    # The labels need some room even where images are tiny.
    sheet = Image.new("RGB", (max(GAP + across * (width + GAP), 220), GAP + len(rows) * tall), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for column, factors in enumerate(rows):
        top = GAP + column * tall
        draw.text((GAP, top), row_title(dataset, factors, column), fill="black", font=font)
        for place, picture in enumerate(pictures(dataset, factors)):
            sheet.paste(as_picture(picture), (GAP + place * (width + GAP), top + LABEL_HEIGHT))
    return np.asarray(sheet)


def sheet_of_some(dataset: FactorDataset) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: at most 6 rows of 12 images, evenly spaced over the data set, in its order."""
    _, height, width = dataset.image_shape
    shown = some_images(dataset, ROWS * COLUMNS).cpu()
    down, across = -(-len(shown) // COLUMNS), min(len(shown), COLUMNS)
    sheet = Image.new("RGB", (GAP + across * (width + GAP), GAP + down * (height + GAP)), "white")
    for place, picture in enumerate(shown):
        row, column = divmod(place, COLUMNS)
        sheet.paste(as_picture(picture), (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return np.asarray(sheet)


def as_picture(image: torch.Tensor) -> Image.Image:
    """The image uint8 [1 or 3, height, width] as Pillow has it."""
    return Image.fromarray(image.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


def row_title(dataset: FactorDataset, factors: torch.Tensor, column: int) -> str:
    """What stands above the row of one factor, whose values are `factors` [n, factors]."""
    name, size = dataset.factor_names[column], dataset.factor_sizes[column]
    first, last = int(factors[0, column]), int(factors[-1, column])
    labels = dataset.labels.get(name, range(size))
    return f"{name}: {labels[first]} to {labels[last]} of {size}"


def sweep(dataset: FactorDataset, column: int) -> torch.Tensor:
    """Factor values [n, factors] that run through one factor; the others keep those of the resting image."""
    size = dataset.factor_sizes[column]
    values = torch.linspace(0, size - 1, min(size, COLUMNS)).round().long()
    factors = resting(dataset).repeat(len(values), 1)
    factors[:, column] = values
    return factors


def resting(dataset: FactorDataset) -> torch.Tensor:
    """Factor values [factors] of the image that every row varies.

    They lie at different shares of their ranges, so that factors with equal values, such as hues, differ.
    """
    if dataset.table is not None:
        known = dataset.labelled
        middle = len(dataset) // 2 if known is None else known[len(known) // 2]
        return dataset.factors(middle)[0].cpu()
    sizes = dataset.factor_sizes
    return torch.tensor([int(size * ((0.5 + 0.35 * column) % 1)) for column, size in enumerate(sizes)])


def pictures(dataset: FactorDataset, factors: torch.Tensor) -> torch.Tensor:
    """uint8 [n, channels, height, width]: the images with these factor values, grey where there is none."""
    try:
        return dataset.images(dataset.index(factors)).cpu()
    except IndexError:
        if len(factors) == 1:
            return torch.full((1, *dataset.image_shape), 200, dtype=torch.uint8)
    return torch.cat([pictures(dataset, row[None]) for row in factors])
