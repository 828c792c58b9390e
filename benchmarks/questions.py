"""Tables of questions that were asked at 32 x 32 pixels: what one change does to runs of the small track."""

from __future__ import annotations

import numpy as np
import pandas as pd
from published_runs import mean_and_interval, read_runs, table
from small_track import EXPERIMENT, MORE_SEEDS, SHOWN

from disentangle_bench.report.statistics import differences, significant_pairs

MEASURES = ["reconstruction_nats", *SHOWN]
DATASET = "dsprites"
VAE, TORCH_VAE, FACTOR_VAE = "vae", "grids.torch_initialisation:TorchVAE", "factor_vae"
# The rows of a question's table: what each is called, and the experiment and model of its runs. The first is the one
# that the others are held against.
QUESTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "learning rate": {
        "1e-3, the track's": (EXPERIMENT, VAE),
        "5e-4": ("small-rate-low", VAE),
        "2e-3": ("small-rate-high", VAE),
    },
    "initialisation ten": {
        "ten latents, Glorot": (EXPERIMENT, VAE),
        "ten latents, torch": ("small-init-ten", TORCH_VAE),
    },
    "initialisation six": {
        "six latents, Glorot": ("small-init-six", VAE),
        "six latents, torch": ("small-init-six", TORCH_VAE),
    },
    "architecture": {
        "the track's convolutions": (EXPERIMENT, VAE),
        "`style`": ("small-network-style", VAE),
        "`fc`, 1,200 units": ("small-network-fc", VAE),
    },
    "discriminator batch": {
        "a second batch, the track's": (EXPERIMENT, FACTOR_VAE),
        "the same batch": ("small-batch", FACTOR_VAE),
    },
    "precision question": {
        "float32, the track's": (MORE_SEEDS, VAE),
        "bfloat16": ("small-bfloat16", VAE),
    },
}
SETTINGS = {VAE: "", TORCH_VAE: "", FACTOR_VAE: "gamma=5"}


def answer(question: str) -> str:
    """Mean [95 % interval] of each measure for each row, bold where it differs from the first row's.

    All pairs of rows in all measures are one family of Holm's correction, at 5 %.
    """
    parts = [runs_of(*row) for row in QUESTIONS[question].values()]
    counts = np.array([len(part) for part in parts])
    tests = [
        differences(
            np.array([part[measure].mean() for part in parts]),
            np.array([part[measure].std() for part in parts]),
            counts,
        )
        for measure in MEASURES
    ]
    apart = dict(zip(MEASURES, significant_pairs(*tests), strict=True))
    lines = []
    for i, (name, part) in enumerate(zip(QUESTIONS[question], parts, strict=True)):
        line = {"": name, "seeds": str(len(part))}
        for measure in MEASURES:
            text = mean_and_interval(part[measure], 1 if measure == "reconstruction_nats" else 3)
            line[measure] = f"**{text}**" if apart[measure][0, i] else text
        lines.append(line)
    return table(lines)


def runs_of(experiment: str, model: str) -> pd.DataFrame:
    """The runs of a row."""
    runs = read_runs()
    asked = runs["experiment"] + runs["model"] + runs["setting"] == experiment + model + SETTINGS[model]
    return runs[asked & runs["dataset"].str.startswith(DATASET)]
