"""The trees' library computes in the thread that asks it: whoever asks decides how many there are."""

import subprocess
import sys
from pathlib import Path

import pytest

THREADS = Path("/proc/self/task")
COUNTED = """
import os
import numpy as np
from disentangle_bench.metrics.boosted_trees import fit_histogram

rng = np.random.default_rng(0)
points = rng.normal(size=(2000, 3))
before = len(os.listdir("/proc/self/task"))
fit_histogram(points, (points[:, 0] > 0).astype(int), points, rng)
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(not THREADS.exists(), reason="this system does not list a process's threads")
def test_trees_start_no_threads_of_their_own() -> None:
    # Two processes that start a thread per core each wait for each other's for far longer than they compute.
    environment = {"OMP_NUM_THREADS": "2", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", COUNTED], capture_output=True, text=True, env=environment, check=True
    )
    assert int(done.stdout) == 0
