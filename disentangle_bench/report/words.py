"""Cells, settings and axes as short texts."""

from __future__ import annotations

import numpy as np
import pandas as pd

# The training curves that people are shown, and what their axes say.
CURVES = {"reconstruction": "reconstruction (nats)", "kl": "KL (nats)", "tc": "TC estimate (nats)"}

# Columns by the names that tables give them.
TITLES = {
    "n_seeds": "seeds",
    "n_failed": "failed",
    "reconstruction_nats": "reconstruction (nats)",
    "excess_nats": "excess (nats)",
    "excess_share": "excess share",
    "reconstruction_likelihood": "likelihood",
    "elbo": "ELBO",
    "kl": "KL",
    "mse": "MSE",
    "reconstruction_nats_seen": "nats (seen)",
    "reconstruction_nats_unseen": "nats (unseen)",
    "informativeness_seen": "informativeness (seen)",
    "informativeness_unseen": "informativeness (unseen)",
    "r2_seen": "R2 (seen)",
    "r2_unseen": "R2 (unseen)",
    "auroc_mse": "AUROC (MSE)",
    "auroc_elbo": "AUROC (ELBO)",
}
# Metrics by the names that papers give them: `factor_vae` and `beta_vae` are models too.
METRIC_TITLES = {
    "factor_vae": "FactorVAE metric",
    "beta_vae": "beta-VAE metric",
    "mig": "MIG",
    "mig_sup": "MIG-sup",
    "sap": "SAP",
    "sap_continuous": "SAP (continuous)",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "irs": "IRS",
    "jemmig": "JEMMIG",
    "omes": "OMES",
    "dcimig": "DCIMIG",
    "infom": "InfoM",
    "infoc": "InfoC",
    "infoe": "InfoE",
    "downstream_logistic": "downstream accuracy (logistic)",
    "downstream_gbt": "downstream accuracy (trees)",
    "mcc": "MCC",
    "mcc_spearman": "MCC (Spearman)",
    "r2_identifiability": "R2 (identifiability)",
    "udr": "UDR",
}

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {sign: "\\" + sign for sign in "&%$#_{}"}


def metric_title(name: str) -> str:
    """What people call a metric's headline; a name of somebody else's stays as it is."""
    first, on, label = name.partition(" on ")  # a further data set that it is scored on
    return METRIC_TITLES.get(first, first) + on + label


def measure_title(name: str) -> str:
    """What people call a measure: a column of reconstruction, or a metric's headline."""
    return TITLES.get(name) or metric_title(name)


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
