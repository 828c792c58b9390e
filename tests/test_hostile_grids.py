"""Thousands of grids, valid, broken and hostile: a message or a plan, never a traceback, and no file anywhere."""

import copy
import datetime
import math
import os
import random
import re
import resource
import tomllib
import traceback
from pathlib import Path
from typing import Any

import pytest
import tiny_data
import tomli_w
from click.testing import CliRunner

from disentangle_bench.cli import main
from disentangle_bench.errors import BenchError
from disentangle_bench.grid import expand
from disentangle_bench.grid_file import check_grid
from disentangle_bench.specs import RunSpec

CHUNKS, EACH = 20, 110
HOSTILE: list[Any] = [
    "", " ", ".", "..", "../../outside", "/etc/passwd", "~/x", "a/b", "a\\b", "a\x00b", "x" * 300, "x" * 20_000,
    "-rf", "con", "名前", "\u202e", "\x1b[31m", "<script>alert(1)</script>", "%s%n", "{0.__class__}", "$(touch pwned)",
    "os:system", "os:", ":system", ":", "a:b:c", "builtins:exec", "no_such_module:thing", "tiny_data:Exploding",
    "tiny_data:GRID", "tiny_data:SQUARES", "tiny_data:crashing_metric", "tiny_data", "pwned.npz", "../x.h5", "vae",
    "factor_vae", "mig", "dsprites", "all", "float64", "fc", "conv",
    -1, 0, 1, 2, 3, 7, 2**40, 2**63 - 1, 2**63, 10**30, -(10**30), 0.0, -0.0, 0.5, 1.0, 1e-300, 1e300,
    math.inf, -math.inf, math.nan, True, False, [], {}, [[]], [1, 2], [1, 1], ["mig", "mig"], [[1], ["a"]], [None],
    {"name": "vae"}, [{"name": "vae"}], [{"name": "vae"}] * 2, {"first": "row", "second": "light", "sigma": 0.2},
    {"row": [0, 1]}, {"row": 2}, {"row": 2, "no": 1}, datetime.date(2026, 1, 1), datetime.time(1),
]  # fmt: skip
HOSTILE = [value for value in HOSTILE if value != [None]]
KEYS = [
    "name", "seeds", "metrics", "datasets", "models", "network", "training", "scoring", "controls", "every", "beta",
    "gamma", "hold_out", "split", "share", "factors", "correlated", "inverse", "steps", "batch_size", "learning_rate",
    "precision", "points", "latents",
    "channels", "kernels", "hidden", "architecture", "dataset_size", "image_shape", "hypers", "__class__", "", "a.b",
    "../x", "名",
]  # fmt: skip
MODELS = [
    "vae",
    "beta_vae",
    "factor_vae",
    "beta_tcvae",
    "annealed_vae",
    "autoencoder",
    "pca",
    "qlae",
    "ada_gvae",
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of the document."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [place for key, inner in entries for place in [(value, key), *places(inner)]]


def document(chance: random.Random) -> str:
    """The tiny grid with up to four changes, and sometimes a change of the text itself."""
    grid = tomllib.loads(tiny_data.GRID)
    if chance.random() < 0.5:
        grid["models"] = [{"name": chance.choice(MODELS)}]
    for _ in range(chance.choice([0, 1, 1, 1, 2, 4])):
        container, key = chance.choice(places(grid))
        value = copy.deepcopy(chance.choice(HOSTILE))
        what = chance.random()
        if what < 0.6:
            container[key] = value
        elif what < 0.75:
            del container[key]
            if not grid:
                grid["name"] = "x"
        elif isinstance(container, dict):
            container[chance.choice(KEYS)] = value
        else:
            container.append(value)
    text = tomli_w.dumps(grid)
    if chance.random() < 0.15:
        cut = chance.randrange(len(text))
        text = (
            text[:cut]
            + chance.choice(["", "\x00", "[", '"', "]]", "= =", "\n\n[[x]]\n", "é", "[" * 3000])
            + text[cut:]
        )
        text = text[: chance.randrange(cut, len(text)) + 1] if chance.random() < 0.3 else text
    return text


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_grid_gives_a_traceback_or_a_file(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    monkeypatch.setenv("HOME", str(tmp_path))
    chance = random.Random(chunk)
    runner = CliRunner()
    codes = set()
    for number in range(EACH):
        text = document(chance)
        Path("grid.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
        # Estimating takes seconds of training where a grid is good, so most are only checked.
        command = (
            ["validate", "grid.toml"] if number % 10 else ["run", "grid.toml", "--dry-run", "--device", "cpu"]
        )
        result = runner.invoke(main, command)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            pytest.fail(f"{text}\n{''.join(traceback.format_exception(result.exception))}")
        assert result.exit_code in (0, 2), (text, result.output)
        assert "Traceback" not in result.output, (text, result.output)
        codes.add(result.exit_code)
    assert codes == {0, 2}
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "inside",
        "inside/grid.toml",
    ]


@pytest.mark.parametrize(
    "name", ["../outside", "/tmp/outside", "..", "a/b", "-x", ".hidden", "x" * 101, "a\nb"]
)
def test_a_grid_cannot_be_named_out_of_its_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = tomllib.loads(tiny_data.GRID) | {"name": name}
    Path("grid.toml").write_text(tomli_w.dumps(grid))
    assert CliRunner().invoke(main, ["run", "grid.toml"]).exit_code == 2
    assert os.listdir() == ["grid.toml"]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 20_000, "a\x00b"])
def test_a_name_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    grid = tomllib.loads(tiny_data.GRID) | {"datasets": [{"name": name}]}
    with pytest.raises(BenchError, match="unknown data set"):
        check_grid(grid)
    with pytest.raises(BenchError, match="unknown model"):
        check_grid(grid | {"models": [{"name": name}]}, with_data=False, allow=())


@pytest.mark.parametrize("number", ["9" * 400, "9" * 5000, "0x" + "f" * 5000], ids=["400", "5000", "0x"])
@pytest.mark.parametrize(
    "key",
    [
        *("seeds", "seeds.0", "name", "controls", "models.0.beta", "models.0.epsilon", "models.1.gamma.0"),
        *("models.1.discriminator_width", "datasets.0.every.row", "network.latents", "network.hidden"),
        *("network.channels.0", "training.steps", "training.batch_size", "training.learning_rate"),
        *("training.adam_betas.0", "scoring.points", "scoring.reconstruction_points"),
    ],
)
def test_numbers_of_hundreds_of_digits(
    key: str, number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = tomllib.loads(tiny_data.GRID) | {"seeds": [0, 1]}
    grid["datasets"][0]["every"] = {"row": 1}
    grid["training"]["adam_betas"] = [0.9, 0.99]
    container: Any = grid
    *before, last = key.split(".")
    for part in before:
        container = container[int(part) if part.isdecimal() else part]
    container[int(last) if last.isdecimal() else last] = "HERE"
    Path("grid.toml").write_text(tomli_w.dumps(grid).replace('"HERE"', number))
    result = CliRunner().invoke(main, ["validate", "grid.toml"])
    assert isinstance(result.exception, SystemExit) or result.exit_code == 0, result.exception
    assert len(result.output) < 1000


LONG = [k / 2 for k in range(1000)]


@pytest.mark.parametrize(
    ("models", "seeds", "message"),
    [
        ([{"name": "beta_vae", "beta": LONG}], 2000, "2,000,000 runs"),
        ([{"name": "beta_vae", "beta": LONG}], 2000, "models.beta_vae.beta (1000), seeds (2000)"),
        ([{"name": "dip_vae_1", "lambda_od": LONG, "diagonal": LONG}] * 2, 500_000, "between 1 and 100000"),
        ([{"name": "dip_vae_1", "lambda_od": LONG, "diagonal": LONG * 1000}], 1000, "1,000,000,000,000 runs"),
    ],
)
def test_more_runs_than_a_study_may_have(models: list, seeds: int, message: str, tmp_path: Path) -> None:
    """They are counted before they are made."""
    grid = tomllib.loads(tiny_data.GRID) | {"models": models, "seeds": seeds}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BenchError, match=re.escape(message)):
        check_grid(grid)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


def test_a_grid_is_multiplied_out_once() -> None:
    grid = check_grid(tomllib.loads(tiny_data.GRID))
    assert expand(grid) is expand(grid)
    scored = grid.model_copy(update={"metrics": ("sap",)})
    assert expand(scored) is expand(grid)
    longer = grid.model_copy(update={"training": grid.training.model_copy(update={"steps": 7})})
    assert {spec.training.steps for spec in expand(longer)} == {7}
    for spec in expand(grid):
        again = RunSpec.model_validate(spec.model_dump())
        assert (again.id, again.digest, again.program) == (spec.id, spec.digest, spec.program)
