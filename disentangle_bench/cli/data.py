"""`bench data`: get, check and look at data sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from disentangle_bench.cli import complete
from disentangle_bench.cli.group import main
from disentangle_bench.cli.options import data_dir_option, parameter_option
from disentangle_bench.cli.output import make_progress, say

if TYPE_CHECKING:
    from disentangle_bench.data.official import FileStatus


@main.group()
def data() -> None:
    """Get, check and look at data sets."""


@data.command("list")
@data_dir_option
def data_list(data_dir: Path | None) -> None:
    """List the published files of data sets.

    A line says whether a file is there, how large it is, whether it is whole, and where it is from.
    """
    from disentangle_bench.data import official
    from disentangle_bench.data.load import default_data_dir

    print_files(official.listing(data_dir or default_data_dir()))
    say(
        "Names in _rendered and _drawn of `bench list datasets` are drawn when they are needed and want no file."
    )


@data.command("verify")
@click.argument("name", shell_complete=complete.names("data set"))
@data_dir_option
def data_verify(name: str, data_dir: Path | None) -> None:
    """Check the files of data set NAME against published hashes."""
    from disentangle_bench.data import official
    from disentangle_bench.data.load import default_data_dir

    found = official.verify(name, data_dir or default_data_dir())
    print_files(found)
    enough = all if name in official.PARTED else any
    if not enough(file.verified for file in found):
        sys.exit(1)


@data.command("get")
@click.argument("name", shell_complete=complete.names("data set"))
@click.option(
    "--mirror", metavar="URL", help="Download from here: the file, or its folder with / at the end."
)
@data_dir_option
def data_get(name: str, mirror: str | None, data_dir: Path | None) -> None:
    """Download the files of data set NAME, and check them.

    A broken download goes on where it ended.
    """
    from disentangle_bench.data import download
    from disentangle_bench.data.load import default_data_dir

    folder = data_dir or default_data_dir()
    for path, facts in download.get(name, folder, mirror=mirror, notify=make_progress().preparing):
        say(f"{path}: " + ("complete and verified" if facts.hashes else "there; no hash of it is published"))


@data.command("show")
@click.argument("name", shell_complete=complete.names("data set"))
@parameter_option
@click.option("--out", type=click.Path(path_type=Path), help="Write this PNG file.  [default: <name>.png]")
@data_dir_option
def data_show(
    name: str, parameters: tuple[tuple[str, Any], ...], out: Path | None, data_dir: Path | None
) -> None:
    """Draw a contact sheet of data set NAME.

    Each row sweeps the values of a factor.
    """
    from disentangle_bench.data.contact_sheet import save_contact_sheet
    from disentangle_bench.specs import DatasetSpec
    from disentangle_bench.study.study import load

    spec = DatasetSpec.model_validate({"name": name, "parameters": dict(parameters)})
    dataset = load(spec, make_progress(), data_dir)
    path = out or Path(f"{Path(name).stem}.png")
    save_contact_sheet(dataset, path)
    say(f"{path}: {dataset.name}, {dataset.provenance}, {len(dataset)} images")


def print_files(files: Sequence[FileStatus]) -> None:
    """A line for each published file."""
    states = {None: "not there", True: "verified", False: "DAMAGED"}
    width = max((len(file.dataset) for file in files), default=0)
    for file in files:
        size = "" if file.size is None else f"{file.size / 1e6:.1f} MB"
        state = states[file.verified] if file.hashed else "there"
        say(f"{file.dataset:<{width}} {state:<10} {size:>10}  {file.path}")
        say(f"{'':<{width}} from {file.url}" + (f"; {file.reason}" if file.reason else ""))
