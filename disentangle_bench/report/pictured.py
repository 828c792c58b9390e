"""A run that stands for a row of the leaderboard: its pictures with labels, its curves and its heat map."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disentangle_bench.records.run_record import RunRecord
from disentangle_bench.records.study_dir import StudyDir
from disentangle_bench.report.words import CURVES

PICTURES = ("reconstructions.png", "samples.png", "traversals.png", "traversals.gif")
MOVING = "traversals.gif"
TRAVERSED = (
    20  # latents of a picture; of a larger code those whose codes vary most, and their numbers are not kept
)
ACROSS = 10  # images in a row of the moving picture
CURVE_POINTS = 60
CURVE_SIZE = (240, 90)


@dataclass(frozen=True)
class Picture:
    """A picture's path, what it shows, and the labels of its rows (`down`), columns (`across`) and ends."""

    path: str
    caption: str
    down: tuple[str, ...] = ()
    across: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether it is a moving picture, which is not shown to people who ask for less motion."""
        return self.path.endswith(MOVING)


@dataclass(frozen=True)
class Setting:
    """What the page shows of a run."""

    row: int
    run: str
    seed: int
    pictures: tuple[Picture, ...]
    curves: tuple[Mapping[str, Any], ...]
    factors: tuple[str, ...]
    information: tuple[tuple[float, ...], ...]


def setting_of(study: StudyDir, folder: Path, row: int, record: RunRecord) -> Setting:
    """What is shown of this run, its pictures copied into `folder`/pictures."""
    run = record.spec.id
    source = study.runs / run / "pictures"
    there = [name for name in PICTURES if _is_own_picture(study.runs / run, source / name)]
    if there:
        (folder / "pictures" / run).mkdir(parents=True)
    for name in there:
        shutil.copyfile(source / name, folder / "pictures" / run / name)
    information = record.scores.get("mutual_information") or ()
    return Setting(
        row=row,
        run=run,
        seed=record.spec.seed,
        pictures=tuple(
            _labelled(f"pictures/{run}/{name}", name, record.spec.network.latents, "samples.png" in there)
            for name in there
        ),
        curves=tuple(
            _curve(record, name, title) for name, title in CURVES.items() if name in record.curves[0]
        ),
        factors=tuple(record.provenance["data"].get("factors", {})),
        information=tuple(tuple(line) for line in information),
    )


def _labelled(path: str, name: str, latents: int, prior: bool) -> Picture:
    """The picture with its labels; only a model with a prior has samples, and only such latents have units."""
    if name == "reconstructions.png":
        return Picture(
            path, "Images of the data set and their reconstructions", down=("original", "reconstruction")
        )
    if name == "samples.png":
        return Picture(path, "Images decoded from samples of the prior")
    numbered = latents <= TRAVERSED
    which = "" if numbered else f" Of {latents} latents the {TRAVERSED} whose codes vary most are shown."
    ends = ("-2", "2") if prior else ("5 %", "95 %")
    span = (
        "from -2 to 2 standard deviations of the prior"
        if prior
        else "from the 5 % to the 95 % quantile of the data's codes"
    )
    names = tuple(f"z{number}" for number in range(latents)) if numbered else ()
    if name != MOVING:
        return Picture(path, f"One latent a row moves {span}.{which}", down=names, ends=ends)
    caption = f"All latents at once, each in a column of its own, move {span} and back.{which}"
    if min(latents, TRAVERSED) <= ACROSS:
        return Picture(path, caption, across=names)
    caption = f"Each image moves a latent of its own {span} and back, {ACROSS} in a row.{which}"
    starts = range(0, min(latents, TRAVERSED), ACROSS) if numbered else ()
    return Picture(path, caption, down=tuple(f"z{first} ..." for first in starts))


def _is_own_picture(run: Path, path: Path) -> bool:
    """Whether the picture is there and lies in the run: a link could show any file of this machine's."""
    return path.is_file() and path.resolve().is_relative_to(run.resolve())


def _curve(record: RunRecord, name: str, title: str) -> dict[str, Any]:
    """A curve as the points of an SVG line, thinned out, with its ends in words."""
    kept = np.unique(np.linspace(0, len(record.curves) - 1, CURVE_POINTS).astype(int))
    steps = np.array([record.curves[i]["step"] for i in kept])
    values = np.array([record.curves[i].get(name, math.nan) for i in kept])
    has = np.isfinite(values)
    if not has.any():
        return {"title": title, "points": "", "words": "no finite value"}
    steps, values = steps[has], values[has]
    width, height = CURVE_SIZE
    x = (steps - steps[0]) / max(float(np.ptp(steps)), 1.0) * width
    y = height - (values - values.min()) / max(float(np.ptp(values)), 1e-12) * height
    points = " ".join(f"{a:.0f},{b:.0f}" for a, b in zip(x, y, strict=True))
    words = f"{values[0]:.4g} at step {steps[0]:.0f}, {values[-1]:.4g} at step {steps[-1]:.0f}"
    return {"title": title, "points": points, "words": words}
