"""The Python face says what it takes, gives and raises, and its examples run."""

import doctest
import inspect
from pathlib import Path

import pytest

import disentangle_bench

FUNCTIONS = [
    name
    for name in disentangle_bench.__all__
    if inspect.isfunction(getattr(disentangle_bench, name)) and not name.startswith("_")
]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_documented_in_full(name: str) -> None:
    function = getattr(disentangle_bench, name)
    said = inspect.getdoc(function) or ""
    sections = ["Returns", "Examples"] + (
        ["Parameters", "Raises"] if inspect.signature(function).parameters else []
    )
    for section in sections:
        assert f"{section}\n{'-' * len(section)}\n" in said, f"{name} has no section {section}"
    for parameter in inspect.signature(function).parameters:
        assert f"\n{parameter}\n    " in said, f"{name} does not say what {parameter} is"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = Path(__file__).parent.parent / "datasets"
    if drawn.is_dir():
        monkeypatch.setenv("DISENTANGLE_BENCH_DATA", str(drawn))
    function = getattr(disentangle_bench, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert test.examples
    failed, _ = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    assert not failed
