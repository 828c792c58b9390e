"""What every page of HTML shares: templates, the style sheet, and a policy that lets nothing in from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from disentangle_bench.report.styles import SHAPES

REPORT = "disentangle_bench.report"


def rendered(name: str, shown: Mapping[str, Any], scripts: Sequence[str] = (), package: str = REPORT) -> str:
    """The page of the template `assets/<name>.html.jinja` of a package, with this package's style and these scripts.

    Every text is escaped. The page's Content-Security-Policy allows this style, these scripts and pictures beside the
    page, and nothing else.
    """
    style, code = _asset("report.css"), [_asset(script) for script in scripts]
    shared = {"style": style, "scripts": code, "policy": _policy(style, code), "shapes": SHAPES}
    return _template(package, name).render({**shared, **shown})


@cache
def _template(package: str, name: str) -> jinja2.Template:
    loaders = [jinja2.PackageLoader(each, "assets") for each in dict.fromkeys((package, REPORT))]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{name}.html.jinja")


def _asset(name: str) -> Markup:
    """A file of this package, as it stands; it is ours and needs no escaping."""
    return Markup(resources.files(REPORT).joinpath("assets", name).read_text(encoding="utf-8"))


def _policy(style: str, scripts: Sequence[str]) -> str:
    allowed = " ".join(f"'{_digest(script)}'" for script in scripts) or "'none'"
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src {allowed}; img-src 'self' file: data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
