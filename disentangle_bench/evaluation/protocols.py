"""Protocols: how papers score, so that our numbers can be compared with theirs. Papers use a metric's name differently.

A protocol says which points are scored, which factors count and what each metric's name means. docs/metrics.md has
a table of them.
"""

import importlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from disentangle_bench import registry
from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.evaluation import protocol_metrics
from disentangle_bench.evaluation.scores import (
    add_part,
    generator,
    information_table,
    metric_report,
    named_metrics,
)
from disentangle_bench.evaluation.tables import (
    Truth,
    checked_codes,
    checked_factors,
    checked_tables,
    numbers_of,
)
from disentangle_bench.metrics import dci, infomec, mig, modularity
from disentangle_bench.metrics.metric import Codes, Factors, Metric


@dataclass(frozen=True)
class Source:
    """Where a protocol comes from: `code` is the paper's repository, if there is one.

    `note` says what codes alone cannot give, or what is done differently here.
    """

    name: str
    paper: str
    code: str = ""
    note: str = ""


@dataclass(frozen=True)
class Protocol:
    """How a paper scores codes.

    `points` rows are drawn once for all metrics, with or without replacement (`replace`). With "all", the metrics get
    the whole table and may draw from it themselves. The factors named in `left_out` take no part. `metrics` are this
    package's with the paper's constants, or the paper's own. `codes` says what the paper scores.
    """

    source: Source
    points: int | Literal["all"]
    metrics: Mapping[str, Metric]
    replace: bool = False
    left_out: tuple[str, ...] = ()
    codes: Literal["mean", "sample"] = "mean"


def _own_metrics() -> dict[str, Metric]:
    """This package's metrics. Not by `resolve`, so that another package's mistake cannot keep this from loading."""
    targets = {name: target.split(":") for name, target in registry.METRICS.items()}
    return {name: getattr(importlib.import_module(module), key) for name, (module, key) in targets.items()}


OWN = _own_metrics()
MIG_OF_ALL = replace(mig.METRIC, score=partial(mig.mig, points=None))

DEFAULT = Protocol(
    source=Source(
        "default",
        "this package",
        note="The constants of the 2019 study; docs/metrics.md lists the differences.",
    ),
    points="all",
    metrics=OWN,
)
DLIB2019 = Protocol(
    source=Source(
        "dlib2019",
        "Locatello et al. 2019, Challenging Common Assumptions (arXiv:1811.12359)",
        code="github.com/google-research/disentanglement_lib",
        note="Latents that tie share a vote here; in the paper's code the first gets it. Only here are codes centred "
        "before SAP. In the paper's code constant latents make modularity and explicitness fail.",
    ),
    points="all",
    metrics={
        **{
            name: OWN[name] for name in ("beta_vae", "factor_vae", "mig", "modularity", "explicitness", "sap")
        },
        "dci": replace(dci.METRIC, score=partial(dci.dci, booster="exact")),
    },
)
INFOGAN_CR = Protocol(
    source=Source(
        "infogan_cr",
        "Lin et al. 2020, InfoGAN-CR and ModelCentrality (arXiv:1906.06034)",
        code="github.com/fjxmlzn/InfoGAN-CR",
        note="The paper's code draws votes from the whole data set and goes through the factors in turn. The pairs of "
        "a point share one value, and the classifier is that of an older scikit-learn. The paper's SAP and "
        "explicitness are not here.",
    ),
    points=73_728,
    replace=True,
    codes="sample",
    metrics={
        "factor_vae": protocol_metrics.TRAINED_VOTES,
        "beta_vae": protocol_metrics.TRAINED_DIFFERENCES,
        "mig": MIG_OF_ALL,
        "modularity": replace(modularity.METRIC, score=partial(modularity.modularity, points=None)),
        "dci_lasso": protocol_metrics.DCI_LASSO,
        "dci_forest": protocol_metrics.DCI_FOREST,
    },
)
INFOMEC = Protocol(
    source=Source(
        "infomec",
        "Hsu et al. 2023, Disentanglement via Latent Quantization (arXiv:2305.18378)",
        code="github.com/kylehkhsu/latent_quantization",
        note="The constants of disentangle/metrics/infomec.py. (What the paper's training logs has 3 neighbours and "
        "prunes below 1/8.) The paper's code counts discrete latents; here they are scored as numbers.",
    ),
    points=10_000,
    metrics={
        "infomec": replace(infomec.METRIC, score=partial(infomec.infomec, neighbours=10, prune_range=1 / 20))
    },
)
CHEN2018 = Protocol(
    source=Source(
        "chen2018",
        "Chen et al. 2018, Isolating Sources of Disentanglement in VAEs (arXiv:1802.04942)",
        code="github.com/rtqichen/beta-tcvae",
        note="The paper takes entropies from the posteriors' densities (`protocol_metrics.mig_of_densities` does "
        "that). Here a histogram of 20 bins takes their place.",
    ),
    points="all",
    left_out=("shape",),
    codes="sample",
    metrics={"mig": MIG_OF_ALL},
)
FACTORVAE2018 = Protocol(
    source=Source(
        "factorvae2018",
        "Kim and Mnih 2018, Disentangling by Factorising (arXiv:1802.05983)",
        note="The paper's code is not public. Two rebuilt versions use 500 votes of 100 points "
        "(github.com/fjxmlzn/InfoGAN-CR, github.com/Schlumberger/joint-vae). The paper prunes latents whose "
        "posterior is the prior; here a standard deviation below 0.05 takes the place of that rule.",
    ),
    points="all",
    metrics={"factor_vae": protocol_metrics.PRUNED_VOTES},
)
PROTOCOLS: dict[str, Protocol] = {
    each.source.name: each for each in (DEFAULT, DLIB2019, INFOGAN_CR, INFOMEC, CHEN2018, FACTORVAE2018)
}


def find_protocol(name: str) -> Protocol:
    """The protocol of this name. Raises BenchError for one that is not there."""
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def metrics_by_protocol(name: str, metrics: Iterable[str]) -> dict[str, Metric]:
    """The metrics of these names as the protocol `name` has them. Raises BenchError for one that it does not have.

    The protocol `default` has whatever is registered, installed or named as "module:attribute".
    """
    if name == "default":
        return named_metrics(metrics)
    known = find_protocol(name).metrics
    for metric in metrics:
        if metric not in known:
            raise unknown_name(f"metric of the protocol {name!r}", metric, known)
    return {metric: known[metric] for metric in metrics}


def score_by_protocol(
    name: str,
    codes: Any,
    factors: Any,
    factor_names: Sequence[str],
    seed: int,
    metrics: Collection[str] | None = None,
) -> dict[str, Any]:
    """The report of `scores.score_report` as the protocol `name` scores, of all its metrics or of those named.

    `codes` [points, latents] and `factors` [points, factors], whose columns `factor_names` names, are of all rows that
    there are. Which of them are drawn is a function of the seed and the protocol. The report says so in `protocol`:
    name, points, replace, the factors left out, and a note where the table has fewer rows than are asked for. Revisions
    are texts, "<protocol> <revision>", so that no table mixes them with another protocol's; `default` keeps its own.

    Raises BenchError for a name that is not known, tables that are none and names that do not fit the factors.
    """
    protocol = find_protocol(name)
    for metric in metrics or ():
        if metric not in protocol.metrics:
            raise unknown_name(f"metric of the protocol {name!r}", metric, protocol.metrics)
    table, truth, left_out = _kept(protocol, codes, factors, factor_names)
    checked_tables(table, truth)
    rows, note = _drawn(protocol, len(table), generator(seed, f"points of {name}"))
    report: dict[str, Any] = {"scores": {}, "metrics": {}, "failures": {}}
    for metric in protocol.metrics if metrics is None else metrics:
        part = metric_report(metric, table[rows], truth[rows], seed, protocol.metrics[metric])
        if name != "default":
            for about in part["metrics"].values():
                about["revision"] = f"{name} {about['revision']}"
        add_part(report, part)
    about_points = {
        "points": protocol.points,
        "replace": protocol.replace,
        "left_out": left_out,
        "note": note,
    }
    return report | {
        "points": len(table[rows]),
        "mutual_information": information_table(table[rows], truth[rows], seed),
        "protocol": {"name": name, **about_points},
    }


def _kept(
    protocol: Protocol, codes: Any, factors: Any, factor_names: Sequence[str]
) -> tuple[Codes, Factors | Truth, list[str]]:
    """The codes, those factors that count, and the names of those that do not."""
    table, truth = checked_codes(codes), checked_factors(factors)
    count = numbers_of(truth).shape[1]
    if len(factor_names) != count:
        raise BenchError(f"there are {count} factors and {len(factor_names)} names of factors.")
    left_out = [name for name in factor_names if name in protocol.left_out]
    if len(left_out) == len(factor_names):
        raise BenchError(
            f"the protocol {protocol.source.name!r} leaves {', '.join(left_out)} out: no factor is left."
        )
    return table, truth[:, [name not in left_out for name in factor_names]], left_out


def _drawn(
    protocol: Protocol, rows: int, rng: np.random.Generator
) -> tuple[np.ndarray[Any, np.dtype[np.intp]] | slice, str]:
    """Which rows the protocol scores, and a note where there are fewer than it asks for."""
    if protocol.points == "all":
        return slice(None), ""
    if protocol.replace:
        few = f"{protocol.points:,} rows were drawn from {rows:,}, so that most stand there more than once"
        return rng.integers(rows, size=protocol.points), few if rows < protocol.points else ""
    if rows < protocol.points:
        return slice(None), f"the protocol takes {protocol.points:,} different rows; all {rows:,} were taken"
    return rng.choice(rows, size=protocol.points, replace=False), ""
