"""The notebook as a page: its text, its code, and what the code gave when the notebook was last run."""

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOWNLOAD = '<a href="notebook.ipynb" download>Download the notebook</a>'
NOTEBOOK = Path(__file__).parents[1] / "tutorial" / "notebook.ipynb"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files and the notebook's page; the notebook itself lies beside it."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    title, *rest = [part for cell in cells for part in parts(cell)]
    content = "\n\n".join([title, DOWNLOAD, *rest]) + "\n"
    files.append(File.generated(config, "tutorial/notebook.md", content=content))
    return files


def parts(cell: dict[str, Any]) -> list[str]:
    """The Markdown of a cell and of its outputs."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [f"```python\n{source}\n```", *(shown(output) for output in cell["outputs"])]


def shown(output: dict[str, Any]) -> str:
    """What a cell gave: a picture, a table, or text."""
    data = output.get("data", {"text/plain": output.get("text", [])})
    if "image/png" in data:
        return f"![What the code draws](data:image/png;base64,{''.join(data['image/png']).strip()})"
    return "```text\n{}\n```".format("".join(data["text/plain"]).rstrip())
