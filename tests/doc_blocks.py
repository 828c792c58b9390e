"""The code blocks of a page of the documentation."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def all_blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each fenced block, in their order."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    """The blocks in one language."""
    return [text for found, text in all_blocks(page) if found == language]
