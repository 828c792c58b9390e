"""The examples of docs/data.md run as they stand."""

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_an_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(example, str(PAGE), "exec"), names)
    if "SOURCE" in names:
        images = names["SOURCE"].load(data_dir=tmp_path).images([0, 255])
        assert (images.shape, images.dtype) == ((2, 1, 64, 64), torch.uint8)
        assert [int(image.max()) for image in images] == [255, 255 // 16]


def test_there_are_examples_of_each_kind_of_data():
    assert all(
        any(kind in code for code in EXAMPLES)
        for kind in ("mine.npz", "mine.h5", "photos/", "hold_out", "DataSource(")
    )
