"""From a table of codes and factors to one flat dict of scores, every metric on randomness of its own."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.evaluation.tables import (
    Truth,
    as_table,
    checked_codes,
    checked_factors,
    checked_tables,
    numbers_of,
    values_of,
)
from disentangle_bench.metrics.metric import Codes, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import information_shares
from disentangle_bench.records.schemas import RUN_COLUMNS
from disentangle_bench.source_hash import source_hash
from disentangle_bench.specs import NetworkSpec, TrainingSpec

# Columns that every run has in the tables, where no metric's score can stand.
COLUMNS = RUN_COLUMNS | {
    *("reconstruction_nats", "mse", "kl", "elbo", "iwae", "excess_nats", "excess_share"),
    *(*NetworkSpec.model_fields, *TrainingSpec.model_fields),
}
# What a report calls the scores of seen and unseen combinations, beside its metrics: no metric can have this name.
UNSEEN, UNSEEN_REVISION = "seen and unseen", 2
# And what it calls reconstruction and prediction on a data set that was not trained on: `on(TRANSFER, label)`.
TRANSFER, TRANSFER_REVISION = "transfer", 1
LARGEST_SHARE = 0.05  # of rows that are tested on and were trained on too; above it a score says so


def on(name: str, label: str) -> str:
    """What a report calls a metric that is scored on a further data set, which tables call `label`."""
    return f"{name} on {label}"


def score_codes(
    codes: Any,
    factors: Any,
    metrics: Iterable[str | Callable[..., Any] | Metric] = ("factor_vae", "mig", "beta_vae"),
    seed: int = 0,
) -> dict[str, float]:
    """Score codes with some metrics: headlines by their own names, details as `<headline>_<detail>`.

    The same arguments give the same scores. Each metric draws from a generator made of `seed` and its own name, so
    another metric beside it changes nothing. Factors with one value take no part. For chance at this size, score
    `random_codes` of the same rows and latents.

    Parameters
    ----------
    codes
        Finite numbers [points, latents], in any form that NumPy or torch can read.
    factors
        Numbers [points, factors]. A column that is not all whole numbers is real-valued: metrics that take values get
        them as they are, the others get ten bins of equal frequency.
    metrics
        Names of metrics, Metric objects, or functions of (codes, factors), which may also take `rng`.
    seed
        The seed of the metrics' draws.

    Returns
    -------
    dict[str, float]
        The scores by key.

    Raises
    ------
    BenchError
        If the tables are malformed, no factor varies, a metric is unknown, repeated or fails, or a key is given by two
        metrics or is a column of every run.

    Examples
    --------
    >>> import numpy as np
    >>> from disentangle_bench import score_codes
    >>> factors = np.stack(np.meshgrid(np.arange(4), np.arange(3), indexing="ij"), -1).reshape(-1, 2)
    >>> def spread(codes, factors):
    ...     return codes.std()
    >>> scores = score_codes(factors.astype(float), factors, ["mig", spread])
    >>> round(scores["mig"], 3), round(scores["spread"], 3)
    (1.0, 1.01)
    """
    named = named_metrics(metrics)
    table, truth = checked_tables(codes, factors)
    scores: dict[str, float] = {}
    for name, metric in named.items():
        found = _score(name, metric, table, truth, seed)
        for key in scores.keys() & found.keys():
            raise BenchError(
                f"metric {name!r} gives the score {key!r}, which another metric has given already."
            )
        scores |= found
    return scores


def random_codes(rows: int, latents: int, seed: int = 0) -> Codes:
    """Codes [rows, latents] that know nothing: independent normal numbers. What they score is chance at this size."""
    return generator(seed, "random codes").normal(size=(rows, latents)).astype(np.float32)


def share_trained_on(metric: Metric, rows: int) -> float:
    """The share, 0..1, of the rows tested on that the metric trained on too, where the table has so many rows."""
    return 1 - (1 - 1 / rows) ** metric.training_rows


def overlap_note(report: Mapping[str, Any]) -> str | None:
    """A sentence on those metrics of a report that test on many rows which they trained on; None where none does."""
    shares = {name: about["trained_on"] for name, about in report["metrics"].items()}
    told = [f"{name} {share:.0%}" for name, share in shares.items() if share > LARGEST_SHARE]
    if not told:
        return None
    return (
        f"of the rows that were tested on ({report['points']} in all) so many were trained on too: "
        f"{', '.join(told)}. On small tables codes that know nothing score by that: compare with chance."
    )


def information_table(codes: Any, factors: Any, seed: int = 0) -> list[list[float]] | None:
    """How much of each factor's entropy each latent knows: a row per latent, a column per factor, 0..1.

    None for codes that are not finite, of which no metric can say anything either, and where there are no factors.
    """
    table = as_table(codes, "codes", "latents")
    if not np.isfinite(table).all() or not np.shape(numbers_of(factors))[1]:
        return None
    rng = generator(seed, "mutual_information")
    shares = information_shares(checked_codes(table), numbers_of(checked_factors(factors)), rng=rng)
    return [[round(float(share), 6) for share in row] for row in shares]


def score_report(
    codes: Any,
    factors: Any,
    metrics: Iterable[str],
    seed: int,
    on_metric: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """What is kept of a run's scoring: scores, what each metric is, and the metrics that raised, with their errors.

    Keys: `scores` (None for what is not finite), `metrics` (by name: headlines, which of them are better when lower,
    revision, the source's hash where it is not this package's, paper, all keys, the share of rows tested on that
    were trained on too, and where factors are real-valued whether it had their "values" or "bins"), `failures`,
    `points`, `mutual_information` (see `information_table`).
    `on_metric` hears of every metric that is done.
    """
    report: dict[str, Any] = {"scores": {}, "metrics": {}, "failures": {}}
    for name in metrics:
        add_part(report, metric_report(name, codes, factors, seed))
        on_metric()
    return report | {
        "points": len(codes),
        "mutual_information": information_table(codes, factors, seed),
    }


def metric_report(
    name: str, codes: Any, factors: Any, seed: int, metric: Metric | None = None
) -> dict[str, Any]:
    """What a report has of one metric: the one that `name` leads to, or another that goes by that name."""
    try:
        metric = metric or named_metrics([name])[name]
        table, truth = checked_tables(codes, factors, metric.needs_factors)
        scores = _score(name, metric, table, truth, seed)
    except (
        Exception,
        SystemExit,
    ) as error:  # a metric is anyone's code; its failure costs its own column, not the run
        return failed_part(name, error)
    about: dict[str, Any] = {
        "headlines": metric.headlines,
        "lower_is_better": list(metric.lower_is_better),
        "revision": metric.revision,
        "paper": metric.paper,
        "keys": list(scores),
        "trained_on": round(share_trained_on(metric, len(codes)), 4),
    }
    if metric.source is not None:
        about["source"] = metric.source
    if isinstance(truth, Truth):
        about["real_valued"] = "values" if metric.takes_values else "bins"
    return scored_part(name, scores, about)


def scored_part(name: str, scores: Mapping[str, float], about: Mapping[str, Any]) -> dict[str, Any]:
    """What a report has of scores that were found, and of what gave them."""
    finite = {key: value if math.isfinite(value) else None for key, value in scores.items()}
    return {"scores": finite, "metrics": {name: about}, "failures": {}}


def failed_part(name: str, error: BaseException) -> dict[str, Any]:
    """What a report has of what raised in place of scoring."""
    return {"scores": {}, "metrics": {}, "failures": {name: f"{type(error).__name__}: {error}"}}


def add_part(report: dict[str, Any], part: dict[str, Any]) -> None:
    """Add the report of further metrics; one that gives a score which another gave has failed, and adds none."""
    refuse_keys(part, givers(report))
    for key in ("scores", "metrics", "failures"):
        report[key] |= part[key]


def givers(report: Mapping[str, Any]) -> dict[str, str]:
    """Where each score of a report is from, in words."""
    return {
        key: f"a score of the metric {name!r}"
        for name, about in report["metrics"].items()
        for key in about.get("keys", about["headlines"])
    }


def refuse_keys(report: dict[str, Any], taken: Mapping[str, str]) -> None:
    """Make a failure of every metric that gives a key of `taken`, which says what each key is, and drop its scores."""
    for name, about in list(report["metrics"].items()):
        clash = next((key for key in about["keys"] if key in taken), None)
        if clash is None:
            continue
        del report["metrics"][name]
        for key in about["keys"]:
            report["scores"].pop(key, None)
        report["failures"][name] = f"it gives the score {clash!r}, which is {taken[clash]}: name it otherwise"


def named_metrics(metrics: Iterable[str | Callable[..., Any] | Metric]) -> dict[str, Metric]:
    """These metrics by name, in that order; BenchError for a bare string, no metric or one named twice.

    A function has its own name, a Metric that of its first headline.
    """
    if isinstance(metrics, str):
        raise BenchError(f"metrics must be a list of names: write [{metrics!r}].")
    listed = list(metrics)
    if not listed:
        raise BenchError("no metrics named: give at least one, for instance ['mig'].")
    found: dict[str, Metric] = {}
    for entry in listed:
        name, metric = _named_metric(entry)
        if name in found:
            raise BenchError(f"metric {name!r} is named more than once.")
        found[name] = metric
    return found


def _named_metric(entry: str | Callable[..., Any] | Metric) -> tuple[str, Metric]:
    if isinstance(entry, str):
        found = registry.resolve("metric", entry)
        metric, source = as_metric(found, entry), source_hash(entry, found)
        return entry, metric if source is None else replace(metric, source=source)
    name = (
        (*entry.headlines, "metric")[0] if isinstance(entry, Metric) else getattr(entry, "__name__", "metric")
    )
    return name, as_metric(entry, name)


def revision_in_words(revision: int, source: str | None) -> int | str:
    """A metric's revision, with the hash of its source where it is not this package's."""
    return revision if source is None else f"{revision} (source {source})"


def as_metric(found: Any, name: str) -> Metric:
    """`found` itself if it is a Metric; a plain function becomes one, with its own name as the headline.

    Such a function takes codes and factors, `rng` as well if it has a parameter of that name, and returns a
    number or a dict that has its headline. An attribute `lower_is_better = True` of it says so of the headline, and
    `needs_factors = False` that it is given no factors.
    Raises BenchError for anything else, and names `name` in it.
    """
    if isinstance(found, Metric):
        return _checked_metric(found, name)
    if not inspect.isfunction(found):
        raise BenchError(f"metric {name!r} is {type(found).__name__!r}: it must be a Metric or a function.")
    headline = found.__name__
    takes_rng = "rng" in inspect.signature(found).parameters

    def score(codes: Codes, factors: Factors, *, rng: np.random.Generator) -> Scores:
        result = found(codes, factors, rng=rng) if takes_rng else found(codes, factors)
        return dict(result) if isinstance(result, dict) else {headline: result}

    paper = (inspect.getdoc(found) or "a function of the user's").splitlines()[0]
    lower = (headline,) if getattr(found, "lower_is_better", False) is True else ()
    needs = getattr(found, "needs_factors", True) is not False
    return _checked_metric(
        Metric(score, (headline,), paper, lower_is_better=lower, needs_factors=needs), name
    )


def _checked_metric(metric: Metric, name: str) -> Metric:
    """The metric; BenchError where its keys are no tuples of names, or the name of a column that every run has."""
    for what in ("headlines", "lower_is_better"):
        keys = getattr(metric, what)
        if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
            raise BenchError(f"metric {name!r}: {what} must be a tuple of names, not {keys!r}.")
    for key in set(metric.lower_is_better) - set(metric.headlines):
        raise BenchError(f"metric {name!r}: lower_is_better names {key!r}, which is none of its headlines.")
    _refuse_columns(name, metric.headlines)
    return metric


def _refuse_columns(name: str, keys: Iterable[str]) -> None:
    for key in keys:
        if key in COLUMNS:
            raise BenchError(
                f"metric {name!r} gives the score {key!r}, which is a column of every run: name it otherwise,"
                f" for instance {key + '_score'!r}."
            )


def generator(seed: int, name: str) -> np.random.Generator:
    """The randomness of the metric called `name` under `seed`, a function of the two and of nothing else."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise BenchError(f"the seed must be a whole number from 0 on, not {seed!r}.")
    return np.random.default_rng([int(seed), *name.encode()])


def _own_copy(table: Any) -> Any:
    """The table in memory of its own, read-only, so that a metric which writes into it by mistake hears of it."""
    copy = table.copy()
    copy.flags.writeable = False
    return copy


def _score(name: str, metric: Metric, codes: Codes, truth: Factors | Truth, seed: int) -> dict[str, float]:
    rng = generator(seed, name)
    seen = values_of(truth) if metric.takes_values else numbers_of(truth)
    # A metric must not spoil the tables for the next. A read-only view alone would not hold: torch.from_numpy and
    # whatever is compiled write into its memory all the same.
    table, factors = _own_copy(codes), _own_copy(seen if metric.needs_factors else seen[:, :0])
    try:
        found = {str(key): float(value) for key, value in metric.score(table, factors, rng=rng).items()}
    except (Exception, SystemExit) as error:  # a script's own exit would end all of this
        raise BenchError(f"metric {name!r} failed: {type(error).__name__}: {error}") from error
    _refuse_columns(name, found)
    for headline in metric.headlines:
        if headline not in found:
            raise BenchError(
                f"metric {name!r} gave no score {headline!r}, only {', '.join(found) or 'nothing'}."
            )
    return found
