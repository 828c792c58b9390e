"""The grids that come with the package, each by its name."""

from __future__ import annotations

from pathlib import Path

from disentangle_bench.errors import unknown_name


def shipped_grids() -> dict[str, Path]:
    """Where the file of each grid lies, by name."""
    installed = Path(__file__).parent / "grids"
    # In a checkout they lie where people look for them.
    folder = installed if installed.is_dir() else Path(__file__).parents[1] / "grids"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def grid_path(given: Path) -> Path:
    """The file that `given` means: itself where it is a path, else the grid of this name that comes with the package.

    Raises BenchError for a bare name that is neither a file nor such a grid.
    """
    if given.is_file() or given.suffix or len(given.parts) != 1:
        return given
    known = shipped_grids()
    if str(given) not in known:
        raise unknown_name("grid", str(given), known)
    return known[str(given)]
