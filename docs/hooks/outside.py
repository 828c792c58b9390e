"""Files outside docs/ that a page links to: the site has pages or copies of them.

So a link that works in the repository works in the site too.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
# Pages of the site that are made from another file of the repository.
OWN_PAGES = {
    "results/README.md": "results/README.md",
    "docs/tutorial/notebook.ipynb": "tutorial/notebook.md",
}
# What the repository has where the site has a page that other hooks make.
STANDS_FOR = {
    "disentangle_bench/metrics": "reference/metrics/index.md",
    "disentangle_bench/models": "reference/models/index.md",
    "disentangle_bench/models/vae.py": "reference/models/vae.md",
    "disentangle_bench/data": "reference/datasets/index.md",
    "disentangle_bench/specs.py": "reference/grid_files.md",
}
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files, and what they link to outside docs/, and what that links to."""
    wanted = [*OWN_PAGES, "CONTRIBUTING.md", "CHANGELOG.md"]
    for page in files.documentation_pages():
        wanted += linked(page.content_string, posixpath.join("docs", page.src_uri))
    seen: set[str] = set()
    while wanted:
        path = wanted.pop()
        if path in seen | STANDS_FOR.keys() or path.startswith("docs/") or not (ROOT / path).is_file():
            continue
        seen.add(path)
        files.append(made(path, config))
        if path.endswith(".md"):
            wanted += linked((ROOT / path).read_text(encoding="utf-8"), path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links to where the site has what they lead to."""
    here = home(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[1]))
        there = place(path)
        # A link that leads nowhere stays as it is: strict mode names it.
        return (
            posixpath.relpath(there, posixpath.dirname(page.file.src_uri) or ".")
            if there in files.src_uris
            else link[1]
        )

    return LINK.sub(moved, markdown)


def linked(text: str, path: str) -> list[str]:
    """The files that this text, which stands at `path`, links to; paths are from the repository's root."""
    return [posixpath.normpath(posixpath.join(posixpath.dirname(path), link)) for link in LINK.findall(text)]


def place(path: str) -> str:
    """Where the site has the repository's file `path`, as mkdocs names it. Code and grids become pages."""
    page = (OWN_PAGES | STANDS_FOR).get(path)
    if page is not None:
        return page
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"files/{path}" if path.endswith((".md", ".csv", ".png")) else f"files/{path}.md"


def home(uri: str) -> str:
    """The repository's file that is the page `uri`."""
    return next((path for path, page in OWN_PAGES.items() if page == uri), None) or (
        uri.removeprefix("files/") if uri.startswith("files/") else f"docs/{uri}"
    )


def made(path: str, config: MkDocsConfig) -> File:
    """The site's file for the repository's file `path`."""
    if place(path).endswith(f"{path}.md"):
        text = (ROOT / path).read_text(encoding="utf-8")
        language = path.rpartition(".")[2]
        return File.generated(config, place(path), content=f"# `{path}`\n\n~~~~{language}\n{text}\n~~~~\n")
    return File.generated(config, place(path), abs_src_path=os.fspath(ROOT / path))
