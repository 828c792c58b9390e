"""What a trained model draws, as image files: reconstructions, samples of its prior, latents traversed one by one."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from disentangle_bench import randomness
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.trained_model import TrainedModel

SHOWN = 10  # images in a row
SIDE = 8  # samples are a square of as many
REACH = 2.0  # traversals of a prior's latents go this many standard deviations to either side
QUANTILES = (0.05, 0.95)  # and of other codes over this range of what the data have
CODES_SEEN = 512
ROWS = 20  # of an over-complete code, so many latents are traversed
FRAME_MILLISECONDS = 120
LINE = 2  # white pixels between images and around them


def run_pictures(model: TrainedModel, dataset: FactorDataset) -> dict[str, bytes]:
    """Image files by name: `reconstructions.png`, `traversals.png`, `traversals.gif`, with a prior `samples.png`.

    They are a function of the model and the data: the same images of the data set are shown for every run.
    """
    shown = shown_images(dataset, SHOWN)
    drawn = traversals(model, dataset, int(shown_index(dataset, 1)[0]))
    pictures = {
        "reconstructions.png": png(torch.cat([_floats(shown), model.reconstruct(shown).cpu()]), SHOWN),
        "traversals.png": png(drawn.flatten(0, 1), drawn.shape[1]),
        "traversals.gif": gif(drawn),
    }
    if model.objective.generative:
        pictures["samples.png"] = sample_picture(model, SIDE**2)
    return pictures


def sample_picture(model: TrainedModel, n: int, seed: int = 0) -> bytes:
    """A PNG of `n` images decoded from the prior. Raises BenchError for a model without one."""
    return png(model.sample(n, seed).cpu(), min(n, SIDE))


def interpolation_picture(model: TrainedModel, dataset: FactorDataset, first: int, last: int) -> bytes:
    """A PNG of one row: what is decoded on the straight line between the codes of two images, with these at the ends.

    Raises BenchError for positions outside the data set.
    """
    ends = chosen_images(dataset, [first, last])
    codes = model.encode(ends)
    along = torch.linspace(0, 1, SHOWN, device=codes.device)[:, None]
    drawn = model.decode(codes[0] * (1 - along) + codes[1] * along).cpu()
    given = _floats(ends)
    return png(torch.cat([given[:1], drawn, given[1:]]), SHOWN + 2)


def traversals(model: TrainedModel, dataset: FactorDataset, image: int) -> Tensor:
    """Images float32 [latents, steps, channels, height, width]: the image's code with one latent moved at a time.

    Latents with a normal prior go from -2 to 2; others from the 5 to the 95 per cent quantile of the data's codes. Of
    more than 20 latents, the 20 whose codes vary most. Raises BenchError for a position outside the data set.
    """
    code = model.encode(chosen_images(dataset, [image]))[0]
    codes = model.encode(shown_images(dataset, CODES_SEEN))
    latents = codes.std(0).topk(min(ROWS, len(code))).indices.sort().values
    if model.objective.generative:
        low, high = torch.full_like(code, -REACH), torch.full_like(code, REACH)
    else:
        low, high = (torch.quantile(codes, share, dim=0) for share in QUANTILES)
    along = torch.linspace(0, 1, SHOWN, device=code.device)
    moved = code.repeat(len(latents), SHOWN, 1)
    for row, latent in enumerate(latents.tolist()):
        moved[row, :, latent] = low[latent] + (high[latent] - low[latent]) * along
    return model.decode(moved.flatten(0, 1)).cpu().unflatten(0, (len(latents), SHOWN))


def chosen_images(dataset: FactorDataset, index: list[int]) -> Tensor:
    """uint8 [n, channels, height, width] at these positions. Raises BenchError for one outside the data set."""
    for position in index:
        if not 0 <= position < len(dataset):
            raise BenchError(f"{dataset.name} has the images 0..{len(dataset) - 1}, not {position}")
    return dataset.images(index)


def shown_images(dataset: FactorDataset, count: int) -> Tensor:
    """`count` images of the data set, uint8, the same for every run; all of them where there are no more."""
    return dataset.images(shown_index(dataset, count))


def shown_index(dataset: FactorDataset, count: int) -> Tensor:
    """int64 [count]: where those images are."""
    stream = randomness.key(torch.tensor(0), 0, "pictures")
    return randomness.integers(stream, count, len(dataset)).to(dataset.device)


def png(images: Tensor, columns: int) -> bytes:
    """A PNG of images float [n, channels, height, width] in 0..1, side by side in rows of `columns`."""
    content = io.BytesIO()
    _sheet(images, columns).save(content, format="PNG")
    return content.getvalue()


def gif(traversed: Tensor) -> bytes:
    """A GIF in which every latent of [latents, steps, channels, height, width] moves at once, there and back."""
    frames = [_sheet(step, min(len(step), SHOWN)) for step in traversed.transpose(0, 1)]
    content = io.BytesIO()
    frames[0].save(
        content,
        format="GIF",
        save_all=True,
        append_images=[*frames[1:], *frames[-2:0:-1]],
        duration=FRAME_MILLISECONDS,
        loop=0,
    )
    return content.getvalue()


def _sheet(images: Tensor, columns: int) -> Image.Image:
    """Images side by side in rows of `columns`, white lines between them; an image alone has no lines."""
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    count, height, width, channels = pixels.shape
    line = LINE if count > 1 else 0
    rows, columns = -(-count // columns), min(columns, count)
    down, right = height + line, width + line
    sheet = np.full((rows * down + line, columns * right + line, channels), 255, np.uint8)
    for place, image in enumerate(pixels):
        top, left = place // columns * down + line, place % columns * right + line
        sheet[top : top + height, left : left + width] = image
    return Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet)


def _floats(images: Tensor) -> Tensor:
    return images.cpu().to(torch.float32) / 255
