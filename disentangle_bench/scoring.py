"""From a table of codes and factors to one flat dict of scores, every metric on randomness of its own."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from disentangle_bench import registry
from disentangle_bench.errors import BenchError
from disentangle_bench.metrics.metric import Codes, Factors, Metric, Scores
from disentangle_bench.metrics.mutual_information import information_shares


def score_codes(
    codes: Any,
    factors: Any,
    metrics: Iterable[str] = ("factor_vae", "mig", "beta_vae"),
    seed: int = 0,
) -> dict[str, float]:
    """All scores of the named metrics: headlines under their own names, details as `<headline>_<detail>`.

    `codes` [points, latents] are finite numbers and `factors` [points, factors] whole numbers, as NumPy
    arrays, torch tensors or anything NumPy can read. The same arguments give the same scores; each metric
    draws from a generator made of `seed` and its own name, so that naming another metric beside it changes
    nothing.

    Raises BenchError for tables that are not such, for unknown, repeated or failing metrics, and for two
    metrics that give the same key.
    """
    named = named_metrics(metrics)
    table, truth = checked_codes(codes), checked_factors(factors)
    if len(table) != len(truth):
        raise BenchError(
            f"codes have {len(table)} rows and factors {len(truth)}: they must describe the same points."
        )
    # One metric must not spoil the tables for the next.
    table, truth = _read_only(table), _read_only(truth)
    scores: dict[str, float] = {}
    for name, metric in named.items():
        found = _score(name, metric, table, truth, generator(seed, name))
        for key in scores.keys() & found.keys():
            raise BenchError(
                f"metric {name!r} gives the score {key!r}, which another metric has given already."
            )
        scores |= found
    return scores


def information_table(codes: Any, factors: Any, seed: int = 0) -> list[list[float]] | None:
    """How much of each factor's entropy each latent knows: a row per latent, a column per factor, 0..1.

    None for codes that are not finite, of which no metric can say anything either.
    """
    table = _as_table(codes, "codes", "latents")
    if not np.isfinite(table).all():
        return None
    rng = generator(seed, "mutual_information")
    shares = information_shares(checked_codes(table), checked_factors(factors), rng=rng)
    return [[round(float(share), 6) for share in row] for row in shares]


def score_report(
    codes: Any,
    factors: Any,
    metrics: Iterable[str],
    seed: int,
    on_metric: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """What is kept of a run's scoring: scores, what each metric is, and the metrics that raised, with their errors.

    Keys: `scores` (None for what is not finite), `metrics` (headlines, revision, paper by name), `failures`,
    `points`, `mutual_information` (see `information_table`). `on_metric` hears of every metric that is done.
    """
    scores: dict[str, float] = {}
    described: dict[str, Any] = {}
    failures: dict[str, str] = {}
    for name in metrics:
        try:
            scores |= score_codes(codes, factors, metrics=[name], seed=seed)
            metric = named_metrics([name])[name]
            described[name] = {
                "headlines": metric.headlines,
                "revision": metric.revision,
                "paper": metric.paper,
            }
        except Exception as error:  # a metric is anyone's code; its failure costs its own column, not the run
            failures[name] = f"{type(error).__name__}: {error}"
        on_metric()
    return {
        "scores": {name: value if math.isfinite(value) else None for name, value in scores.items()},
        "metrics": described,
        "failures": failures,
        "points": len(codes),
        "mutual_information": information_table(codes, factors, seed),
    }


def named_metrics(names: Iterable[str]) -> dict[str, Metric]:
    """The metrics behind `names`, in that order; BenchError for a bare string, no name or one named twice."""
    if isinstance(names, str):
        raise BenchError(f"metrics must be a list of names: write [{names!r}].")
    listed = list(names)
    if not listed:
        raise BenchError("no metrics named: give at least one, for instance ['mig'].")
    for name in listed:
        if listed.count(name) > 1:
            raise BenchError(f"metric {name!r} is named more than once.")
    return {name: as_metric(registry.resolve("metric", name), name) for name in listed}


def as_metric(found: Any, name: str) -> Metric:
    """`found` itself if it is a Metric; a plain function becomes one, with its own name as the headline.

    Such a function takes codes and factors, `rng` as well if it has a parameter of that name, and returns a
    number or a dict that has its headline. Raises BenchError for anything else, and names `name` in it.
    """
    if isinstance(found, Metric):
        return found
    if not inspect.isfunction(found):
        raise BenchError(f"metric {name!r} is {type(found).__name__!r}: it must be a Metric or a function.")
    headline = found.__name__
    takes_rng = "rng" in inspect.signature(found).parameters

    def score(codes: Codes, factors: Factors, *, rng: np.random.Generator) -> Scores:
        result = found(codes, factors, rng=rng) if takes_rng else found(codes, factors)
        return dict(result) if isinstance(result, dict) else {headline: result}

    paper = (inspect.getdoc(found) or "a function of the user's").splitlines()[0]
    return Metric(score=score, headlines=(headline,), paper=paper)


def generator(seed: int, name: str) -> np.random.Generator:
    """The randomness of the metric called `name` under `seed`, a function of the two and of nothing else."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise BenchError(f"the seed must be a whole number from 0 on, not {seed!r}.")
    return np.random.default_rng([int(seed), *name.encode()])


def checked_codes(codes: Any) -> Codes:
    """`codes` as float32 [points, latents]; BenchError unless they are a table of finite real numbers."""
    table = _as_table(codes, "codes", "latents")
    if table.dtype.kind not in "fiu":
        raise BenchError(f"codes must be numbers, not {table.dtype}.")
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(table, dtype=np.float32)
    finite = np.isfinite(narrow)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        count = int((~finite).sum())
        raise BenchError(
            f"codes hold {count} NaN or infinite values, the first in row {row}, latent {column}."
        )
    return narrow


def checked_factors(factors: Any) -> Factors:
    """`factors` as int64 [points, factors] from 0 on; BenchError unless they are whole numbers.

    A column whose values lie further apart than it has rows is renumbered by rank; others keep their
    distances.
    """
    table = _as_table(factors, "factors", "factors")
    if table.dtype.kind not in "fiub":
        raise BenchError(f"factors must be whole numbers, not {table.dtype}.")
    if table.dtype.kind == "f" and not (np.isfinite(table).all() and (table == np.floor(table)).all()):
        raise BenchError("factors must be whole numbers: give the class of each value, not the value itself.")
    whole = table.astype(np.int64)
    for column in whole.T:
        least, largest = int(column.min()), int(column.max())
        if largest - least > len(column):
            column[:] = np.unique(column, return_inverse=True)[1].reshape(-1)
        else:
            column -= least
    return whole


def _as_table(values: Any, what: str, columns: str) -> np.ndarray[Any, Any]:
    try:
        table = np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)
    except (TypeError, ValueError) as error:
        raise BenchError(f"{what} cannot be read as a table: {error}") from error
    if table.ndim != 2:
        raise BenchError(f"{what} must have the shape [points, {columns}], not {list(table.shape)}.")
    if table.shape[0] < 2 or table.shape[1] < 1:
        raise BenchError(f"{what} need at least 2 points and 1 column, not the shape {list(table.shape)}.")
    return table


def _read_only(table: Any) -> Any:
    view = table.view()
    view.flags.writeable = False
    return view


def _score(
    name: str, metric: Metric, codes: Codes, factors: Factors, rng: np.random.Generator
) -> dict[str, float]:
    try:
        found = {str(key): float(value) for key, value in metric.score(codes, factors, rng=rng).items()}
    except Exception as error:
        raise BenchError(f"metric {name!r} failed: {type(error).__name__}: {error}") from error
    for headline in metric.headlines:
        if headline not in found:
            raise BenchError(
                f"metric {name!r} gave no score {headline!r}, only {', '.join(found) or 'nothing'}."
            )
    return found
