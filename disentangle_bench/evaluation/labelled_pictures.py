"""Pictures with words: what a model makes of spoilt images, where the data lie in two latents, what these decode to."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from disentangle_bench import randomness
from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.pixels import as_floats
from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.evaluation.encode import encode_points
from disentangle_bench.evaluation.pictures import shown_images, shown_index
from disentangle_bench.evaluation.trained_model import TrainedModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 8  # images in a row
NOISE = 0.25  # the standard deviation of the noise, of pixels in 0..1
COVER = 0.5  # the grey of the covered half
POINTS = 2_000  # codes on the map
FEW = 10  # values of a factor that are named one by one
STEPS = 10  # images of the manifold in a row
TICKED = 3  # of which every so many has its value at the axis
QUANTILES = (0.02, 0.98)
DOTS_PER_INCH = 120


@dataclass(frozen=True)
class TwoLatents:
    """Codes [points, latents] of random images with their factors, and which two latents are shown."""

    codes: Tensor
    factors: Tensor
    first: int
    second: int

    @property
    def shown(self) -> Tensor:
        """The codes' two latents, [points, 2]."""
        return self.codes[:, [self.first, self.second]]


def labelled_pictures(
    model: TrainedModel,
    dataset: FactorDataset,
    latents: tuple[int, int] | None = None,
    factor: str | None = None,
) -> dict[str, bytes]:
    """PNG files by name: `denoising.png`, `inpainting.png`, and of two latents `latent_map.png` and `manifold.png`.

    The two latents are those whose codes vary most, or the ones given; the map is coloured by the factor that tells
    most of them, or by the one given. A model of a single latent has neither map nor manifold.

    Raises BenchError for latents and factors that are not there.
    """
    images = as_floats(shown_images(dataset, SHOWN)).cpu()
    stream = randomness.key(torch.tensor(0), 0, "noise of pictures")
    noisy = (images + NOISE * randomness.normal(stream, tuple(images.shape))).clamp(0, 1)
    covered = images.clone()
    covered[..., images.shape[-1] // 2 :] = COVER
    found = {
        "denoising.png": _spoilt(model, images, noisy, f"with noise\n(deviation {NOISE:g})"),
        "inpainting.png": _spoilt(model, images, covered, "right half\ncovered"),
    }
    if model.spec.network.latents > 1:
        two = two_latents(model, dataset, latents)
        name = told_best(two, dataset) if factor is None else _known(factor, dataset)
        found["latent_map.png"] = latent_map(model, two, dataset, name)
        found["manifold.png"] = manifold(model, two)
    return found


def two_latents(
    model: TrainedModel, dataset: FactorDataset, latents: tuple[int, int] | None = None
) -> TwoLatents:
    """The codes of at most 2,000 random images, and the two latents given, or those that vary most over these images.

    Raises BenchError unless two different latents of the model are given.
    """
    index = shown_index(dataset, POINTS)
    codes = encode_points(model.encode, dataset, index)
    count = codes.shape[1]
    if latents is None:
        first, second = sorted(codes.std(0).topk(2).indices.tolist())
    elif latents[0] == latents[1] or not all(0 <= latent < count for latent in latents):
        raise BenchError(f"latents {latents[0]} and {latents[1]}: give two different ones of 0..{count - 1}")
    else:
        first, second = latents
    return TwoLatents(codes, dataset.factors(index).cpu(), first, second)


def told_best(two: TwoLatents, dataset: FactorDataset) -> str | None:
    """The factor whose values the two latents' codes spread over most; None where no factor varies.

    That is the factor with the largest share of variance between its values' means, of both latents together, each in
    units of its variance.
    """
    shown = two.shown.double()
    scaled = (shown - shown.mean(0)) / shown.std(0, correction=0).clamp_min(1e-12)
    shares: dict[str, float] = {}
    for column, name in enumerate(dataset.factor_names):
        values, place = torch.unique(two.factors[:, column], return_inverse=True)
        if len(values) > 1:
            sums = torch.zeros(len(values), 2, dtype=torch.float64).index_add_(0, place, scaled)
            counts = torch.bincount(place, minlength=len(values))[:, None]
            shares[name] = float((sums.square() / counts).sum())
    return max(shares, key=shares.__getitem__) if shares else None


def latent_map(model: TrainedModel, two: TwoLatents, dataset: FactorDataset, factor: str | None) -> bytes:
    """A PNG: the images' codes in two latents, coloured by a factor, whose name and values stand beside it."""
    figure = _figure(6.0, 4.8)
    panel = figure.subplots()
    x, y = two.shown.T.numpy()
    if factor is None:
        panel.scatter(x, y, s=6)
    else:
        _coloured(panel, x, y, two.factors[:, dataset.factor_names.index(factor)], factor, dataset)
    panel.set(xlabel=f"latent {two.first}", ylabel=f"latent {two.second}")
    panel.set_title(f"{model.spec.model}: {_codes(model)} of {len(x):,} images", fontsize=10)
    return _png(figure)


def manifold(model: TrainedModel, two: TwoLatents) -> bytes:
    """A PNG: what is decoded over a grid of quantiles of two latents, the others at the median of the data's codes.

    After Kingma and Welling 2014, figure 4, with the data's own quantiles in the place of the prior's.
    """
    low, high = QUANTILES
    shares = torch.linspace(low, high, STEPS)
    across, up = (torch.quantile(two.codes[:, latent], shares) for latent in (two.first, two.second))
    codes = two.codes.median(0).values.repeat(STEPS, STEPS, 1)
    codes[:, :, two.first] = across
    codes[:, :, two.second] = up.flip(0)[:, None]  # the largest value stands on top
    decoded = model.decode(codes.flatten(0, 1)).cpu().unflatten(0, (STEPS, STEPS))
    height, width = decoded.shape[-2:]
    sheet = decoded.permute(0, 3, 1, 4, 2).reshape(STEPS * height, STEPS * width, -1)
    figure = _figure(6.2, 6.4)
    panel = figure.subplots()
    _image(panel, sheet)
    ticked = range(0, STEPS, TICKED)
    panel.set_xticks([(i + 0.5) * width for i in ticked], [_number(across[i]) for i in ticked])
    panel.set_yticks([(STEPS - i - 0.5) * height for i in ticked], [_number(up[i]) for i in ticked])
    # Lines between the images, so that it shows where in its image an object stands.
    panel.set_xticks([i * width for i in range(1, STEPS)], minor=True)
    panel.set_yticks([i * height for i in range(1, STEPS)], minor=True)
    panel.grid(which="minor", color="0.6", linewidth=0.6)
    panel.tick_params(which="minor", length=0)
    words = f"quantiles {low:g} to {high:g}"
    panel.set(xlabel=f"latent {two.first} ({words})", ylabel=f"latent {two.second} ({words})")
    others = ", the others at their medians" if two.codes.shape[1] > 2 else ""
    panel.set_title(f"{model.spec.model}: decoded codes{others}", fontsize=10)
    return _png(figure)


def _spoilt(model: TrainedModel, images: Tensor, spoilt: Tensor, words: str) -> bytes:
    """A PNG of three rows: images, the same spoilt, and what is decoded of the codes of the spoilt ones."""
    decoded = model.reconstruct(spoilt).cpu()
    rows = {"original": images, words: spoilt, "reconstruction": decoded}
    figure = _figure(1.2 + len(images), 3.4)
    panels = figure.subplots(len(rows), len(images), squeeze=False)
    for line, (label, row) in zip(panels, rows.items(), strict=True):
        for panel, image in zip(line, row, strict=True):
            _image(panel, image.permute(1, 2, 0))
            panel.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    error = float((decoded - images).square().mean())
    given = float((spoilt - images).square().mean())
    figure.suptitle(
        f"{model.spec.model}: mean squared error to the original {given:.4f} as given, {error:.4f} reconstructed",
        fontsize=9,
    )
    return _png(figure)


def _coloured(panel: Axes, x: Any, y: Any, values: Tensor, factor: str, dataset: FactorDataset) -> None:
    """Dots coloured by the values of the factor: each in the legend where they are few, else a scale."""
    import matplotlib as mpl

    size = dataset.factor_sizes[dataset.factor_names.index(factor)]
    if size > FEW:
        dots = panel.scatter(x, y, c=values.numpy(), s=6, cmap="viridis")
        dots.set_clim(0, size - 1)
        panel.figure.colorbar(dots, ax=panel, label=f"{factor} (0 to {size - 1})")
        return
    names = dataset.labels.get(factor, [str(value) for value in range(size)])
    colours = mpl.colormaps["viridis"].resampled(size) if size > 3 else mpl.colormaps["Dark2"]
    for value, name in enumerate(names):
        here = (values == value).numpy()
        panel.scatter(x[here], y[here], s=6, color=colours(value), label=name)
    panel.legend(title=factor, fontsize=8, markerscale=2.5, bbox_to_anchor=(1.01, 1), loc="upper left")


def _image(panel: Axes, pixels: Tensor) -> None:
    """Show pixels [height, width, channels] in 0..1, each row from the top."""
    height, width, channels = pixels.shape
    shown = pixels[..., 0] if channels == 1 else pixels
    panel.imshow(shown.clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0))


def _figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    # Looked up here, for the library takes a second to load.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return content.getvalue()


def _number(value: Tensor) -> str:
    """To two decimals, with the minus sign that axes have."""
    return f"{float(value):.2f}".replace("-", "\N{MINUS SIGN}")


def _codes(model: TrainedModel) -> str:
    return "posterior means" if model.objective.generative else "codes"


def _known(factor: str, dataset: FactorDataset) -> str:
    if factor not in dataset.factor_names:
        raise unknown_name(f"factor of {dataset.name}", factor, dataset.factor_names)
    return factor
