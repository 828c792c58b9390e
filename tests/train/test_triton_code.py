"""What inductor writes for a GPU is the update: interpreted it gives the eager numbers, and it builds for sm_90.

No GPU is needed: the code is written for a stand-in (`benchmarks/mock_h100.py`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import mock_h100
import pytest
from stack_cases import CASES

SCRIPT = Path(__file__).with_name("triton_case.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(mock_h100.missing()), reason=mock_h100.missing() or "never"),
]


def found(folder: Path, *arguments: str) -> dict:
    """What the script says in a process of its own, which finds nothing that was compiled before."""
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
    }
    if arguments[0] in ("compare", "draws"):
        environment["TRITON_INTERPRET"] = "1"
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments], env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", [case.id for case in CASES])
def test_the_code_gives_the_numbers_of_the_eager_update(case: str, tmp_path: Path) -> None:
    ours = found(tmp_path, "compare", case)
    assert ours["launches"]
    for part, distance in ours["distances"].items():
        assert distance < 1e-9, part
    assert not ours["late"], "a weight is read after it has been moved"


def test_the_comparison_sees_a_millionth(tmp_path: Path) -> None:
    ours = found(tmp_path, "compare", "vae", "0")
    assert all(distance > 1e-9 for distance in ours["distances"].values())


@pytest.mark.parametrize("case", ["vae", "factor_vae"])
def test_the_code_builds(case: str, tmp_path: Path) -> None:
    binaries = found(tmp_path, "build", case)
    assert binaries
    assert all(forms and all(forms) for forms in binaries.values())


def test_bytes_and_operations_are_those_counted_by_hand(tmp_path: Path) -> None:
    doubled = 2 * 4 * 3 * 5 * 16
    product = 4 * 3 * (5 * 8 + 8 * 16 + 5 * 16)
    assert found(tmp_path, "count") == [[doubled, 0], [product, 2 * 3 * 5 * 8 * 16]]


@pytest.mark.parametrize("case", ["vae", "factor_vae"])
def test_the_code_draws_the_same_numbers(case: str, tmp_path: Path) -> None:
    ours = found(tmp_path, "draws", case)
    assert 1 <= ours["launches"] <= 8
    assert ours["integers"] == 0
    assert ours["others"] < 1e-6
