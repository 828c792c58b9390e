"""Where a result comes from: versions, device, commit, and the data with their hash."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

from disentangle_bench.data.factor_dataset import FactorDataset
from disentangle_bench.device import device_name
from disentangle_bench.version import __version__

VERSIONS_KEPT = ("torch", "numpy", "scipy", "scikit-learn")


def provenance(dataset: FactorDataset) -> dict[str, Any]:
    """Versions, device, threads, commit, time, and the data with their hash."""
    known = dataset.labelled
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"disentangle_bench": __version__}
        | {name: _version_of(name) for name in VERSIONS_KEPT}
        | {"python": platform.python_version()},
        "device": device_name(dataset.device),
        "threads": torch.get_num_threads(),
        "git_commit": _git_commit(),
        "data": {
            "name": dataset.name,
            "provenance": dataset.provenance,
            "fingerprint": dataset.fingerprint,
            "images": len(dataset),
            **({} if known is None else {"labelled": len(known)}),
            "nuisance": dataset.nuisance,
            "image_shape": list(dataset.image_shape),
            "factors": dict(zip(dataset.factor_names, dataset.factor_sizes, strict=True)),
            "labels": {factor: list(names) for factor, names in dataset.labels.items()},
            **({"real_valued": list(dataset.measured)} if dataset.measured else {}),
        },
    }


def _version_of(distribution: str) -> str:
    """The installed version; "unknown" for a package that is on the path only."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@cache
def _git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `+changes` where it was altered; None outside one.

    It is read once: a process goes on with the code that it has loaded, wherever the checkout moves meanwhile.
    """
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        tracked = subprocess.run(
            ["git", "-C", here, "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10
        )
        changed = subprocess.run(
            ["git", "-C", here, "diff", "--quiet", "HEAD"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if tracked.returncode:
        return None  # installed into somebody else's repository
    return commit + ("+changes" if changed.returncode else "")
