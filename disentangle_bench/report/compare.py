"""Two choices of runs compared: `model=beta_vae,beta=4` against `model=factor_vae`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from disentangle_bench.errors import BenchError, unknown_name
from disentangle_bench.report.comparison import (
    lower_is_better,
    of_one_likelihood,
    row_of_run,
    several_likelihoods,
)
from disentangle_bench.report.rank_statistics import improvements
from disentangle_bench.report.statistics import holm, spreads
from disentangle_bench.report.words import plain


def parse_choice(text: str, runs: pd.DataFrame) -> dict[str, str]:
    """`model=beta_vae,beta=4` as a dict. Raises BenchError where it is written otherwise.

    A value may hold commas and equals signs, as the name of a sub-grid does (`dataset=own.npz[col/2,row/2]`): it is as
    long as the longest value that the runs of `group_runs` have there. A value that none has ends before the next `=`.
    """
    columns = _columns(runs)
    parts = text.split(",")
    choice: dict[str, str] = {}
    while parts:
        key, equals, rest = (piece.strip() for piece in parts[0].partition("="))
        if not key or not equals or not rest:
            raise BenchError(
                f"{text!r}: write a choice as key=value,key=value, for example model=beta_vae,beta=4"
            )
        there = set(runs[key].map(plain)) if key in columns else set()
        ends = [n for n in range(len(parts), 0, -1) if _value(parts[:n]) in there]
        pairs = [n for n in range(1, len(parts)) if "=" in parts[n]]
        length = [*ends, *pairs, len(parts)][0]
        choice[key] = _value(parts[:length])
        parts = parts[length:]
    return choice


def _value(parts: Sequence[str]) -> str:
    """What stands behind the first equals sign of parts that commas had kept apart."""
    return ",".join(parts).partition("=")[2].strip()


def compare(runs: pd.DataFrame, a: Mapping[str, str], b: Mapping[str, str]) -> pd.DataFrame:
    """A row per data set and measure: both sides' means with 95 % intervals, and how probable it is that A is better.

    `runs` are those of `comparison.group_runs`; `a` and `b` choose among them by column: dataset, model, a setting,
    steps and the like. Columns: group, dataset, provenance, measure; n_a, n_failed_a, settings_a, mean_a, ci_low_a,
    ci_high_a; the same for b; probability, ci_low, ci_high, p_value (`rank_statistics.improvements`; for a measure
    where low is good, that A is the lower) and p_holm, corrected for all measures of the data set. Nats of several
    likelihoods are not compared. Data sets that lack one of the sides are left out. Raises BenchError for an unknown
    column, a value that no run has, or sides that share no data set.
    """
    measures = ["reconstruction_nats", "elbo", *runs.attrs["headlines"]]
    sides = {"a": _chosen(runs, a), "b": _chosen(runs, b)}
    row = row_of_run(runs)
    tables = []
    for _, index in runs.groupby("group", sort=True).groups.items():
        here = np.isin(runs.index, index)
        parts = {side: runs[chosen & here] for side, chosen in sides.items()}
        if any(part.empty for part in parts.values()):
            continue
        table = pd.DataFrame({"measure": measures})
        for place, name in enumerate(("group", "dataset", "provenance")):
            table.insert(place, name, parts["a"][name].iloc[0])
        values = {}
        for side, part in parts.items():
            done = part[part["status"] == "DONE"]
            values[side] = done[measures].to_numpy(float).reshape(-1, len(measures))
            table[f"n_{side}"] = (~np.isnan(values[side])).sum(axis=0)
            table[f"n_failed_{side}"] = len(part) - len(done)
            table[f"settings_{side}"] = len(set(row[sides[side] & here]))
            padded = values[side] if len(done) else np.full((1, len(measures)), np.nan)
            mean = spreads(padded)["mean"]
            table[f"mean_{side}"], table[f"ci_low_{side}"], table[f"ci_high_{side}"] = (
                mean.value,
                mean.low,
                mean.high,
            )
        signs = [-1.0 if name in lower_is_better(runs) else 1.0 for name in measures]
        pairs = [(s * x, s * y) for s, x, y in zip(signs, values["a"].T, values["b"].T, strict=True)]
        found = improvements(pairs)
        if several_likelihoods(pd.concat(list(parts.values()))):
            found[[of_one_likelihood(measure) for measure in measures]] = np.nan
        for name, numbers in zip(("probability", "ci_low", "ci_high", "p_value"), found.T, strict=True):
            table[name] = numbers
        table["p_holm"] = holm(found[:, 3])
        tables.append(table)
    if not tables:
        raise BenchError("the two sides have no data set in common")
    return pd.concat(tables, ignore_index=True)


def _chosen(runs: pd.DataFrame, choice: Mapping[str, str]) -> NDArray[np.bool_]:
    columns = _columns(runs)
    chosen = np.ones(len(runs), dtype=bool)
    for name, value in choice.items():
        if name not in columns:
            raise unknown_name("column to choose by", name, columns)
        matching = runs[name].map(plain) == value
        if _is_number(value):
            matching |= pd.to_numeric(runs[name], errors="coerce").astype(float) == float(value)
        if not matching.any():
            raise unknown_name(f"{name} of these runs", value, sorted(set(runs[name].map(plain)) - {""}))
        chosen &= matching.to_numpy()
    if not chosen.any():
        raise BenchError(f"no run is {', '.join(f'{k}={v}' for k, v in choice.items())} all at once")
    return chosen


def _columns(runs: pd.DataFrame) -> list[str]:
    """The columns that runs can be chosen by."""
    return [
        *("run", "dataset", "provenance", "model", *runs.attrs["settings"], "seed", "steps", "precision"),
        *("device", "threads", "torch", "data_fingerprint", "scored_on", "reconstruction_likelihood"),
        *("revisions", "model_source", "source"),
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
