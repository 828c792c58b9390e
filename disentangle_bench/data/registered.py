"""The data sets that have names: what is known of each, so that a grid is checked and listed without a loader.

Loaders need torch, and some need readers of file formats; each is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from disentangle_bench.data import render_dsprites, render_shapes3d, shapes3d_rooms
from disentangle_bench.data.official import FILES, FileFacts
from disentangle_bench.data.source import DataSource

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import FactorDataset, ImageStore, Notify, Symmetry
    from disentangle_bench.data.variants import Variant


class DSpritesRendered(DataSource):
    """dSprites drawn again."""

    name = "dsprites_rendered"
    factor_names = render_dsprites.FACTOR_NAMES
    factor_sizes: tuple[int, ...] = render_dsprites.FACTOR_SIZES
    image_shape = (1, render_dsprites.SIDE, render_dsprites.SIDE)
    provenance = "rendered"
    labels = MappingProxyType({"shape": ("square", "ellipse", "heart")})

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
    factor_names = shapes3d_rooms.FACTOR_NAMES
    factor_sizes: tuple[int, ...] = shapes3d_rooms.FACTOR_SIZES
    image_shape = (3, render_shapes3d.SIDE, render_shapes3d.SIDE)
    provenance = "rendered"
    labels = MappingProxyType({"shape": ("cube", "cylinder", "sphere", "capsule")})

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


class MPI3D(DataSource):
    """A set of MPI3D as published."""

    factor_names = (
        "object_color",
        "object_shape",
        "object_size",
        "camera_height",
        "background_color",
        "horizontal_axis",
        "vertical_axis",
    )
    image_shape = (3, 64, 64)
    provenance = "official"

    def __init__(self, name: str, colors: tuple[str, ...], shapes: tuple[str, ...]) -> None:
        self.name = self.published = name
        self.files: Sequence[FileFacts] = FILES[name]
        self.factor_sizes: tuple[int, ...] = (len(colors), len(shapes), 2, 3, 3, 40, 40)
        self.labels = {
            "object_color": colors,
            "object_shape": shapes,
            "object_size": ("small", "large"),
            "camera_height": ("top", "center", "bottom"),
            "background_color": ("purple", "sea green", "salmon"),
        }

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The images, mapped where they lie in the file, and a hash of the file."""
        from disentangle_bench.data.mpi3d import open_official

        return open_official(self.files, self.factor_sizes, data_dir, notify, self.name)


MPI3D_COLORS = ("white", "green", "red", "blue", "brown", "olive")
MPI3D_SHAPES = ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere")
MPI3D_TOY = MPI3D("mpi3d_toy", MPI3D_COLORS, MPI3D_SHAPES)
MPI3D_REALISTIC = MPI3D("mpi3d_realistic", MPI3D_COLORS, MPI3D_SHAPES)
MPI3D_REAL = MPI3D("mpi3d_real", MPI3D_COLORS, MPI3D_SHAPES)
MPI3D_REAL_COMPLEX = MPI3D(
    "mpi3d_real_complex",
    ("yellow", "green", "olive", "red"),
    ("coffee-cup", "tennis-ball", "croissant", "beer-cup"),
)


class Cars3D(DataSource):
    """Cars3D as published: at 64 x 64, as the 2019 study used it, or as stored."""

    factor_names = ("elevation", "azimuth", "object")
    factor_sizes: tuple[int, ...] = (4, 24, 183)
    provenance = "official"

    def __init__(self, name: str, side: int) -> None:
        self.name = self.published = name
        self.files: Sequence[FileFacts] = FILES[name]
        self.image_shape = (3, side, side)

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The images, mapped from their cache file, and their hash."""
        from disentangle_bench.data.cars3d import open_official

        return open_official(self.files, self.factor_sizes[2], self.image_shape[1], data_dir, notify)


CARS3D = Cars3D("cars3d", 64)
CARS3D_128 = Cars3D("cars3d_128", 128)


class SmallNORB(DataSource):
    """SmallNORB as published, both parts, at 64 x 64."""

    name, provenance, published = "smallnorb", "official", "smallnorb"
    factor_names = ("category", "instance", "elevation", "azimuth", "lighting")
    factor_sizes: tuple[int, ...] = (5, 10, 9, 18, 6)
    image_shape = (1, 64, 64)
    labels = MappingProxyType({"category": ("animal", "human", "plane", "truck", "car")})
    files: Sequence[FileFacts] = FILES["smallnorb"]

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The images, mapped from their cache file, and their hash."""
        from disentangle_bench.data.smallnorb import open_official

        return open_official(self.files, self.factor_sizes, data_dir, notify)


class Isaac3D(DataSource):
    """Isaac3D as published, at 128 x 128."""

    name, provenance, published = "isaac3d", "official", "isaac3d"
    factor_names = (
        "object_shape",
        "robot_x",
        "robot_y",
        "camera_height",
        "object_scale",
        "lighting_intensity",
        "lighting_direction",
        "object_color",
        "wall_color",
    )
    factor_sizes: tuple[int, ...] = (3, 8, 5, 4, 4, 4, 6, 4, 4)
    image_shape = (3, 128, 128)
    files: Sequence[FileFacts] = FILES["isaac3d"]

    def open(self, data_dir: Path, notify: Notify | None) -> tuple[ImageStore, str]:
        """The images, mapped from their cache file, and their hash."""
        from disentangle_bench.data.isaac3d import open_official

        return open_official(self.files, self.factor_sizes, data_dir, notify)


class Varied(DataSource):
    """A data set's variant, "color", "noisy" or "scream" (see `variants`)."""

    def __init__(self, original: DataSource, prefix: str) -> None:
        self.original, self.prefix = original, prefix
        self.name = f"{prefix}_{original.name}"
        self.factor_names, self.factor_sizes = original.factor_names, original.factor_sizes
        self.image_shape = (3, *original.image_shape[1:])
        self.provenance, self.published = original.provenance, original.published
        self.labels = original.labels

    def load(self, *, data_dir: Path, notify: Notify | None = None) -> FactorDataset:
        """The original's images, varied with the seed 0."""
        from disentangle_bench.data.variants import vary

        # First, for a picture may be missing.
        variant = self.variant(data_dir)
        return vary(self.original.load(data_dir=data_dir, notify=notify), variant)

    def variant(self, data_dir: Path) -> Variant:
        """What is done to the images; the picture of "scream" lies in `data_dir`."""
        from disentangle_bench.data.background import background_picture
        from disentangle_bench.data.variants import VARIANTS, scream

        if self.prefix == "scream":
            return scream(background_picture(data_dir))
        return VARIANTS[self.prefix]


COLOR_DSPRITES = Varied(DSprites(), "color")
NOISY_DSPRITES = Varied(DSprites(), "noisy")
SCREAM_DSPRITES = Varied(DSprites(), "scream")
COLOR_DSPRITES_RENDERED = Varied(DSpritesRendered(), "color")
NOISY_DSPRITES_RENDERED = Varied(DSpritesRendered(), "noisy")
SCREAM_DSPRITES_RENDERED = Varied(DSpritesRendered(), "scream")
