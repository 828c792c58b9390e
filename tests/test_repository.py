"""Files beside the package that name a version or a command, held against what they name."""

import re
import tomllib
from pathlib import Path

from disentangle_bench import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_has_the_version_and_licence_of_the_package() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {__version__}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation


def test_the_constraints_name_a_version_of_every_dependency_and_no_address() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    for dependency in PROJECT["dependencies"]:
        name, least = re.fullmatch(r"([a-z0-9_-]+)>=([0-9.]+)", dependency).groups()
        numbers = [[int(part) for part in version.split(".")] for version in (pinned.pop(name), least)]
        assert numbers[0] >= numbers[1]
    assert not pinned


def test_continuous_integration_is_one_script_on_every_python_that_is_named() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    named = re.findall(r"Python :: (3\.[0-9]+)", " ".join(PROJECT["classifiers"]))
    assert "run: ./.ci/run" in workflow
    assert re.findall(r'"(3\.[0-9]+)"', workflow) == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_links_between_documents_lead_to_files_of_the_repository() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "README.md"]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)\s#:]+)[)#]", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 100
    lost = [f"{page.relative_to(ROOT)}: {link}" for page, link in links if not (page.parent / link).exists()]
    assert not lost
