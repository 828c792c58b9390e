"""Cells, settings and axes as short texts."""

from __future__ import annotations

import numpy as np
import pandas as pd

# The training curves that people are shown, and what their axes say.
CURVES = {"reconstruction": "reconstruction (nats)", "kl": "KL (nats)", "tc": "TC estimate (nats)"}

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {sign: "\\" + sign for sign in "&%$#_{}"}


def plain(value: object) -> str:
    """A cell as text: no trailing zeros, nothing for what is missing."""
    if value is None or value is pd.NA:
        return ""
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:g}"
    return str(value)


def in_words(settings: pd.DataFrame) -> list[str]:
    """Each row of these columns as `beta=4, steps=200`, without what is missing."""
    if settings.columns.empty:  # some versions of pandas make no records of such rows
        return [""] * len(settings)
    return [
        ", ".join(f"{name}={plain(value)}" for name, value in row.items() if not pd.isna(value))
        for row in settings.to_dict("records")
    ]


def latex_text(text: str) -> str:
    """The text in one line, with every sign escaped that means something to LaTeX."""
    return "".join(LATEX_SPECIAL.get(sign, sign) for sign in " ".join(text.split()))
