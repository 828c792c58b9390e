"""Names for people, in LaTeX, of models and metrics, and the papers behind what the registry names."""

from __future__ import annotations

import re
from pathlib import Path

from disentangle_bench import registry
from disentangle_bench.report.words import METRIC_TITLES, latex_text

# Which entries of papers.bib a name of the registry stands for. The first is the one that introduced it.
PAPERS: dict[str, dict[str, tuple[str, ...]]] = {
    "model": {
        "pca": ("pearson1901",),
        "ica": ("hyvarinen2000",),
        "autoencoder": ("hinton2006",),
        "sparse_autoencoder": ("ng2011",),
        "denoising_autoencoder": ("vincent2010",),
        "stacked_autoencoder": ("bengio2007", "vincent2010"),
        "vae": ("kingma2014",),
        "beta_vae": ("higgins2017",),
        "factor_vae": ("kim2018",),
        "beta_tcvae": ("chen2018",),
        "dip_vae_1": ("kumar2018",),
        "dip_vae_2": ("kumar2018",),
        "annealed_vae": ("burgess2018",),
        "info_vae": ("zhao2019",),
        "ada_gvae": ("locatello2020",),
        "qlae": ("hsu2023",),
    },
    "metric": {
        "factor_vae": ("kim2018",),
        "mig": ("chen2018",),
        "beta_vae": ("higgins2017",),
        "sap": ("kumar2018",),
        "sap_continuous": ("kumar2018",),
        "modularity": ("ridgeway2018",),
        "explicitness": ("ridgeway2018",),
        "dci": ("eastwood2018",),
        "irs": ("suter2019",),
        "mig_sup": ("li2020",),
        "jemmig": ("do2020",),
        "dcimig": ("sepliarskaia2019",),
        "infomec": ("hsu2023",),
        "unsupervised": ("locatello2019",),
        "downstream_logistic": ("locatello2019",),
        "downstream_gbt": ("locatello2019",),
        "unfairness": ("locatello2019fairness",),
        "strong_generalisation": ("locatello2020",),
        "omes": ("dapueto2024",),
        "mcc": ("hyvarinen2016",),
        "r2_identifiability": ("zimmermann2021",),
    },
    "data set": {
        name: keys
        for keys, names in {
            ("matthey2017",): ("dsprites", "dsprites_rendered", "dsprites_drawn"),
            ("burgesskim2018",): ("shapes3d", "shapes3d_rendered", "shapes3d_drawn"),
            ("reed2015",): ("cars3d", "cars3d_128"),
            ("lecun2004",): ("smallnorb",),
            ("gondal2019",): ("mpi3d_toy", "mpi3d_realistic", "mpi3d_real", "mpi3d_real_complex"),
            ("nie2020",): ("isaac3d",),
            ("lecun1998",): ("mnist",),
            ("xiao2017",): ("fashion_mnist",),
            ("liu2015",): ("celeba",),
            ("matthey2017", "locatello2019"): tuple(
                f"{kind}_dsprites{drawn}"
                for kind in ("color", "noisy", "scream")
                for drawn in ("", "_rendered")
            ),
        }.items()
        for name in names
    },
}
NAMES = {
    "pca": "PCA",
    "ica": "ICA",
    "autoencoder": "autoencoder",
    "sparse_autoencoder": "sparse autoencoder",
    "denoising_autoencoder": "denoising autoencoder",
    "stacked_autoencoder": "stacked autoencoder",
    "vae": "VAE",
    "beta_vae": r"$\beta$-VAE",
    "factor_vae": "FactorVAE",
    "beta_tcvae": r"$\beta$-TCVAE",
    "dip_vae_1": "DIP-VAE-I",
    "dip_vae_2": "DIP-VAE-II",
    "annealed_vae": "annealed VAE",
    "info_vae": "InfoVAE",
    "ada_gvae": "Ada-GVAE",
    "qlae": "QLAE",
}
# Metrics that fill several columns.
SEVERAL_COLUMNS = {"dci": "DCI", "infomec": "InfoMEC", "unsupervised": "unsupervised scores"}


def entries() -> dict[str, str]:
    """All entries of papers.bib by key."""
    text = (Path(__file__).parent / "assets" / "papers.bib").read_text(encoding="utf-8")
    return {re.match(r"@\w+\{(\w+),", entry)[1]: f"{entry}\n" for entry in text.strip().split("\n\n")}  # type: ignore[index]


def cited(kind: str, name: str) -> str:
    r"""` ~\cite{...}` of a name, or nothing where its paper is not known."""
    keys = PAPERS[kind].get(name, ())
    return f"~\\cite{{{','.join(keys)}}}" if keys else ""


def name_of(kind: str, name: str) -> str:
    """What people call a model or metric, in LaTeX."""
    if kind == "model" and name in NAMES:
        return NAMES[name]
    if kind == "metric" and (title := SEVERAL_COLUMNS.get(name) or METRIC_TITLES.get(name)):
        return in_latex(title)
    return latex_text(name.replace("_", " ") if name in registry.TABLES[kind] else name)


def in_latex(title: str) -> str:
    """A column's title in LaTeX."""
    return latex_text(title).replace("beta-VAE", r"$\beta$-VAE")
