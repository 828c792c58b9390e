"""Plain lines say how fast the work goes now."""

import io

import pytest

from disentangle_bench import progress
from disentangle_bench.progress import Lines


def test_the_rate_is_that_since_the_line_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    lines = Lines(out)
    lines.run_started(["run"])
    lines.phase(["run"], "training", 300_000)
    for seconds, steps in ((60, 100), (20, 50_000), (20, 50_000)):
        now[0] += seconds
        lines.advance(["run"], steps)
    said = out.getvalue().splitlines()[1:]
    assert said == [
        "  training 100/300000, 1.67/s, 179940 s left",
        "  training 50100/300000, 2,500/s, 100 s left",
        "  training 100100/300000, 2,500/s, 80 s left",
    ]
