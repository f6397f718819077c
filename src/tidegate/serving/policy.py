"""What a browser lets the page do: run its own script, and talk to this server alone."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256


@cache
def content_policy(page: str) -> str:
    """The Content-Security-Policy of a page with styles and scripts of its own, by their hashes."""
    styles, scripts = (
        " ".join(
            f"'sha256-{_hash(own)}'" for own in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
        )
        for tag in ("style", "script")
    )
    rules = {
        "default-src": "'none'",
        "script-src": scripts,
        "style-src": styles,
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
