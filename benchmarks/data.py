"""How fast data sets are ready and how fast a random batch of 64 is gathered, against random reads with h5py.

    python benchmarks/data.py [--device cuda] [--folder DIR]

The official files are stood in for by full-size files in their layouts, which the renderers fill (their hashes are
passed explicitly; the loaders never take them for the published ones). They need about 7 GB in DIR, a temporary
folder unless given; files that lie there already are used again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.layouts import Layout
from disentangle_bench.data.load import load_dataset
from disentangle_bench.data.official import FILES, FileFacts
from disentangle_bench.data.registered import DSprites, Shapes3D

BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--start", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        start_one(arguments.start[0], json.loads(arguments.start[1]), arguments.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        files = make_files(folder)
        starts(folder, files)
        gathers(folder, files, arguments.device)


def make_files(folder: Path) -> dict[str, FileFacts]:
    """Full-size files in the official layouts that renderers can fill, by name of the data set and suffix."""
    facts = {f"{name}{Path(f.name).suffix}": f for name, known in FILES.items() for f in known if f.layout}
    return {key: stand_in(folder / key / known.name, known) for key, known in facts.items()}


def stand_in(path: Path, published: FileFacts) -> FileFacts:
    """The facts of a rendered file in a published file's layout, written to `path` unless it is there."""
    if not path.is_file():
        path.parent.mkdir(parents=True)
        rendered = "shapes3d_rendered" if path.suffix == ".h5" else "dsprites_rendered"
        dataset = load_dataset(rendered, data_dir=path.parents[1])
        began = time.perf_counter()
        (write_npz if path.suffix == ".npz" else write_h5)(path, published.arrays, dataset)
        print(f"wrote {path.name}: {path.stat().st_size / 1e6:.0f} MB in {time.perf_counter() - began:.0f} s")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(published, hashes={"sha256": digest}, size=path.stat().st_size)


def images(layout: Layout, dataset: FactorDataset, rows: int) -> Iterator[np.ndarray]:
    for first in range(0, len(dataset), rows):
        block = (
            dataset.images(torch.arange(first, min(first + rows, len(dataset)))).permute(0, 2, 3, 1).numpy()
        )
        yield (block.reshape(len(block), *layout.image_shape) // (255 // layout.largest)).astype(np.uint8)


def factor_arrays(layout: Layout) -> dict[str, np.ndarray]:
    classes = np.stack(np.unravel_index(np.arange(layout.length), [len(v) for v in layout.values]), axis=1)
    values = np.stack([np.array(v)[classes[:, k]] for k, v in enumerate(layout.values)], axis=1)
    return {layout.value_key: values} | ({layout.class_key: classes} if layout.class_key else {})


def write_npz(path: Path, layout: Layout, dataset: FactorDataset) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in factor_arrays(layout).items():
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array(file, array)
        with archive.open(f"{layout.image_key}.npy", "w", force_zip64=True) as file:
            shape = (layout.length, *layout.image_shape)
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for block in images(layout, dataset, 4096):
                file.write(block.tobytes())


def write_h5(path: Path, layout: Layout, dataset: FactorDataset) -> None:
    with h5py.File(path, "w") as file:
        for key, array in factor_arrays(layout).items():
            file[key] = array
        shape = (layout.length, *layout.image_shape)
        stored = file.create_dataset(layout.image_key, shape, np.uint8, compression="gzip")
        first = 0
        for block in images(layout, dataset, stored.chunks[0]):
            stored[first : first + len(block)] = block
            first += len(block)


def starts(folder: Path, files: dict[str, FileFacts]) -> None:
    """First and second start of each set in a fresh process: seconds without imports, peak memory."""
    print(f"\n{'data set':24}{'first start':>12}{'peak memory':>13}{'second start':>14}{'peak memory':>13}")
    for key in ("dsprites_rendered", "shapes3d_rendered", *files):
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            if key in files:
                os.link(folder / key / files[key].name, Path(fresh) / files[key].name)
            command = [sys.executable, __file__, "--folder", fresh, "--start", key]
            command.append(json.dumps(dict(files[key].hashes) if key in files else {}))
            first, second = (json.loads(subprocess.check_output(command)) for _ in range(2))
        row = [f"{first['s']:10.1f} s{first['mb']:10.0f} MB", f"{second['s']:12.1f} s{second['mb']:10.0f} MB"]
        print(f"{key:24}{''.join(row)}", flush=True)


def start_one(key: str, hashes: dict[str, str], folder: Path) -> None:
    began = time.perf_counter()
    load(key, hashes, folder)
    seconds = time.perf_counter() - began
    print(json.dumps({"s": seconds, "mb": peak_memory_mb()}))


def peak_memory_mb() -> float:
    """The most this process ever held, libraries included; getrusage would count its parent's memory too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def load(key: str, hashes: dict[str, str], folder: Path) -> FactorDataset:
    if not hashes:
        return load_dataset(key, data_dir=folder)
    name, suffix = key.split(".")
    files = [replace(f, hashes=hashes, size=None) for f in FILES[name] if f.name.endswith(suffix)]
    source = {"dsprites": DSprites, "shapes3d": Shapes3D}[name]()
    source.files = files
    return source.load(data_dir=folder)


def gathers(folder: Path, files: dict[str, FileFacts], device: str) -> None:
    """Milliseconds for a random batch of 64 on one core, and how many times faster than h5py that is."""
    # Threads that wait for each other would measure what else runs on the machine.
    torch.set_num_threads(1)
    print(f"\n{'random batch of 64':24}{'gather':>12}{'h5py':>14}{'ratio':>9}")
    for key, h5 in (
        ("dsprites_rendered", "dsprites.hdf5"),
        ("dsprites.hdf5", "dsprites.hdf5"),
        ("shapes3d_rendered", "shapes3d.h5"),
        ("shapes3d.h5", "shapes3d.h5"),
    ):
        hashes = dict(files[key].hashes) if key in files else {}
        dataset = load(key, hashes, folder / key if key in files else folder).to(device)
        ours = per_call(gather(dataset), 300)
        with h5py.File(folder / h5 / files[h5].name) as file:
            theirs = per_call(read_h5(file[files[h5].arrays.image_key]), 3)
        print(f"{key:24}{1e3 * ours:9.3f} ms{1e3 * theirs:11.1f} ms{theirs / ours:9.0f}", flush=True)


def gather(dataset: FactorDataset) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)

    def batch() -> None:
        dataset.images(torch.randint(len(dataset), (BATCH,), generator=generator))
        if dataset.device.type == "cuda":
            torch.cuda.synchronize()

    return batch


def read_h5(stored: h5py.Dataset) -> Callable[[], None]:
    generator = np.random.default_rng(0)

    def batch() -> None:
        stored[np.sort(generator.choice(len(stored), BATCH, replace=False))]

    return batch


def per_call(call: Callable[[], None], times: int) -> float:
    """The median of a call's seconds."""
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
