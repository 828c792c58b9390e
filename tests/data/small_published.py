"""Further published sets with few images, as a grid can name them; their files lie in the folder of data."""

import hashlib
from pathlib import Path

import numpy as np
from published_files import (
    FEW_ROBOTS,
    FEW_TOYS,
    cars_archive,
    cars_members,
    isaac_arrays,
    isaac_folder,
    norb_arrays,
    norb_files,
    random_images,
    small_mpi3d,
)

from disentangle_bench.data.official import FILES, FileFacts
from disentangle_bench.data.registered import MPI3D, Cars3D, Isaac3D, SmallNORB


def facts(folder: Path, names: list[str]) -> list[FileFacts]:
    """What would be published of the files that lie in the folder."""
    return [
        FileFacts(name, "", hashes={"md5": hashlib.md5((folder / name).read_bytes()).hexdigest()})
        for name in names
    ]


class Cars(Cars3D):
    def __init__(self) -> None:
        super().__init__("cars3d", 64)
        self.name, self.factor_sizes, self.published = "few_cars", (4, 24, 2), None

    def open(self, data_dir, notify):
        self.files = facts(data_dir, [FILES["cars3d"][0].name])
        return super().open(data_dir, notify)


class Toys(SmallNORB):
    name, factor_sizes, published, labels = "few_toys", FEW_TOYS, None, {}

    def open(self, data_dir, notify):
        self.files = facts(data_dir, [known.name for known in FILES["smallnorb"]])
        return super().open(data_dir, notify)


class Robots(Isaac3D):
    name, factor_sizes, published = "few_robots", FEW_ROBOTS, None


class Renderings(MPI3D):
    def __init__(self) -> None:
        small = small_mpi3d()
        super().__init__("mpi3d_real_complex", ("yellow", "green"), ("coffee-cup",))
        self.factor_sizes, self.labels, self.published = small.factor_sizes, small.labels, None


def write_all(folder: Path) -> None:
    """The files of all of these sets."""
    cars_archive(folder / FILES["cars3d"][0].name, cars_members(2))
    norb_files(folder, *norb_arrays())
    isaac_folder(folder, *isaac_arrays())
    np.savez(folder / FILES["mpi3d_real_complex"][0].name, images=random_images(48, 64, 64, 3))
