from pathlib import Path

import numpy as np
import pytest

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.data.load import default_data_dir, load_dataset

GENUINE = Path(__file__).parents[3] / "shared" / "real_pixels"


@pytest.fixture(scope="session")
def dsprites() -> FactorDataset:
    return load_dataset("dsprites_rendered")


@pytest.fixture(scope="session")
def shapes3d(tmp_path_factory) -> FactorDataset:
    """From the default folder where there is one, so that a second run of the tests finds the cache."""
    folder = default_data_dir()
    return load_dataset(
        "shapes3d_rendered", data_dir=folder if folder.is_dir() else tmp_path_factory.mktemp("data")
    )


@pytest.fixture(scope="session")
def genuine():
    """A reader of genuine images by file name, or a skipped test where there are none."""

    def read(name: str) -> dict[str, np.ndarray]:
        path = GENUINE / name
        if not path.is_file():
            pytest.skip("the genuine images are not part of the project")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    return read
