"""A picture of a data set: a row per factor, in which that factor alone runs through its values.

Of images without factors it is a sheet of some of them, evenly spaced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
GAP, TITLE_HEIGHT, FONT_SIZE = 2, 18, 13
# Below each image stands its value.
VALUE_HEIGHT, VALUE_FONT_SIZE = 13, 10
# So many pixels across hold a title even where images are tiny.
LEAST_WIDTH = 220


def save_contact_sheet(dataset: FactorDataset, path: Path) -> None:
    """Write the sheet as a PNG. Raises BenchError where that is not possible."""
    try:
        Image.fromarray(contact_sheet(dataset)).save(path, format="PNG")
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {error}") from error


def contact_sheet(dataset: FactorDataset) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: at most 12 evenly spaced values of each factor, the others held still.

    Above each row stand the factor's name and its number of values, below each image its value: the label where it has
    one, cut where it is too long, else the number. Where a combination is not in the data set, its place stays grey;
    but where factors are real-valued, images of the same bin stand there whose other factors are close.
    """
    if not dataset.factor_names:
        return sheet_of_some(dataset)
    _, height, width = dataset.image_shape
    rows = [sweep(dataset, column) for column in range(len(dataset.factor_sizes))]
    across = max(len(factors) for factors in rows)
    tall = TITLE_HEIGHT + height + VALUE_HEIGHT + GAP
    size = (max(GAP + across * (width + GAP), LEAST_WIDTH), GAP + len(rows) * tall)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    title_font, font = ImageFont.load_default(FONT_SIZE), ImageFont.load_default(VALUE_FONT_SIZE)
    for column, factors in enumerate(rows):
        top = GAP + column * tall
        title = row_title(dataset, column)
        draw.text((GAP, top), title, fill="black", font=title_font)
        found = close(dataset, factors, column) if dataset.measured else factors
        shown = zip(captions(dataset, factors, column), pictures(dataset, found), strict=True)
        for place, (caption, picture) in enumerate(shown):
            left = GAP + place * (width + GAP)
            sheet.paste(as_picture(picture), (left, top + TITLE_HEIGHT))
            below = (left, top + TITLE_HEIGHT + height)
            draw.text(below, shortened(caption, width, font), fill="black", font=font)
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


def row_title(dataset: FactorDataset, column: int) -> str:
    """What stands above the row of one factor."""
    name, size = dataset.factor_names[column], dataset.factor_sizes[column]
    if name in dataset.measured:
        values = dataset.measured[name]
        return f"{name}: {float(values.min()):.4g} to {float(values.max()):.4g} in {size} bins"
    return f"{name}: {size} value{'s' * (size > 1)}"


def captions(dataset: FactorDataset, factors: torch.Tensor, column: int) -> list[str]:
    """What the values of one factor are called, by label or number, for each row of `factors` [n, factors]."""
    labels = dataset.labels.get(dataset.factor_names[column])
    values = factors[:, column].tolist()
    return [str(value) if labels is None else labels[value] for value in values]


def shortened(text: str, width: int, font: Any) -> str:
    """The text, or as much of it as `width` pixels hold with dots after it."""
    if font.getlength(text) <= width:
        return text
    kept = next((k for k in range(len(text) - 1, 0, -1) if font.getlength(f"{text[:k]}…") <= width), 0)
    return f"{text[:kept]}…"


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


def close(dataset: FactorDataset, factors: torch.Tensor, column: int) -> torch.Tensor:
    """Factor values [n, factors] of images with the same value in this column, and the others as close as there are."""
    there = dataset.factors(torch.arange(len(dataset), device=dataset.device)).cpu()
    rows = []
    for wanted in factors:
        candidates = there[there[:, column] == wanted[column]]
        apart = (candidates - wanted).abs() / torch.tensor(dataset.factor_sizes)
        rows.append(candidates[apart.sum(dim=1).argmin()] if len(candidates) else wanted)
    return torch.stack(rows)


def pictures(dataset: FactorDataset, factors: torch.Tensor) -> torch.Tensor:
    """uint8 [n, channels, height, width]: the images with these factor values, grey where there is none."""
    try:
        return dataset.images(dataset.index(factors)).cpu()
    except IndexError:
        if len(factors) == 1:
            return torch.full((1, *dataset.image_shape), 200, dtype=torch.uint8)
    return torch.cat([pictures(dataset, row[None]) for row in factors])
