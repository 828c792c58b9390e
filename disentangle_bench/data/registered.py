"""The data sets that have names: what is known of each, so that a grid is checked and listed without a loader.

Loaders need torch, and some need readers of file formats; each is imported when it is called.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.data import render_dsprites, render_shapes3d
from disentangle_bench.data.source import DataSource

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import FactorDataset, Notify


def load_dsprites(*, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
    """dSprites as published."""
    from disentangle_bench.data.dsprites import load_official

    return load_official(data_dir=data_dir, notify=notify)


def load_dsprites_rendered(*, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
    """dSprites drawn again."""
    from disentangle_bench.data.dsprites import load_rendered

    return load_rendered(data_dir=data_dir, notify=notify)


def load_shapes3d(*, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
    """3D Shapes as published."""
    from disentangle_bench.data.shapes3d import load_official

    return load_official(data_dir=data_dir, notify=notify)


def load_shapes3d_rendered(*, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
    """3D Shapes drawn again."""
    from disentangle_bench.data.shapes3d import load_rendered

    return load_rendered(data_dir=data_dir, notify=notify)


def source_of(original: DataSource, prefix: str) -> DataSource:
    """The source of a data set's variant, "color" or "noisy" (see `variants`)."""

    def load(*, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
        from disentangle_bench.data.variants import VARIANTS, vary

        return vary(original.load(data_dir=data_dir, notify=notify), VARIANTS[prefix])

    name = f"{prefix}_{original.name}"
    return replace(original, name=name, image_shape=(3, *original.image_shape[1:]), load=load)


DSPRITES_RENDERED = DataSource(
    name="dsprites_rendered",
    factor_names=render_dsprites.FACTOR_NAMES,
    factor_sizes=render_dsprites.FACTOR_SIZES,
    image_shape=(1, render_dsprites.SIDE, render_dsprites.SIDE),
    provenance="rendered",
    load=load_dsprites_rendered,
)
DSPRITES = replace(
    DSPRITES_RENDERED, name="dsprites", provenance="official", load=load_dsprites, published="dsprites"
)
SHAPES3D_RENDERED = DataSource(
    name="shapes3d_rendered",
    factor_names=render_shapes3d.FACTOR_NAMES,
    factor_sizes=render_shapes3d.FACTOR_SIZES,
    image_shape=(3, render_shapes3d.SIDE, render_shapes3d.SIDE),
    provenance="rendered",
    load=load_shapes3d_rendered,
)
SHAPES3D = replace(
    SHAPES3D_RENDERED, name="shapes3d", provenance="official", load=load_shapes3d, published="shapes3d"
)
COLOR_DSPRITES = source_of(DSPRITES, "color")
NOISY_DSPRITES = source_of(DSPRITES, "noisy")
COLOR_DSPRITES_RENDERED = source_of(DSPRITES_RENDERED, "color")
NOISY_DSPRITES_RENDERED = source_of(DSPRITES_RENDERED, "noisy")
