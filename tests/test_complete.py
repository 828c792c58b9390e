"""What the shell offers at the Tab key: names that exist, in every shell, without torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_data
from click.shell_completion import ShellComplete, get_completion_class

from disentangle_bench import registry
from disentangle_bench.cli import main

RUN = "tiny_data_SQUARES-vae-s0-0123abcd"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(tiny_data.GRID)
    for study in ("results/tiny", "elsewhere/other"):
        (tmp_path / study / "runs" / RUN).mkdir(parents=True)
        (tmp_path / study / "grid.toml").write_text(tiny_data.GRID)
    (tmp_path / "results/tiny/leaderboard.csv").write_text("model,mig_mean,mig_n,sap_mean\nvae,1,1,1\n")
    return tmp_path


def offered(*words: str) -> list[str]:
    """What goes on from the last of these words."""
    *before, typed = words
    complete = ShellComplete(main, {}, "bench", "_BENCH_COMPLETE")
    return [item.value for item in complete.get_completions(list(before), typed) if item.type == "plain"]


def test_what_is_offered(here: Path) -> None:
    assert offered("run", "quick") == ["quickstart"]
    assert offered("run", "ti") == offered("show", "ti") == ["tiny.toml"]
    assert set(offered("grids", "")) > {"quickstart"}
    assert offered("report", "") == offered("status", "res") == ["results/tiny"]
    assert offered("leaderboard", "results/tiny", "elsewhere/") == ["elsewhere/other"]
    assert offered("leaderboard", "results/tiny", "--sort", "") == ["mig", "sap"]
    assert offered("sample", "results/tiny/runs/tiny") == [f"results/tiny/runs/{RUN}"]
    assert offered("traverse", "") == [f"results/tiny/runs/{RUN}"]
    assert offered("show", "results/") == ["results/tiny"]
    assert offered("show", "results/tiny/runs/") == [f"results/tiny/runs/{RUN}"]
    assert offered("score", "results/tiny", "--metric", "mi") == ["mig", "mig_sup"]
    assert offered("calibrate", "mpi3d_r") == ["mpi3d_realistic", "mpi3d_real", "mpi3d_real_complex"]
    assert offered("data", "get", "cars3d") == ["cars3d", "cars3d_128"]
    assert offered("run", "tiny.toml", "--callback", "") == registry.names("callback")
    assert offered("list", "m") == ["models", "metrics"]
    assert offered("list", "models", "info") == ["info_vae"]
    assert offered("compare", "results/tiny", "--a", "model=beta_") == ["model=beta_vae", "model=beta_tcvae"]


def test_where_no_name_fits_the_shell_completes_paths(here: Path) -> None:
    complete = ShellComplete(main, {}, "bench", "_BENCH_COMPLETE")
    assert [(i.value, i.type) for i in complete.get_completions(["run"], "elsew")] == [("elsew", "file")]
    assert [(i.value, i.type) for i in complete.get_completions(["report"], "no/")] == [("no/", "dir")]


# Ends as the shell's own script does, and then prints what was imported.
CODE = """
import sys
from disentangle_bench.cli import main
try:
    main(prog_name="bench")
finally:
    print(" ".join(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_answered_without_torch(here: Path, shell: str) -> None:
    typed = {"COMP_WORDS": "bench run quick", "COMP_CWORD": "quick" if shell == "fish" else "2"}
    environment = os.environ | {"_BENCH_COMPLETE": f"{shell}_complete"} | typed
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert "quickstart" in done.stdout.replace(",", "\n").split("\n")
    assert not {"torch", "numpy", "pandas", "pydantic"} & set(done.stderr.split())
    assert "_BENCH_COMPLETE" in get_completion_class(shell)(main, {}, "bench", "_BENCH_COMPLETE").source()
