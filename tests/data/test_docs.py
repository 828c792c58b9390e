"""The examples of docs/data.md run as they stand."""

import pytest
from doc_blocks import DOCS, blocks

from disentangle_bench import registry
from disentangle_bench.data.checks import CHECKS

PAGE = DOCS / "data.md"
EXAMPLES = blocks(PAGE, "python")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda code: code.strip().splitlines()[-1][:40])
def test_an_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What an example loads is gone with its folder; a later study would hand it on to its processes.
    monkeypatch.setattr(registry, "_PLUGINS", set())
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
