"""The examples of docs/data.md run as they stand, and that of `load_dataset`."""

import doctest
import re
from pathlib import Path

import pytest

from disentangle_bench.data.checks import CHECKS
from disentangle_bench.data.load import load_dataset

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_an_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (by_code,) = (code for code in EXAMPLES if "class Bars" in code)
    (tmp_path / "my_data.py").write_text(by_code)
    exec(compile(example, str(PAGE), "exec"), {})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_data_set_by_code_is_as_every_one_must_be(check, tmp_path):
    (by_code,) = (code for code in EXAMPLES if "class Bars" in code)
    names: dict = {}
    exec(by_code, names)
    bars = names["Bars"]().load(data_dir=tmp_path)
    check(bars)
    assert [int(image.max()) for image in bars.images([0, 255])] == [255, 255 // 16]


def test_the_example_of_load_dataset_runs():
    (example,) = doctest.DocTestFinder().find(
        load_dataset, "load_dataset", globs={"load_dataset": load_dataset}
    )
    result = doctest.DocTestRunner().run(example)
    assert (result.attempted, result.failed) == (4, 0)


def test_there_are_examples_of_each_kind_of_data():
    assert all(
        any(kind in code for code in EXAMPLES)
        for kind in ("mine.npz", "mine.h5", "photos/", "hold_out", "(DataSource)", "DataLoader", "codes.csv")
    )
