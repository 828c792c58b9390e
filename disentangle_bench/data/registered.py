"""The data sets that have names: what is known of each, so that a grid is checked and listed without a loader.

Loaders need torch, and some need readers of file formats; each is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.data import render_dsprites, render_shapes3d
from disentangle_bench.data.official import FILES, FileFacts
from disentangle_bench.data.source import DataSource

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import FactorDataset, ImageStore, Notify, Symmetry


class DSpritesRendered(DataSource):
    """dSprites drawn again."""

    name = "dsprites_rendered"
    factor_names = render_dsprites.FACTOR_NAMES
    factor_sizes: tuple[int, ...] = render_dsprites.FACTOR_SIZES
    image_shape = (1, render_dsprites.SIDE, render_dsprites.SIDE)
    provenance = "rendered"

    @property
    def symmetry(self) -> Symmetry:
        """What images show of the orientation, shape by shape."""
        from disentangle_bench.data.dsprites import symmetry

        return symmetry()

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The packed bits and their hash."""
        from disentangle_bench.data.dsprites import open_rendered

        return open_rendered(data_dir, notify)


class DSprites(DSpritesRendered):
    """dSprites as published."""

    name, provenance, published = "dsprites", "official", "dsprites"
    files: Sequence[FileFacts] = FILES["dsprites"]

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The packed bits and their hash."""
        from disentangle_bench.data.dsprites import open_official

        return open_official(self.files, data_dir, notify)


class Shapes3DRendered(DataSource):
    """3D Shapes drawn again."""

    name = "shapes3d_rendered"
    factor_names = render_shapes3d.FACTOR_NAMES
    factor_sizes: tuple[int, ...] = render_shapes3d.FACTOR_SIZES
    image_shape = (3, render_shapes3d.SIDE, render_shapes3d.SIDE)
    provenance = "rendered"

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The part maps and their hash."""
        from disentangle_bench.data.shapes3d import open_rendered

        return open_rendered(data_dir, notify)


class Shapes3D(Shapes3DRendered):
    """3D Shapes as published."""

    name, provenance, published = "shapes3d", "official", "shapes3d"
    files: Sequence[FileFacts] = FILES["shapes3d"]

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The images, mapped from their cache file, and their hash."""
        from disentangle_bench.data.shapes3d import open_official

        return open_official(self.files, data_dir, notify)


class Varied(DataSource):
    """A data set's variant, "color" or "noisy" (see `variants`)."""

    def __init__(self, original: DataSource, prefix: str) -> None:
        self.original, self.prefix = original, prefix
        self.name = f"{prefix}_{original.name}"
        self.factor_names, self.factor_sizes = original.factor_names, original.factor_sizes
        self.image_shape = (3, *original.image_shape[1:])
        self.provenance, self.published = original.provenance, original.published

    def load(self, *, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
        """The original's images, varied with the seed 0."""
        from disentangle_bench.data.variants import VARIANTS, vary

        return vary(self.original.load(data_dir=data_dir, notify=notify), VARIANTS[self.prefix])


COLOR_DSPRITES = Varied(DSprites(), "color")
NOISY_DSPRITES = Varied(DSprites(), "noisy")
COLOR_DSPRITES_RENDERED = Varied(DSpritesRendered(), "color")
NOISY_DSPRITES_RENDERED = Varied(DSpritesRendered(), "noisy")
