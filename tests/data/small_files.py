"""Small files in the official layouts, with few values per factor, and the facts by which they count as whole."""

import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from disentangle_bench.data.layouts import DSPRITES_H5, DSPRITES_NPZ, SHAPES3D_H5, Layout, spaced
from disentangle_bench.data.official import FileFacts

FEW = ((1.0,), (1.0, 2.0, 3.0), spaced(0.5, 1, 2), spaced(0, 6, 3), spaced(0, 1, 2), spaced(0, 1, 4))
FEW_3D = ((0.0, 0.1), (0.0, 0.1), (0.0,), spaced(0.75, 1.25, 2), (0.0, 1.0, 2.0), spaced(-30, 30, 3))
LAYOUTS = {
    "small.npz": replace(DSPRITES_NPZ, values=FEW),
    "small.hdf5": replace(DSPRITES_H5, values=FEW),
    "small.h5": replace(SHAPES3D_H5, values=FEW_3D),
}


def arrays_of(layout: Layout) -> dict[str, np.ndarray]:
    """What a whole file of this layout holds; the images are random."""
    sizes = [len(values) for values in layout.values]
    classes = np.stack(np.unravel_index(np.arange(layout.length), sizes), axis=1).astype(np.int64)
    values = np.stack([np.array(v)[classes[:, k]] for k, v in enumerate(layout.values)], axis=1)
    shape = (layout.length, *layout.image_shape)
    images = np.random.default_rng(5).integers(0, layout.largest + 1, shape, dtype=np.uint8)
    return {layout.image_key: images, layout.value_key: values} | (
        {layout.class_key: classes} if layout.class_key else {}
    )


def write(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file.create_dataset(key, data=array, compression="gzip")
    return path


def facts_of(path: Path) -> FileFacts:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return FileFacts(path.name, "https://example.org/", LAYOUTS[path.name], {"sha256": digest})
