"""What the theme's own pages lack for people who listen to them: a name for the search dialog."""

from __future__ import annotations

from typing import Any

DIALOG = 'data-md-component="search" role="dialog"'


def on_post_page(output: str, **_: Any) -> str:
    """The page with the dialog named. Raises ValueError where the theme has changed, so that nobody forgets this."""
    if DIALOG not in output:
        raise ValueError(f"the theme's pages have no {DIALOG!r} any more; see docs/hooks/accessible.py")
    return output.replace(DIALOG, f'{DIALOG} aria-label="Search"')
