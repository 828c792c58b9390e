"""Launchers of one's own: the example of docs/scale.md, as it stands, by an entry point and by its name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_data
from doc_blocks import DOCS, blocks

from disentangle_bench.records.study_dir import StudyDir

(EXAMPLE,) = blocks(DOCS / "scale.md", "python")


@pytest.mark.parametrize("name", ["inline", "my_launcher:Inline", "inlin"])
def test_a_launcher_of_ones_own(name: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    site = tmp_path / "site"
    info = site / "my_launcher-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "my_launcher.py").write_text(EXAMPLE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_launcher\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[disentangle_bench.launchers]\ninline = my_launcher:Inline\n")
    done = subprocess.run(
        [sys.executable, "-m", "disentangle_bench", "run", "tiny.toml", "--launcher", name, "--out", "study"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path])},
        capture_output=True,
        text=True,
    )
    if name == "inlin":
        assert done.returncode == 2
        assert "Did you mean 'inline'?" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert len(list(StudyDir(tmp_path / "study").records())) == 6
