"""The user's picture behind the sprites of scream_dsprites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from disentangle_bench.data.strict_npz import plain_file
from disentangle_bench.errors import BenchError

NAMES = ("scream.jpg", "scream.jpeg", "scream.png")
# Width and height that the 2019 study shrinks its picture into.
LARGEST = (350, 274)
# Sides of an image, and the row and column that its windows leave out.
LEAST = 65


def background_picture(data_dir: Path) -> Tensor:
    """uint8 [3, height, width]: the picture in `data_dir`, shrunk into 350 x 274 as in the 2019 study.

    Raises BenchError where there is none, where it cannot be read, or where it is too small for windows of 64 x 64.
    """
    path = next((data_dir / name for name in NAMES if (data_dir / name).exists()), None)
    if path is None:
        raise BenchError(
            f"no picture for the backgrounds is there; put one (the study took Munch's The Scream) at"
            f" {data_dir / NAMES[0]}, or with --data-dir into another folder"
        )
    try:
        with plain_file(path) as file, Image.open(file, formats=["JPEG", "PNG"]) as image:
            image.thumbnail(LARGEST)
            pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except UnidentifiedImageError:
        raise BenchError(f"{path} is no JPEG or PNG") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BenchError(f"{path} cannot be read as a picture: {error}") from error
    if min(pixels.shape[1:]) < LEAST:
        raise BenchError(
            f"{path} has {pixels.shape[2]} x {pixels.shape[1]} pixels within {LARGEST[0]} x {LARGEST[1]}; windows of"
            f" 64 x 64 need at least {LEAST} each way"
        )
    return torch.from_numpy(np.ascontiguousarray(pixels))
