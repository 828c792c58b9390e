"""Freed memory stays with the process, once it has been asked to keep it."""

import platform
import subprocess
import sys

import pytest
import torch

from disentangle_bench.train.memory import map_constants

FAULTS = """
import resource
import numpy
from disentangle_bench.train.memory import keep_freed_memory

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        tensors = [numpy.ones(2**18) for _ in range(40)]  # 2 MiB each
        del tensors
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10

first = faults_of_a_step()
keep_freed_memory()
faults_of_a_step()
print(first, faults_of_a_step())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_step_gets_the_pages_of_the_step_before() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    first, kept = map(float, done.stdout.split())
    assert first > 1_000  # 80 MiB are up to 20,480 pages
    assert kept < 10


def test_log1p_is_as_torch_gives_it_after_its_constants_were_mapped() -> None:
    values = torch.linspace(0, 3, 1000)
    before = torch.log1p(values)
    map_constants()
    assert torch.equal(torch.log1p(values), before)
