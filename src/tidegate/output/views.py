"""What pages have in common: how they look, and the script that draws texts and gates."""

from __future__ import annotations

from importlib.resources import files


def with_views(page: str) -> str:
    """The page with views.css and views.js where it names them; nothing is fetched."""
    for name in ("views.css", "views.js"):
        shared = (files("tidegate.output") / name).read_text(encoding="utf-8")
        page = page.replace(f"/* {name} */", shared.strip())
    return page
