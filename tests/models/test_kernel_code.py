"""What the compiler makes of the kernels for an H100: everything in registers, and products by matrix instructions."""

import json
import os
import subprocess
import sys

import kernels as script
import mock_h100
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(mock_h100.missing()), reason=mock_h100.missing() or "never"),
]


@pytest.mark.parametrize(("channels", "precision"), [(1, "bfloat16"), (3, "bfloat16"), (1, "tf32")])
def test_a_step_of_a_vae(channels: int, precision: str) -> None:
    """In a process of its own, for it changes what Triton compiles for."""
    code = (
        "import json, kernels; from dataclasses import asdict;"
        f"found = kernels.built(({channels}, 64, 64), {precision!r});"
        "print(json.dumps([asdict(one) | {'blocks': one.blocks} for one in found], default=str))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {one["name"] for one in found} == set(script.NAMES)
    assert len(found) > 15
    for one in found:
        assert one["spilled"] == 0
        assert one["matrix_instructions"]
        assert one["blocks"] >= 2, "half of a multiprocessor would wait"
        # TF32 takes operands from shared memory in one order only, and narrow loads turn them.
        if precision == "bfloat16" and one["sizes"]["A"] % 8 == 0 and one["sizes"]["B"] % 8 == 0:
            assert one["wide"] >= one["narrow"]


def test_blocks_on_a_multiprocessor_by_hand() -> None:
    def built(**changed):
        known = {
            "name": "halve_blocks",
            "sizes": {},
            "registers": 100,
            "spilled": 0,
            "shared": 20 << 10,
            "warps": 4,
        }
        return script.Built(**known | {"matrix_instructions": 1, "wide": 1, "narrow": 0} | changed)

    assert built().blocks == 4  # 104 registers of 128 threads: 13,312 of 65,536
    assert built(shared=100 << 10).blocks == 2  # 101 KiB of 228
    assert built(warps=8).blocks == 2
