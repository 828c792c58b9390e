"""The Triton kernels of a stack's layers without a GPU: numbers by Triton's interpreter, tiles and parts by count."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

try:
    TRITON = tuple(int(part) for part in version("triton").split(".")[:2])
except PackageNotFoundError:
    TRITON = (0, 0)
pytestmark = pytest.mark.skipif(TRITON == (0, 0), reason="Triton is not installed")


@pytest.mark.skipif(
    TRITON < (3, 5), reason="Triton before 3.5 has no products of float64, which these tests use"
)
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_interpreted_on_a_cpu_they_are_the_convolutions(which: str) -> None:
    inner = Path(__file__).with_name("interpreted_kernels.py")
    places = [str(inner.parent.parent / name) for name in ("", "train")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        which,
        "-p",
        "no:cacheprovider",
        "-p",
        "no:logging",
        inner,
    ]
    found = subprocess.run(
        command,
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([*places, *sys.path])},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_tiles_fit_on_a_multiprocessor() -> None:
    from disentangle_bench.models.kernel_ops import tile

    for size in (2, 4):
        for rows, columns, depth in ((65_536, 32, 512), (16, 32, 65_536), (65_536, 4, 128), (7, 300, 9)):
            found = tile(rows, columns, depth, size)
            # Three stages of both operands, of two blocks at once.
            assert 2 * 3 * size * found.depth * (found.rows + found.columns) <= 228 * 1024
            # The sums take half of a thread's registers at most: 64 K for two blocks of so many warps.
            assert found.rows * found.columns <= 32_768 // 2
            assert min(found.rows, found.columns, found.depth) >= 16


def test_parts_fill_the_card_and_stay_long() -> None:
    from disentangle_bench.models.kernel_ops import parts_of

    assert parts_of(blocks=64, pixels=65_536) == 8  # 512 blocks; four parts would be 256
    assert parts_of(blocks=1, pixels=65_536) == 64  # 1,024 pixels each
    assert parts_of(blocks=1, pixels=1_000) == 1
    assert parts_of(blocks=1_000, pixels=65_536) == 1
