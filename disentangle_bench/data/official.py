"""The published files: where they are, what their hashes are, and which of them lie in a folder, whole.

A file counts as official only if its hash is the published one. `files` arguments exist so that tests can pass facts
of their own; the facts of the real files are `FILES`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from disentangle_bench.data.layouts import DSPRITES_H5, DSPRITES_NPZ, SHAPES3D_H5, Layout
from disentangle_bench.errors import BenchError, unknown_name

if TYPE_CHECKING:
    from disentangle_bench.data.factor_dataset import Notify

PIECE = 1 << 22


@dataclass(frozen=True)
class FileFacts:
    """A published file: its name, its address, the layout of its arrays and every hash (hexadecimal) that is known.

    `hashes` may have the keys "md5", "sha1", "sha256" and "git-blob" (the sha1 that git gives the content); all
    must be right. `size` is in bytes, None where it is not published. `layout` is None where the data set's own
    reader knows it. `by_hand`: the address is a page for people, from which nothing can be downloaded.
    """

    name: str
    url: str
    layout: Layout | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    by_hand: bool = False

    @property
    def arrays(self) -> Layout:
        """The layout of a file that has one."""
        assert self.layout is not None
        return self.layout


@dataclass(frozen=True)
class FileStatus:
    """What is known of a file in a folder: `verified` is None where there is no file, else whether it is whole.

    `hashed` is whether a hash is published; without one, that a file is whole means no more than that it is there.
    """

    dataset: str
    path: Path
    url: str
    size: int | None
    verified: bool | None
    reason: str = ""
    hashed: bool = True


DSPRITES_BASE = (
    "https://github.com/deepmind/dsprites-dataset/raw/master/dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
)
# Data sets that are drawn again under another name.
DRAWN_TOO = ("dsprites", "shapes3d")
MPI3D_BASE = "https://huggingface.co/datasets/waleedgondal/mpi3d/resolve/main"
MPI3D_MD5 = {
    "mpi3d_toy": "55889cb7c7dfc655d6e0277beee88868",
    "mpi3d_realistic": "59a6225b88b635365f70c91b3e52f70f",
    "mpi3d_real": "0f33f609918fb5c97996692f91129802",
}
MPI3D_BYTES = 12_740_198_762
CARS3D = FileFacts(
    name="nips2015-analogy-data.tar.gz",
    url="http://www.scottreed.info/files/nips2015-analogy-data.tar.gz",
    hashes={"md5": "4e866a7919c1beedf53964e6f7a23686"},
)
NORB_BASE = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small"
NORB_MD5 = {
    "5x46789x9x18x6x2x96x96-training-dat": "66054832f9accfe74a0f4c36a75bc0a2",
    "5x46789x9x18x6x2x96x96-training-cat": "23c8b86101fbf0904a000b43d3ed2fd9",
    "5x46789x9x18x6x2x96x96-training-info": "51dee1210a742582ff607dfd94e332e3",
    "5x01235x9x18x6x2x96x96-testing-dat": "e4ad715691ed5a3a5f138751a4ceb071",
    "5x01235x9x18x6x2x96x96-testing-cat": "5aa791cd7e6016cf957ce9bdb93b8603",
    "5x01235x9x18x6x2x96x96-testing-info": "a9454f3864d7fd4bb3ea7fc3eb84924e",
}
# Files that torchvision's data sets read, with its hashes, in the folders where it puts them.
MNIST_FILES = {
    "mnist": (
        "MNIST/raw",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "9fb629c4189551a2d022fa330f9573f3"),
    ),
    "fashion_mnist": (
        "FashionMNIST/raw",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "bef4ecab320f06d8554ea6380940ec79"),
    ),
}
MNIST_NAMES = ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz")
CELEBA_PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
# Data sets of which every file is needed; of the others any one file is enough.
PARTED = ("smallnorb", *MNIST_FILES)
FILES: Mapping[str, tuple[FileFacts, ...]] = {
    "dsprites": (
        FileFacts(
            name="dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
            url=f"{DSPRITES_BASE}.npz",
            layout=DSPRITES_NPZ,
            hashes={
                "md5": "7da33b31b13a06f4b04a70402ce90c2e",
                "git-blob": "d98996d3f8ee1550e06b9d4ed78d0beb478910d5",
            },
        ),
        FileFacts(
            name="dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5",
            url=f"{DSPRITES_BASE}.hdf5",
            layout=DSPRITES_H5,
            hashes={
                "sha256": "729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb",
                "md5": "b331c4447a651c44bf5e8ae09022e230",
            },
            size=28_024_106,
        ),
    ),
    "shapes3d": (
        FileFacts(
            name="3dshapes.h5",
            url="https://storage.googleapis.com/3d-shapes/3dshapes.h5",
            layout=SHAPES3D_H5,
            hashes={
                "sha256": "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785",
                "md5": "099a2078d58cec4daad0702c55d06868",
            },
            size=267_573_662,
        ),
    ),
    **{
        name: (FileFacts(f"{name}.npz", f"{MPI3D_BASE}/{name}.npz", hashes={"md5": md5}, size=MPI3D_BYTES),)
        for name, md5 in MPI3D_MD5.items()
    },
    "mpi3d_real_complex": (
        FileFacts(
            name="real3d_complicated_shapes_ordered.npz",
            url="https://drive.google.com/file/d/1Tp8eTdHxgUMtsZv5uAoYAbJR1BOa_OQm/view",
            by_hand=True,
        ),
    ),
    "isaac3d": (
        FileFacts(
            name="Isaac3D_down128/labels.npy",
            url="https://drive.google.com/file/d/1OmQ1G2wnm6eTsSFGTKFZZAh5D3nQTW1B/view",
            by_hand=True,
        ),
    ),
    "cars3d": (CARS3D,),
    "cars3d_128": (CARS3D,),
    "smallnorb": tuple(
        FileFacts(f"smallnorb-{part}.mat.gz", f"{NORB_BASE}/smallnorb-{part}.mat.gz", hashes={"md5": md5})
        for part, md5 in NORB_MD5.items()
    ),
    **{
        name: tuple(
            FileFacts(f"{folder}/{file}", f"{base}/{file}", hashes={"md5": md5})
            for file, md5 in zip(MNIST_NAMES, hashes, strict=True)
        )
        for name, (folder, base, hashes) in MNIST_FILES.items()
    },
    "celeba": (
        FileFacts(
            name="celeba/img_align_celeba.zip",
            url=CELEBA_PAGE,
            hashes={"md5": "00d2c5bc6d35e252742224ab0c1e8fcb"},
            by_hand=True,
        ),
        # The folder that the archive holds, known by its last file.
        FileFacts(name="celeba/img_align_celeba/202599.jpg", url=CELEBA_PAGE, by_hand=True),
    ),
}
# What a start needs of a data set's folder, so that nothing is downloaded where it is there: what the loaders made of
# the files, whose number is raised when that changes, or the file itself where images are read from it.
CACHES = {
    "dsprites": "dsprites.packed.r1.npy",
    "shapes3d": "shapes3d.r1.npy",
    "cars3d": "cars3d.r1.npy",
    "cars3d_128": "cars3d_128.r1.npy",
    "smallnorb": "smallnorb.r1.npy",
    "isaac3d": "isaac3d.r1.npy",
    "mnist": "mnist.r1.npy",
    "fashion_mnist": "fashion_mnist.r1.npy",
    "celeba": "celeba.r1.npy",
    **{name: FILES[name][0].name for name in (*MPI3D_MD5, "mpi3d_real_complex")},
}


def files_of(name: str) -> tuple[FileFacts, ...]:
    """The published files of a data set, the preferred one first. Raises BenchError for an unknown name."""
    if name not in FILES:
        raise unknown_name("data set with published files", name, FILES)
    return FILES[name]


def find(files: Sequence[FileFacts], data_dir: Path, name: str) -> tuple[Path, FileFacts]:
    """The first of these files that lies in `data_dir`, verified.

    Raises BenchError where there is none, with what to do, and where one is not what it should be.
    """
    path, facts = find_one(files, data_dir, name)
    check(path, facts)
    return path, facts


def find_one(files: Sequence[FileFacts], data_dir: Path, name: str) -> tuple[Path, FileFacts]:
    """The first of these files that lies in `data_dir`, unread. Raises BenchError where there is none."""
    for facts in files:
        path = data_dir / facts.name
        if path.is_file():
            return path, facts
    raise _missing(files[0], " or ".join(facts.name for facts in files), data_dir, name)


def find_all(files: Sequence[FileFacts], data_dir: Path, name: str) -> list[Path]:
    """The files in `data_dir`, each verified. Raises BenchError where one is missing or not what it should be."""
    for facts in files:
        if not (data_dir / facts.name).is_file():
            raise _missing(facts, facts.name, data_dir, name)
    for facts in files:
        check(data_dir / facts.name, facts)
    return [data_dir / facts.name for facts in files]


def _missing(facts: FileFacts, wanted: str, data_dir: Path, name: str) -> BenchError:
    """The error of a file that is not there: how it is had."""
    how = (
        by_hand(facts, data_dir)
        if facts.by_hand
        else f"`bench data get {name}` downloads them; without a network, put {wanted} there (from {facts.url})."
    )
    drawn = f" {name}_rendered needs no download." if name in DRAWN_TOO else ""
    return BenchError(f"the official files of {name} are not all in {data_dir}. {how}{drawn}")


def by_hand(facts: FileFacts, folder: Path) -> str:
    """A sentence on how a file is had that no command can get."""
    whole = facts.name.endswith((".zip", ".npz"))
    unpacked = "" if whole else ", unpacked where it comes in an archive"
    return f"Get it by hand from {facts.url}, so that {folder / facts.name} is there{unpacked}."


def check(path: Path, facts: FileFacts, notify: Notify | None = None) -> None:
    """Raise BenchError with the reason unless the file has the published size and every published hash."""
    check_size(path, facts)
    for kind, found in file_hashes(path, facts.hashes, notify).items():
        if found != facts.hashes[kind]:
            raise BenchError(
                f"{path} is damaged or another file: its {kind} is {found}, published is"
                f" {facts.hashes[kind]}; move it away and get that one from {facts.url}"
            )


def check_size(path: Path, facts: FileFacts) -> None:
    """Raise BenchError unless the file has the published size, where one is published."""
    size = path.stat().st_size
    if facts.size is not None and size != facts.size:
        raise BenchError(
            f"{path} has {size} bytes, the published file has {facts.size}: it is not that file; move it away and"
            f" get that one from {facts.url}"
        )


def file_hashes(
    path: Path, kinds: Sequence[str] | Mapping[str, str], notify: Notify | None
) -> dict[str, str]:
    """The hashes of these kinds, hexadecimal, in one pass over the file."""
    size, done = path.stat().st_size, 0
    digests = {
        kind: hashlib.new("sha1" if kind == "git-blob" else kind, usedforsecurity=False) for kind in kinds
    }
    if "git-blob" in digests:
        digests["git-blob"].update(b"blob %d\0" % size)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            for digest in digests.values():
                digest.update(piece)
            done += len(piece)
            if notify is not None:
                notify(f"checking {path.name}", done, size)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def listing(data_dir: Path, files: Mapping[str, Sequence[FileFacts]] = FILES) -> list[FileStatus]:
    """For every published file of every data set, what lies in `data_dir`: plain data for a table."""
    return [status(name, facts, data_dir) for name, known in files.items() for facts in known]


def verify(name: str, data_dir: Path) -> list[FileStatus]:
    """What lies in `data_dir` of one data set. Raises BenchError for an unknown name."""
    return [status(name, facts, data_dir) for facts in files_of(name)]


def status(dataset: str, facts: FileFacts, data_dir: Path) -> FileStatus:
    """Whether the file is in `data_dir`, how large it is and whether it is whole."""
    path = data_dir / facts.name
    if not path.is_file():
        return FileStatus(dataset, path, facts.url, None, None)
    size = path.stat().st_size
    try:
        check(path, facts)
    except (BenchError, OSError) as error:
        return FileStatus(dataset, path, facts.url, size, False, str(error))
    return FileStatus(dataset, path, facts.url, size, True, hashed=bool(facts.hashes))
