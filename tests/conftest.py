"""One thread a process, and long files first."""

import os

import pytest

# The tests' tensors are tiny, and threads that wait for each other on busy cores take ages.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

# A file belongs to one process. A long one that came last would leave the other cores idle.
LONG = ("test_interruption", "test_cores", "test_faults", "test_golden", "test_every_metric", "test_sharing")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # by the number of their tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)
