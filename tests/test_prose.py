"""The prose of the documents: short lines, numbers with their leading zero, and no private words."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "results/README.md")
    for page in sorted(ROOT.glob(pattern))
]
LONGEST = 100
GENERATED = re.compile(r"<!-- (?!end ).*? -->.*?<!-- end -->", re.DOTALL)
FENCE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
ONLY_LINKS = re.compile(r"[-* ]*!?\[[^]]*\]\([^)]*\)[.,;: ]*")
CODE = re.compile(r"`[^`]*`")
BARE_POINT = re.compile(r"(?<![\w.)\]])\.\d")
BANNED = re.compile(r"\b(Keeping|Kits?|Desk|Teller|Watcher)\b|\b[Tt]hrice\b|\btold\s+apart\b")


def prose(text: str) -> list[str]:
    """The lines of a page that are sentences, tables or headings; code and generated blocks are left out."""
    kept = FENCE.sub("", GENERATED.sub("", text)).splitlines()
    return [line for line in kept if not line.startswith("    ")]


def long_lines(text: str) -> list[str]:
    return [
        line
        for line in prose(text)
        if len(line) > LONGEST and not line.startswith("|") and not ONLY_LINKS.fullmatch(line)
    ]


def without_code(text: str) -> str:
    return CODE.sub("", "\n".join(prose(text)))


def bare_points(text: str) -> list[str]:
    return [line for line in without_code(text).splitlines() if BARE_POINT.search(line)]


def banned_words(text: str) -> list[str]:
    return [found.group() for found in BANNED.finditer(without_code(text))]


@pytest.mark.parametrize("page", PAGES)
def test_the_prose_of_a_page(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not long_lines(text)
    assert not bare_points(text)
    assert not banned_words(text)


def test_what_counts_as_prose() -> None:
    long = "word " * 30
    assert long_lines(f"{long}\n") == [long]
    assert long_lines(f"- {long}\n") == [f"- {long}"]
    allowed = f"| {long} |\n    {long}\n```\n{long}\n```\n<!-- board -->\n{long}\n<!-- end -->\n"
    assert long_lines(allowed + f"[{long}](page.md)\n") == []
    assert bare_points("about .3 of it\n| .5 | 0.5 |\n(-.25)\nv1.0, `.npz`, 0.3, dots ... and ends.\n") == [
        "about .3 of it",
        "| .5 | 0.5 |",
        "(-.25)",
    ]
    assert banned_words("thrice as fast, told\napart, a Kit\n`Desk` and kit\n") == [
        "thrice",
        "told\napart",
        "Kit",
    ]
