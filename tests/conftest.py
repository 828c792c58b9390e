"""One thread a process: the tests' tensors are tiny, and threads that wait for each other on busy cores take ages."""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
