"""From a name to the thing itself: a line of the tables below, or "module:attribute".

The tables hold paths, not objects, so that listing names imports nothing heavy. A new model, metric or data set of the
tree is one file and one line here.
"""

import importlib
from typing import Any

from disentangle_bench.errors import BenchError, unknown_name

MODELS = {
    "vae": "disentangle_bench.models.vae:VAE",
    "beta_vae": "disentangle_bench.models.vae:BetaVAE",
    "factor_vae": "disentangle_bench.models.factor_vae:FactorVAE",
}

DATASETS = {
    "dsprites": "disentangle_bench.data.dsprites:OFFICIAL",
    "shapes3d": "disentangle_bench.data.shapes3d:OFFICIAL",
    "dsprites_rendered": "disentangle_bench.data.dsprites:RENDERED",
    "shapes3d_rendered": "disentangle_bench.data.shapes3d:RENDERED",
    "color_dsprites": "disentangle_bench.data.variants:COLOR_DSPRITES",
    "noisy_dsprites": "disentangle_bench.data.variants:NOISY_DSPRITES",
    "color_dsprites_rendered": "disentangle_bench.data.variants:COLOR_DSPRITES_RENDERED",
    "noisy_dsprites_rendered": "disentangle_bench.data.variants:NOISY_DSPRITES_RENDERED",
}

METRICS = {
    "factor_vae": "disentangle_bench.metrics.factor_vae:METRIC",
    "mig": "disentangle_bench.metrics.mig:METRIC",
    "beta_vae": "disentangle_bench.metrics.beta_vae:METRIC",
    "sap": "disentangle_bench.metrics.sap:METRIC",
    "sap_continuous": "disentangle_bench.metrics.sap:CONTINUOUS",
    "modularity": "disentangle_bench.metrics.modularity:METRIC",
    "explicitness": "disentangle_bench.metrics.explicitness:METRIC",
    "dci": "disentangle_bench.metrics.dci:METRIC",
    "irs": "disentangle_bench.metrics.irs:METRIC",
    "mig_sup": "disentangle_bench.metrics.mig_sup:METRIC",
    "jemmig": "disentangle_bench.metrics.jemmig:METRIC",
    "dcimig": "disentangle_bench.metrics.dcimig:METRIC",
    "infomec": "disentangle_bench.metrics.infomec:METRIC",
    "unsupervised": "disentangle_bench.metrics.unsupervised:METRIC",
}

TABLES = {"model": MODELS, "data set": DATASETS, "metric": METRICS}


def check(kind: str, name: str) -> None:
    """Raise BenchError with the nearest names unless `name` is in the table of `kind` or reads "module:attribute"."""
    if name not in TABLES[kind] and ":" not in name:
        raise unknown_name(kind, name, TABLES[kind])


def resolve(kind: str, name: str) -> Any:
    """The object behind `name`, a key of the table of `kind` ("model", "data set", "metric") or "module:attribute".

    Raises BenchError for an unknown name, or a module or attribute that cannot be had.
    """
    check(kind, name)
    module_name, _, attribute = TABLES[kind].get(name, name).partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise BenchError(f"{kind} {name!r} cannot be loaded: {error}") from error
